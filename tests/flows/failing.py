"""For the tests of what fails: a world whose policy waits for nothing long, and what must be true after a failure."""

from __future__ import annotations

import asyncio

from tests.fakes.world import World

from vmscaler.api.iplease import LeasePhase
from vmscaler.api.meta import Json
from vmscaler.api.scaleevent import EventPhase, ScaleOutEvent


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
    assert [
        told.message.startswith(f"{stage}: ")
        for told in world.kube.events
        if (told.kind, told.type, told.reason) == ("ScaleOutEvent", "Warning", reason)
    ] == [True]
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
