"""A run that is stopped from outside: an aborted build, a deleted instance or policy. Nothing acts after that, and nothing is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.fakes.world import RESYNC, World
from tests.flows.failing import about_to, failed

from vmscaler.api.scaleevent import EventPhase, ScaleOutEvent
from vmscaler.flows.claim import ensure_event
from vmscaler.flows.settle import fail, succeed
from vmscaler.flows.steps import Outcome
from vmscaler.ports.errors import Conflict
from vmscaler.ports.vsphere import CloneOrder

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


@pytest.mark.parametrize("stage", ["claim", "allocate", "clone", "verify", "join"])
async def test_a_build_is_aborted_while_a_stage_runs(stage: str) -> None:
    """The rollback begins while the stage acts: nothing of it acts after that."""
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.build(1, stop_before=stage)
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


async def test_somebody_deletes_the_instance_while_its_clone_is_being_ordered() -> None:
    """The order is on its way to a slow vCenter: a clean-up that looked now would find nothing, and the VM would come after it."""
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.build(1, stop_before="clone")
    order = world.vsphere.clone

    async def slow(wanted: CloneOrder) -> str:
        await asyncio.sleep(20)
        return await order(wanted)

    world.vsphere.clone = slow  # type: ignore[method-assign]
    cloning = asyncio.ensure_future(world.step("clone", ref, build))
    await asyncio.sleep(5)
    await world.delete((await world.instances())[0])
    answer = await cloning
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "InstanceDeleted")
    await failed(world, "InstanceDeleted", "clone", leases=1)
    assert len(world.vsphere.orders) == 1


async def test_somebody_deletes_the_instance_while_it_joins() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.build(1, stop_before="join")
    world.bigip.health["192.0.2.100:8080"] = "down"
    joining = asyncio.ensure_future(world.step("join", ref, build))
    await asyncio.sleep(3.0)
    assert world.members()
    await world.delete((await world.instances())[0])
    answer = await joining
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "InstanceDeleted")
    await failed(world, "InstanceDeleted", "join", leases=1)


async def test_a_claim_without_its_event_is_settled_when_the_policy_goes() -> None:
    """The operator died between the two, and the build that holds the claim comes back after the policy's deletion."""
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    assert world.operator is not None
    world.effects.crash_at, world.effects.crash_after = len(world.effects.calls) + 1, True
    await world.operator.runner.poll("claim", ref, build, after=0, wait=5.0)
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


async def test_a_running_event_that_somebody_deletes_is_there_again_and_can_be_rolled_back() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.build(1, stop_before="verify")
    (event,) = await world.events()
    await world.delete(event)
    await asyncio.sleep(RESYNC + 5)
    (again,) = await world.events()
    assert (again.metadata.name, again.spec.build, again.status.phase) == (event.metadata.name, event.spec.build, EventPhase.RUNNING)
    answer = await world.step("rollback", ref, build)
    assert isinstance(answer, Outcome) and answer.state == "succeeded"
    await failed(world, "BuildAborted", "claim", leases=1)


async def test_who_begins_an_event_late_takes_nothing_back() -> None:
    world = await about_to()
    operator = world.operator
    assert operator is not None
    ref, build = await world.ref(), await world.build_ref(1)
    plain, seen = world.kube.get, []

    async def before_it_began(kind: Any, name: str, namespace: str | None = None) -> Any:
        found = await plain(kind, name, namespace)
        if kind is ScaleOutEvent and not seen:
            seen.append(found)
            world.kube.get = plain  # type: ignore[method-assign]
            fresh = found.model_copy(update={"status": type(found.status)()})
            await world.step("allocate", ref, build)
            return fresh
        return found

    await world.step("claim", ref, build)
    policy = await world.policy()
    assert policy.status.claim is not None
    world.kube.get = before_it_began  # type: ignore[method-assign, assignment]
    event = await ensure_event(operator.ctx, policy, policy.status.claim)
    assert [action.name for action in event.status.actions] == ["address", "probe"], event.status.actions
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
        await world.build(1, stop_before=stage)
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
