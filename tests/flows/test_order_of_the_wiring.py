"""Each part of a policy's wiring waits for the one before: nothing fires at a thing that is not there, and what waits says so."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.monitoring_hosts import ALERTMANAGER_YML
from tests.fakes.world import World

from vmscaler.decide import names
from vmscaler.ports.errors import Retryable
from vmscaler.ports.monitoring import Route

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

JOB = "autoscale-acme-web"
RULES = "/etc/prometheus/vmscaler/rules/vmscaler-acme.web.yml"
TOKEN = "/etc/alertmanager/vmscaler/tokens/vmscaler-acme.web.token"


async def test_no_rules_before_the_route_is_loaded() -> None:
    world = await World.make()

    async def refused(route: Route) -> None:
        raise Retryable("monitoring", "Unreachable", "am-1 cannot be reached")

    plain, world.hosts.put_route = world.hosts.put_route, refused  # type: ignore[method-assign]
    await world.start()
    await world.quiet()
    assert await world.condition("RouteReady") == ("Unknown", "Unreachable")
    assert await world.condition("RulesReady") == ("Unknown", "RouteNotReady")
    assert RULES not in world.hosts.files and TOKEN in world.hosts.files
    world.hosts.put_route = plain  # type: ignore[method-assign]
    await world.ready()
    assert RULES in world.hosts.files
    await world.stop()


async def test_nothing_before_the_job_is_there() -> None:
    world = await World.make()
    world.jenkins.down()
    await world.start()
    await world.quiet()
    assert await world.condition("JobReady") == ("Unknown", "Unreachable")
    assert await world.condition("RouteReady") == ("Unknown", "JobNotReady")
    assert await world.condition("RulesReady") == ("Unknown", "RouteNotReady")
    assert await world.condition("TargetsReady") == ("Unknown", "JobNotReady")
    assert not [path for path in world.hosts.files if "acme.web" in path]
    await world.stop()


async def test_what_hangs_on_the_job_is_not_called_seen_while_jenkins_is_down() -> None:
    """It is still there; but nothing was looked at, and the figures of the instances go on being scraped."""
    world = await World.make()
    await world.start()
    await world.ready()
    files = dict(world.hosts.files)
    world.jenkins.down()
    await world.quiet()
    assert await world.condition("RouteReady") == ("Unknown", "JobNotReady")
    assert await world.condition("RulesReady") == ("Unknown", "RouteNotReady")
    assert (await world.condition("TargetsReady"))[0] == "True"
    assert world.hosts.files == files
    await world.stop()


async def test_a_policy_whose_status_is_lost_takes_its_job_over_as_a_new_one() -> None:
    """A cluster restored without status: the job is known by its description; which of its builds were answered is not."""
    world = await World.make()
    await world.start()
    await world.ready()
    policy = await world.policy()
    assert policy.status.provisioned is not None
    old = policy.status.provisioned.job_generation
    await world.kube.patch_status(policy, {"provisioned": None, "conditions": None})
    await world.ready()
    made = (await world.policy()).status.provisioned
    assert made is not None and made.job == JOB and made.job_generation not in (None, old)
    assert str(made.job_generation) in world.jenkins.jobs[JOB].config_xml and sorted(world.jenkins.jobs) == [JOB]
    await world.stop()


async def test_the_order_of_removal() -> None:
    """Nothing fires at a thing that is gone; and nothing of it is left."""
    world = await World.make()
    before = dict(world.hosts.files)
    await world.start()
    await world.ready()
    done = len(world.effects.calls)
    policy = await world.policy()
    await world.delete(policy)
    await world.quiet()
    assert [
        (operation, target.rpartition("/")[2]) for system, operation, target in world.effects.calls[done:] if system != "kubernetes"
    ] == [
        ("rules.remove", "vmscaler-acme.web.yml"),
        ("config.replace", "alertmanager.yml"),
        ("token.remove", "vmscaler-acme.web.token"),
        ("job.delete", JOB),
        ("credential.delete", names.hook_credential(policy.uid)),
        ("credential.delete", names.step_credential(policy.uid)),
        ("targets.remove", "vmscaler-acme.web.json"),
    ]
    assert (world.jenkins.jobs, world.jenkins.credentials, world.kube.secrets) == ({}, {}, {})
    left = {path: content for path, content in world.hosts.files.items() if before.get(path) != content}
    assert list(left) == ["/etc/prometheus/prometheus.yml"], "our two entries stay until the Site goes"
    await world.stop()


@pytest.mark.parametrize("part", ["remove_rules", "remove_route"])
async def test_a_removal_that_is_held_up_leaves_what_comes_after(part: str) -> None:
    world = await World.make()
    await world.start()
    await world.ready()

    async def away(name: str) -> None:
        raise Retryable("monitoring", "Unreachable", "prom-1 cannot be reached")

    plain = getattr(world.hosts, part)
    setattr(world.hosts, part, away)
    await world.delete(await world.policy())
    await asyncio.sleep(120)
    assert sorted(world.jenkins.jobs) == [JOB] and len(world.jenkins.credentials) == 2 and TOKEN in world.hosts.files
    assert (b"vmscaler/acme/web" in world.hosts.files[ALERTMANAGER_YML]) and (RULES in world.hosts.files) is (part == "remove_rules")
    status, reason = await world.condition("Ready")
    assert (status, reason) == ("Unknown", "Unreachable")
    setattr(world.hosts, part, plain)
    await world.quiet()
    assert world.jenkins.jobs == {} and RULES not in world.hosts.files
    await world.stop()
