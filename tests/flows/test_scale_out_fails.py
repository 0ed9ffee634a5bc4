"""A failure at each stage ends in a Failed event with stage and cause, and with nothing left but a resting address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.world import POOL, World

from vmscaler.api.iplease import IpLease, LeasePhase
from vmscaler.api.meta import Json
from vmscaler.api.scaleevent import EventPhase, ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.flows.settle import fail, succeed
from vmscaler.flows.steps import Outcome
from vmscaler.ports.bigip import SYSTEM
from vmscaler.ports.errors import Conflict, Rejected, Retryable

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def impatient(policy: Json) -> None:
    policy["spec"]["timeouts"] = {"clone": "60s", "boot": "60s", "health": "30s", "member": "30s", "drain": "30s"}


async def about_to(world: World | None = None) -> World:
    world = world or await World.make(policy=impatient)
    await world.start()
    await world.ready()
    world.fires()
    return world


async def failed(world: World, reason: str, stage: str, *, leases: int) -> ScaleOutEvent:
    """The one event is Failed for this, and nothing is left."""
    await world.quiet()
    (event,) = await world.events()
    assert (event.status.phase, event.status.reason, event.status.failed_stage) == (EventPhase.FAILED, reason, stage), event.status
    assert event.status.message and event.status.duration and event.status.finished_at
    assert event.status.rollback is not None and event.status.rollback.finished_at is not None
    assert not [a for a in event.status.actions if a.state.value == "Started" and a.name not in ("probe",)] or stage == "aborted"
    assert await world.instances() == [] and world.vsphere.vms == {} and world.members() == [] and world.nodes() == set()
    found = await world.leases()
    assert [lease.status.phase for lease in found] == [LeasePhase.QUARANTINED] * leases
    claim = (await world.policy()).status.claim
    assert claim is not None and claim.active is None and claim.failures == 1
    assert claim.cooldown_reason == "Failure" and claim.cooldown_until is not None
    policy = await world.policy()
    assert policy.status.instances is not None and policy.status.instances.ours == 0
    # The address rests, then it is free again.
    await asyncio.sleep(700)
    assert await world.leases() == []
    await world.stop()
    return event


async def test_no_address_is_free() -> None:
    world = await about_to()
    world.probe.pings |= {f"192.0.2.{number}" for number in range(100, 120)}
    answers = await world.build(1)
    assert [getattr(a, "state", "") for a in answers] == ["succeeded", "failed", "succeeded"]
    event = await failed(world, "NoAddressFree", "allocate", leases=0)
    assert "widen spec.network.ipPool" in event.status.message


@pytest.mark.parametrize(
    ("break_it", "reason", "stage"),
    [
        (lambda w: setattr(w.vsphere, "clone_fault", "NoDiskSpace"), "CloneFailed", "clone"),
        (lambda w: setattr(w.vsphere, "clone_seconds", 90.0), "CloneTimeout", "clone"),
        (lambda w: setattr(w.vsphere, "boots", False), "NeverBooted", "verify"),
        (lambda w: setattr(w, "healthy", False), "Unhealthy", "verify"),
        (lambda w: setattr(w, "comes_up", False), "JoinTimeout", "join"),
    ],
)
async def test_a_stage_fails(break_it: Callable[[World], Any], reason: str, stage: str) -> None:
    world = await about_to()
    break_it(world)
    await world.build(1)
    await failed(world, reason, stage, leases=1)


async def test_the_big_ip_is_away_for_the_whole_join_and_comes_back() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    for step in ("claim", "allocate", "clone", "verify"):
        await world.step(step, ref, build)
    away = Retryable(SYSTEM, "ServiceUnavailable", "the BIG-IP answers 503")
    for method in ("pool", "member", "add_member", "set_member", "remove_member", "remove_node", "current_connections", "virtual_servers"):
        world.bigip.fail(method, away, times=None)
    answer = await world.step("join", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "JoinTimeout")
    assert "503" in answer.message
    rollback = asyncio.ensure_future(world.step("rollback", ref, build))
    await asyncio.sleep(30)
    assert not rollback.done()
    (event,) = await world.events()
    assert event.status.phase == EventPhase.ROLLING_BACK
    assert len(world.vsphere.vms) == 1  # not destroyed while it may be in a pool
    world.bigip.heal()
    done = await rollback
    assert isinstance(done, Outcome) and done.state == "succeeded"
    await failed(world, "JoinTimeout", "join", leases=1)


async def test_an_answer_lost_after_the_member_was_made() -> None:
    world = await about_to()
    world.bigip.fail("add_member", Retryable(SYSTEM, "TimedOut", "no answer"), after_effect=True)
    world.bigip.fail("set_member", Retryable(SYSTEM, "TimedOut", "no answer"), after_effect=True)
    answers = await world.build(1)
    assert all(getattr(answer, "state", "") == "succeeded" for answer in answers)
    assert world.members() == ["192.0.2.100:8080"]
    await world.stop()


@pytest.mark.parametrize("stage", ["claim", "allocate", "clone", "verify", "join"])
async def test_a_build_is_aborted_while_a_stage_runs(stage: str) -> None:
    """The rollback begins while the stage acts: nothing of it acts after that."""
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    for step in ("claim", "allocate", "clone", "verify", "join"):
        if step == stage:
            break
        await world.step(step, ref, build)
    if stage == "join":
        world.comes_up = False
        world.bigip.health["192.0.2.100:8080"] = "down"
    running = asyncio.ensure_future(world.step(stage, ref, build))
    if stage in ("clone", "verify", "join"):
        await asyncio.sleep(1.2)  # in the midst of it
    else:
        for _ in range(5):
            await asyncio.sleep(0)
    done = await world.step("rollback", ref, build)
    assert isinstance(done, Outcome) and done.state == "succeeded", done
    stopped = await running
    events = await world.events()
    if not events:
        assert stage == "claim"
    else:
        await world.quiet()
        assert events[0].status.phase == EventPhase.FAILED
    assert getattr(stopped, "state", "") == "failed" or stage in ("claim", "allocate")
    later = await world.step("finish", ref, build)
    assert getattr(later, "state", "") == "failed"
    await asyncio.sleep(1000)
    assert await world.instances() == [] and world.vsphere.vms == {} and world.members() == [] and await world.leases() == []
    claim = (await world.policy()).status.claim
    assert claim is None or claim.active is None
    await world.stop()


async def test_rollback_of_a_build_that_had_begun_nothing_and_a_claim_that_comes_late() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    answer = await world.step("rollback", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("succeeded", "NothingToRollBack")
    late = await world.step("claim", ref, build)
    assert isinstance(late, Outcome) and late.state == "failed"
    assert await world.events() == []
    await world.stop()


async def test_rollback_after_success_keeps_the_instance() -> None:
    world = await about_to()
    await world.build(1)
    answer = await world.step("rollback", await world.ref(), await world.build_ref(1))
    assert isinstance(answer, Outcome) and answer.reason == "NothingToRollBack"
    await world.quiet()
    assert len(await world.instances()) == 1 and world.members() == ["192.0.2.100:8080"]
    assert (await world.events())[0].status.phase == EventPhase.SUCCEEDED
    await world.stop()


async def test_somebody_deletes_the_instance_while_its_clone_runs() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.step("claim", ref, build)
    await world.step("allocate", ref, build)
    cloning = asyncio.ensure_future(world.step("clone", ref, build))
    await asyncio.sleep(1.0)
    await world.delete((await world.instances())[0])
    answer = await cloning
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "InstanceDeleted")
    await failed(world, "InstanceDeleted", "clone", leases=1)
    assert len(world.vsphere.orders) == 1


async def test_somebody_deletes_the_instance_while_it_joins() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    for step in ("claim", "allocate", "clone", "verify"):
        await world.step(step, ref, build)
    world.bigip.health["192.0.2.100:8080"] = "down"
    joining = asyncio.ensure_future(world.step("join", ref, build))
    await asyncio.sleep(3.0)
    assert world.members()
    await world.delete((await world.instances())[0])
    answer = await joining
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "InstanceDeleted")
    await failed(world, "InstanceDeleted", "join", leases=1)


async def test_a_vm_of_that_name_that_is_not_ours_is_left_alone() -> None:
    world = await about_to()
    folder = "/DC0/vm/vmscaler/acme/web"
    world.vsphere.folders.add(folder)
    ref, build = await world.ref(), await world.build_ref(1)
    await world.step("claim", ref, build)
    await world.step("allocate", ref, build)
    theirs = world.vsphere.add(folder, (await world.instances())[0].metadata.name)
    answer = await world.step("clone", ref, build)
    assert isinstance(answer, Outcome) and answer.reason == "NameTaken"
    await world.step("rollback", ref, build)
    await world.quiet()
    assert list(world.vsphere.vms) == [theirs.mo_ref] and await world.instances() == []
    await world.stop()


async def test_a_clone_that_somebody_renamed_is_not_made_twice_and_is_cleaned_up() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.step("claim", ref, build)
    await world.step("allocate", ref, build)
    world.vsphere.cloned = lambda vm: setattr(vm, "name", "renamed")
    answer = await world.step("clone", ref, build)
    assert isinstance(answer, Outcome) and answer.reason == "VmVanished", answer
    await failed(world, "VmVanished", "clone", leases=1)
    assert len(world.vsphere.orders) == 1


async def test_a_secret_that_is_gone_is_the_cause_that_is_told() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.step("claim", ref, build)
    await world.step("allocate", ref, build)
    world.systems_error = Rejected("kubernetes", "SecretNotFound", "there is no Secret 'vcenter-credentials': create it")
    answer = await world.step("clone", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "SecretNotFound")
    world.systems_error = None
    await world.step("rollback", ref, build)
    await failed(world, "SecretNotFound", "clone", leases=0)


async def test_a_spec_changed_after_the_claim_to_what_is_not_granted_takes_no_address() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.step("claim", ref, build)

    def elsewhere(spec: Json) -> None:
        spec["network"]["ipPool"] |= {"start": "192.0.2.200", "end": "192.0.2.210"}

    await world.edit(elsewhere)
    answer = await world.step("allocate", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "RangeNotGranted"), answer
    await failed(world, "RangeNotGranted", "allocate", leases=0)


async def test_the_probe_that_could_not_ask_is_no_free_address() -> None:
    world = await about_to()
    world.probe.fail("icmp", Retryable("network", "ProbeFailed", "no route"))
    answers = await world.build(1)
    assert getattr(answers[1], "reason", "") == "AllocationTimeout"
    assert await world.leases() == []
    world.probe.heal()
    await failed(world, "AllocationTimeout", "allocate", leases=0)


async def test_addresses_in_use_are_skipped() -> None:
    world = await World.make(site=lambda body: body["spec"]["networks"][0].update(dnsServers=["192.0.2.104"], reserved=["192.0.2.105"]))
    world.probe.listens("192.0.2.100", 22)
    world.probe.pings.add("192.0.2.101")
    world.vsphere.in_use["192.0.2.102"] = "somebodys-vm"
    world.bigip.put_virtual("/Common/vs-other", "192.0.2.103", 80, POOL)
    await about_to(world)
    await world.build(1)
    (lease,) = await world.leases()
    assert lease.spec.address == "192.0.2.106"
    shown = "\n".join(world.said)
    assert "192.0.2.100 is in use by a listener on TCP port 22" in shown and "192.0.2.101 is in use by a host" in shown
    assert "somebodys-vm" in shown
    await world.stop()


async def test_an_address_that_somebody_takes_meanwhile_is_skipped() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    holder = {"namespace": "acme", "name": "other", "uid": "uid-other"}
    spec = {"siteRef": {"name": "default"}, "network": "frontend", "address": "192.0.2.100", "holder": holder}
    # It is in no list yet, as one is that is made between the look and the try.
    await world.apply(IpLease, {"metadata": {"name": "default.frontend.192.0.2.100"}, "spec": spec})
    await world.step("claim", ref, build)
    await world.step("allocate", ref, build)
    assert [v.status.address for v in await world.instances()] == ["192.0.2.101"]
    await world.stop()


async def test_a_claim_without_its_event_is_settled_when_the_policy_goes() -> None:
    """The operator died between the two, and the build that holds the claim comes back after the policy's deletion."""
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    assert world.operator is not None
    world.effects.crash_at, world.effects.crash_after = len(world.effects.calls) + 1, True
    await world.operator.runner.poll("claim", ref, build, {}, after=0, wait=5.0)
    assert await world.events() == [] and (await world.policy()).status.claim.active is not None  # type: ignore[union-attr]
    await world.stop()
    await world.delete(await world.policy())
    await world.start()
    claiming = asyncio.ensure_future(world.step("claim", ref, build))
    await world.quiet()
    await claiming
    (event,) = await world.events()
    assert (event.status.phase, event.status.reason) == (EventPhase.FAILED, "PolicyDeleted")
    assert not [key for key in world.kube.objects if key[0] == "AutoscalingPolicy"] and await world.instances() == []
    answer = await world.step("allocate", ref, build)
    assert not (isinstance(answer, Outcome) and answer.state == "succeeded") and await world.instances() == []
    await world.stop()


async def test_an_event_that_rolls_back_cannot_succeed_and_one_that_succeeded_cannot_fail() -> None:
    world = await about_to()
    operator = world.operator
    assert operator is not None
    await world.step("claim", await world.ref(), await world.build_ref(1))
    (running,) = await world.events()
    rolling = await fail(operator.ctx, running, stage="claim", reason="Sample", message="x")
    assert rolling.status.phase == EventPhase.ROLLING_BACK
    for event in (running, rolling):
        with pytest.raises(Conflict):
            await succeed(operator.ctx, event)
    assert (await fail(operator.ctx, running, stage="join", reason="Another", message="y")).status.reason == "Sample"
    await failed(world, "Sample", "claim", leases=0)

    world = await about_to()
    operator = world.operator
    assert operator is not None
    await world.step("claim", await world.ref(), await world.build_ref(1))
    (running,) = await world.events()
    plain = world.kube.get

    async def then_it_succeeds(kind: Any, name: str, namespace: str | None = None) -> Any:
        found = await plain(kind, name, namespace)
        world.kube.get = plain  # type: ignore[method-assign]
        await succeed(operator.ctx, found)
        return found

    world.kube.get = then_it_succeeds  # type: ignore[method-assign, assignment]
    assert (await fail(operator.ctx, running, stage="join", reason="Late", message="x")).status.phase == EventPhase.SUCCEEDED
    await world.stop()


async def test_a_policy_deleted_during_a_run_is_settled_first() -> None:
    for stage in ("claim", "clone", "join"):
        world = await about_to()
        ref, build = await world.ref(), await world.build_ref(1)
        for step in ("claim", "allocate", "clone", "verify", "join"):
            if step == stage:
                break
            await world.step(step, ref, build)
        if stage == "join":
            world.bigip.health["192.0.2.100:8080"] = "down"
        running = asyncio.ensure_future(world.step(stage, ref, build))
        await asyncio.sleep(2.0)
        await world.delete(await world.policy())

        async def gone(world: World = world) -> bool:
            return not any(kind == "AutoscalingPolicy" for kind, _, _ in world.kube.objects)

        await world.until("the policy is gone", gone)
        answer = await running
        assert stage == "claim" or getattr(answer, "state", "") == "failed"
        (event,) = await world.events()
        assert (event.status.phase, event.status.reason) == (EventPhase.FAILED, "PolicyDeleted")
        assert await world.instances() == [] and world.vsphere.vms == {} and world.members() == [] and world.jenkins.jobs == {}
        assert not [path for path in world.hosts.files if "acme.web" in path]
        rollback = await world.step("rollback", ref, build)  # the build's own, when it is told
        assert getattr(rollback, "state", "") == "succeeded"
        await world.stop()


async def test_a_site_in_use_cannot_go() -> None:
    world = await about_to()
    await world.build(1)
    await world.delete(await world.kube.get(Site, "default"))
    await world.quiet()
    site = await world.kube.get(Site, "default")
    ready = next(c for c in site.status.conditions if c.type == "Ready")
    assert (ready.status.value, ready.reason) == ("False", "InUse") and "policy acme/web" in ready.message
    await world.stop()
