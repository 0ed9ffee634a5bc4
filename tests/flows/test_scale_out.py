"""One scale-out over all fakes, on virtual time: what is made, what is recorded, and that asking again changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from tests.fakes.world import POOL, START, World

from vmscaler.api.iplease import LeasePhase
from vmscaler.api.scaleevent import ActionState, EventPhase
from vmscaler.api.vminstance import InstancePhase
from vmscaler.decide import actions
from vmscaler.flows.steps import Outcome
from vmscaler.ports.monitoring import FiringAlert

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def scaled_out() -> World:
    world = await World.provisioned()
    world.fires()
    answers = await world.build(1)
    assert [getattr(answer, "state", answer) for answer in answers] == ["succeeded"] * 6
    await world.quiet()
    return world


async def test_one_vm_one_address_one_member_and_the_story_of_it() -> None:
    world = await scaled_out()
    (event,) = await world.events()
    (vmi,) = await world.instances()
    (lease,) = await world.leases()
    (vm,) = world.vsphere.vms.values()
    assert (event.status.phase, event.status.reason, event.status.stage) == (EventPhase.SUCCEEDED, "ScaledOut", "finish")
    assert (event.spec.from_instances, event.spec.to_instances, event.spec.cause.alert) == (2, 3, "VmscalerHighCpu")
    assert [(told.type, told.kind) for told in world.kube.events if told.reason == "ScaledOut"] == [("Normal", "ScaleOutEvent")]
    assert event.spec.build.number == 1 and event.spec.build.url.startswith("https://jenkins.example.org/")
    assert event.status.duration and event.status.started_at and event.status.finished_at
    recorded = [(action.name, action.state) for action in event.status.actions]
    done = ActionState.DONE
    assert sorted(recorded) == sorted(
        (name, done) for name in (actions.ADDRESS, actions.PROBE, actions.VM_CREATION, actions.BOOT, actions.HEALTH, actions.POOL_ADD)
    )
    assert all(action.finished_at and action.finished_at >= action.started_at and action.duration for action in event.status.actions)
    created = actions.find(event.status.actions, actions.VM_CREATION, vmi.metadata.name)
    added = actions.find(event.status.actions, actions.POOL_ADD, vmi.metadata.name)
    assert created is not None and added is not None
    assert (created.vm_id, created.vm_ip) == (vm.mo_ref, "192.0.2.100")
    assert (added.pool, added.member) == (POOL, "192.0.2.100:8080")
    assert (vmi.status.phase, vmi.status.address) == (InstancePhase.IN_SERVICE, "192.0.2.100")
    assert (lease.metadata.name, lease.status.phase) == ("default.frontend.192.0.2.100", LeasePhase.LEASED)
    assert world.members() == ["192.0.2.100:8080"]
    assert vm.guestinfo == {
        "installation": "sample",
        "site": "default",
        "policy": "acme/web",
        "instance": f"acme/{vmi.metadata.name}",
        "address": "192.0.2.100",
    }
    assert b"192.0.2.100:9100" in world.hosts.files["/etc/prometheus/vmscaler/targets/vmscaler-acme.web.json"]
    policy = await world.policy()
    claim = policy.status.claim
    assert claim is not None and claim.active is None and claim.failures == 0
    assert claim.cooldown_until is not None and event.status.finished_at is not None
    assert (claim.cooldown_until - event.status.finished_at).total_seconds() == 300
    assert policy.status.instances is not None
    assert (policy.status.instances.baseline, policy.status.instances.ours, policy.status.instances.total) == (2, 1, 3)
    assert event.status.started_at >= START
    await world.stop()


async def test_intent_is_recorded_before_each_effect() -> None:
    world = await scaled_out()
    calls = world.effects.operations
    clone, member = calls.index("vsphere vm.clone"), calls.index("bigip member.create")
    assert calls[clone - 1] == "kubernetes vminstance.status.patch"
    assert calls[member - 1] == "kubernetes vminstance.status.patch"
    assert calls.index("kubernetes secret.create") < calls.index("jenkins credential.create") < calls.index("jenkins job.create")
    await world.stop()


async def test_each_step_asked_again_does_nothing_more() -> None:
    world = await World.provisioned()
    world.fires()
    ref, build = await world.ref(), await world.build_ref(1)
    for step in ("claim", "allocate", "clone", "verify", "join", "finish"):
        first = await world.step(step, ref, build)
        assert isinstance(first, Outcome) and first.state == "succeeded", first
        await world.quiet()
        written = len(world.effects.calls)
        await world.restart()  # a runner that knows nothing of the first time
        again = await world.step(step, ref, build)
        await world.quiet()
        assert isinstance(again, Outcome) and (again.state, again.event) == ("succeeded", first.event), again
        assert world.effects.calls[written:] == [], step
    await world.stop()


async def test_builds_race_and_one_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await World.provisioned()
    world.fires()
    plain = world.alertmanager.firing

    async def slow(matchers: Mapping[str, str]) -> list[FiringAlert]:
        await asyncio.sleep(1.0)  # all have read the policy before the first writes it
        return await plain(matchers)

    monkeypatch.setattr(world.alertmanager, "firing", slow)
    ref = await world.ref()
    builds = [await world.build_ref(number) for number in range(1, 6)]
    answers = await asyncio.gather(*(world.step("claim", ref, build) for build in builds))
    states = [answer.state for answer in answers if isinstance(answer, Outcome)]
    assert sorted(states) == ["refused"] * 4 + ["succeeded"]
    assert {answer.reason for answer in answers if isinstance(answer, Outcome) and answer.state == "refused"} == {"AlreadyRunning"}
    (event,) = await world.events()
    claim = (await world.policy()).status.claim
    assert claim is not None and claim.active is not None and claim.sequence == 1 and claim.active.event == event.metadata.name
    assert claim.active.build.number == event.spec.build.number
    await world.stop()


async def test_a_step_out_of_order_or_without_a_claim_is_refused() -> None:
    world = await World.provisioned()
    world.fires()
    ref, build = await world.ref(), await world.build_ref(1)
    for step in ("allocate", "clone", "finish"):
        answer = await world.step(step, ref, build)
        assert getattr(answer, "reason", "") == "NotClaimed"
    await world.step("claim", ref, build)
    for step in ("clone", "verify", "join", "finish"):
        answer = await world.step(step, ref, build)
        assert getattr(answer, "reason", "") == "OutOfOrder", (step, answer)
    assert world.vsphere.orders == [] and (await world.events())[0].status.phase == EventPhase.RUNNING
    await world.stop()


async def test_steady_state_writes_nothing() -> None:
    world = await scaled_out()
    written = len(world.effects.calls)
    await world.restart()
    await asyncio.sleep(1000)
    assert world.effects.calls[written:] == []
    await world.stop()
