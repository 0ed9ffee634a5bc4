"""What a policy has outside: made in order, repaired, renamed, switched off, refused; and no write without a reason."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.samples import sample
from tests.fakes.world import World

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.meta import Json
from vmscaler.decide import job as jobs

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

JOB = "autoscale-acme-web"
ROUTES = "/etc/alertmanager/alertmanager.yml"
RULES = "/etc/prometheus/vmscaler/rules/vmscaler-acme.web.yml"


def external(world: World, before: int) -> list[str]:
    return [operation for system, operation, _ in world.effects.calls[before:] if system != "kubernetes"]


async def test_order_of_creation() -> None:
    world = await World.provisioned()
    assert external(world, 0) == [
        "credential.create",
        "credential.create",
        "job.create",
        "token.replace",
        "config.replace",
        "rules.replace",
        "rules.replace",
        "targets.replace",
    ]
    made = (await world.policy()).status.provisioned
    assert made is not None and (made.job, made.receiver, made.token_file) == (JOB, "vmscaler/acme/web", "vmscaler-acme.web.token")
    intent = next(i for i, (_, op, _) in enumerate(world.effects.calls) if op == "credential.create")
    assert world.effects.calls[intent - 1][1] == "autoscalingpolicy.status.patch"
    await world.stop()


async def test_off_takes_rules_then_route_down_and_active_brings_them_back() -> None:
    world = await World.provisioned()
    before = len(world.effects.calls)
    await world.edit(lambda spec: spec.update(mode="Off"))
    await world.quiet()
    assert external(world, before) == ["rules.remove", "config.replace", "job.update"]
    assert not (await world.jenkins.job(JOB)).buildable and RULES not in world.hosts.files  # type: ignore[union-attr]
    assert b"vmscaler/" not in world.hosts.files[ROUTES]
    assert await world.condition("Ready") == ("True", "AllReady")
    before = len(world.effects.calls)
    await world.edit(lambda spec: spec.update(mode="Active"))
    await world.quiet()
    assert (await world.jenkins.job(JOB)).buildable and RULES in world.hosts.files  # type: ignore[union-attr]
    assert external(world, before) == ["job.update", "config.replace", "rules.replace"]
    await world.stop()


async def test_a_renamed_job_replaces_the_old_one() -> None:
    world = await World.provisioned()
    old = (await world.policy()).status.provisioned
    await world.edit(lambda spec: spec.update(jenkins={"jobName": "autoscale-shop"}))
    await world.quiet()
    new = (await world.policy()).status.provisioned
    assert sorted(world.jenkins.jobs) == ["autoscale-shop"]
    assert old is not None and new is not None and new.job == "autoscale-shop" and new.job_generation != old.job_generation
    await world.stop()


async def test_a_new_name_that_is_somebody_elses_leaves_the_old_job() -> None:
    world = await World.provisioned()
    await world.jenkins.create_job("autoscale-theirs", world.jenkins.jobs[JOB].config_xml.replace("Managed by vmscaler", "By hand"))
    await world.edit(lambda spec: spec.update(jenkins={"jobName": "autoscale-theirs"}))
    await world.quiet()
    assert await world.condition("JobReady") == ("False", "JobNameTaken")
    assert sorted(world.jenkins.jobs) == [JOB, "autoscale-theirs"]
    assert jobs.owner(world.jenkins.jobs["autoscale-theirs"].description) is None
    await world.stop()


async def test_a_foreign_job_is_never_touched() -> None:
    world = await World.make()
    mine = sample("autoscalingpolicy")
    assert mine["metadata"]["name"] == "web"
    other = await World.make()
    await other.start()
    await other.ready()
    theirs = other.jenkins.jobs[JOB].config_xml.replace("acme/web ", "acme/another ")
    await other.stop()
    await world.jenkins.create_job(JOB, theirs)
    before = len(world.effects.calls)
    await world.start()
    await world.quiet()
    assert await world.condition("JobReady") == ("False", "JobNameTaken")
    assert world.jenkins.jobs[JOB].config_xml == theirs and external(world, before) == []
    await world.delete(await world.policy())
    await world.quiet()
    assert world.jenkins.jobs[JOB].config_xml == theirs and not await world.kube.list_objects(AutoscalingPolicy)
    await world.stop()


async def test_a_job_deleted_by_hand_is_made_anew_with_a_new_generation() -> None:
    world = await World.provisioned()
    old = await world.build_ref(1)
    del world.jenkins.jobs[JOB]
    await world.quiet()
    new = await world.build_ref(1)
    assert JOB in world.jenkins.jobs and new.generation != old.generation
    assert new.generation in world.jenkins.jobs[JOB].config_xml
    await world.stop()


@pytest.mark.parametrize("what", ["job", "credential", "route", "rules", "token", "disabled"])
async def test_drift_is_repaired(what: str) -> None:
    world = await World.provisioned()
    files = dict(world.hosts.files)
    config = world.jenkins.jobs[JOB].config_xml
    tokens = dict(world.jenkins.credentials)
    if what == "job":
        world.jenkins.jobs[JOB].config_xml = config.replace("claim", "claim2")
    elif what == "disabled":
        await world.jenkins.enable_job(JOB, False)
    elif what == "credential":
        world.jenkins.credentials.popitem()
    else:
        path = {"route": ROUTES, "rules": RULES, "token": "/etc/alertmanager/vmscaler/tokens/vmscaler-acme.web.token"}[what]
        world.hosts.files[path] = b"route:\n  receiver: ops\nreceivers:\n- name: ops\n" if what == "route" else b"x"
        world.hosts.loaded[path] = world.hosts.files[path]
    await world.quiet()
    assert jobs.differs(config, world.jenkins.jobs[JOB].config_xml) == [] and world.jenkins.credentials == tokens
    if what == "route":
        assert b"vmscaler/acme/web" in world.hosts.files[ROUTES]
    else:
        assert world.hosts.files == files
    await world.stop()


async def test_the_older_policy_keeps_its_range() -> None:
    world = await World.provisioned()

    def younger(body: Json) -> None:
        body["metadata"]["name"] = "shop"
        body["spec"]["network"]["ipPool"] |= {"start": "192.0.2.119", "end": "192.0.2.120"}

    await asyncio.sleep(2)
    await world.apply(AutoscalingPolicy, sample("autoscalingpolicy", younger))
    await world.quiet()
    shop = await world.policy("shop")
    found = {c.type: (c.status.value, c.reason, c.message) for c in shop.status.conditions}
    assert found["AddressesResolved"][:2] == ("False", "RangeOverlaps") and "acme/web" in found["AddressesResolved"][2]
    assert found["JobReady"][:2] == ("Unknown", "NotResolved") and sorted(world.jenkins.jobs) == [JOB]
    assert await world.condition("Ready") == ("True", "AllReady")
    await world.stop()


UNGRANTED = {
    "pool": ({"f5": {"poolName": "/Common/pool-other"}}, "PoolNotGranted"),
    "job": ({"jenkins": {"jobName": "deploy-production"}}, "JobNameNotGranted"),
    "folder": ({"placement": {"folder": "/DC0/vm/other"}}, "FolderNotGranted"),
    "range": ({"network": {"ipPool": {"start": "192.0.2.200", "end": "192.0.2.201", "subnet": "192.0.2.0/24"}}}, "RangeNotGranted"),
    "cap": ({"scaling": {"maxInstances": 11}}, "CapExceeded"),
}


@pytest.mark.parametrize("what", sorted(UNGRANTED))
@pytest.mark.parametrize("also", ["as it is", "with a template that is not there"])
async def test_what_is_not_granted_is_not_made_also_not_by_a_change(what: str, also: str) -> None:
    world = await World.provisioned()
    change, reason = UNGRANTED[what]
    before = len(world.effects.calls)

    def edit(spec: Json) -> None:
        spec.update(change)
        if also != "as it is":
            spec["templateRef"] = {"name": "nowhere"}

    await world.edit(edit)
    await world.quiet()
    assert await world.condition("Granted") == ("False", reason)
    assert external(world, before) == []
    # Switched off, the wiring still goes.
    await world.edit(lambda spec: spec.update(mode="Off"))
    await world.quiet()
    assert external(world, before) == ["rules.remove", "config.replace"]
    await world.stop()


async def test_tokens_are_in_no_status_event_or_job() -> None:
    world = await World.provisioned()
    (secret,) = world.kube.secrets.values()
    for token in secret.data.values():
        assert token not in repr(world.kube.objects) and token not in repr(world.kube.events)
        assert token not in world.jenkins.jobs[JOB].config_xml and token not in repr(world.effects.calls)
        assert all(token.encode() not in content or path.endswith(".token") for path, content in world.hosts.files.items())
    await world.stop()
