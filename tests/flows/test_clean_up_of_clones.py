"""A VM whose reference was never written down, or whose traces are partly gone: found and destroyed, or waited for. And leases without a holder."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.world import World
from tests.flows.failing import about_to

from vmscaler.api.iplease import IpLease
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.decide.retention import LONGEST
from vmscaler.flows.resync import resync

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def cloning() -> World:
    """The clone is ordered; the operator that ordered it is gone, and so is its build."""
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.step("claim", ref, build)
    await world.step("allocate", ref, build)
    world.vsphere.clone_seconds = 40.0
    step = asyncio.ensure_future(world.step("clone", ref, build))
    await asyncio.sleep(2)
    step.cancel()
    await asyncio.wait([step])
    await world.stop()
    assert len(world.vsphere.orders) == 1 and world.vsphere.vms == {}
    return world


async def deleted(world: World, seconds: float) -> bool:
    (vmi,) = await world.instances()
    await world.delete(vmi)
    await world.start()
    await asyncio.sleep(seconds)
    return not await world.instances()


@pytest.mark.parametrize("written", [True, False])
async def test_a_clone_that_still_runs_is_destroyed_once_it_is_there(written: bool) -> None:
    world = await cloning()
    if not written:
        (vmi,) = await world.instances()
        with world._people():
            await world.kube.patch_status(vmi, {"vm": {"task": None}})
    assert not await deleted(world, 20)
    await asyncio.sleep(60)
    assert await world.instances() == [] and world.vsphere.vms == {}
    assert world.effects.operations.count("vsphere vm.destroy") == 1
    await world.stop()


async def test_a_clone_that_was_moved_before_its_reference_was_noted_is_found_by_its_task() -> None:
    world = await cloning()
    await asyncio.sleep(60)
    (vm,) = world.vsphere.vms.values()
    vm.name, vm.folder = "renamed", "/DC0/vm/elsewhere"
    assert await deleted(world, 60) and world.vsphere.vms == {}
    await world.stop()


async def test_a_task_that_vcenter_has_forgotten_says_nothing() -> None:
    world = await cloning()
    await asyncio.sleep(60)
    assert len(world.vsphere.vms) == 1
    world.vsphere.tasks.clear()
    assert await deleted(world, 60) and world.vsphere.vms == {}
    await world.stop()


async def test_a_folder_that_is_gone_holds_no_vm() -> None:
    world = await cloning()
    world.vsphere.tasks.clear()
    world.vsphere.folders.clear()
    assert await deleted(world, 60)
    await world.stop()


async def test_a_lease_whose_holder_is_gone_is_freed_by_who_deletes_it() -> None:
    world = await about_to()
    await world.build(1)
    (vmi,) = await world.instances()
    del world.kube.objects[("VmInstance", "acme", vmi.metadata.name)]
    await world.quiet()
    (lease,) = await world.kube.list_objects(IpLease)
    await world.delete(lease)
    await asyncio.sleep(5)
    assert await world.leases() == []
    await world.stop()


async def test_events_that_were_kept_long_enough_go_with_the_resync() -> None:
    world = await about_to()
    await world.build(1)
    (mine,) = await world.events()
    for number in range(6):
        body = mine.manifest()
        body["metadata"] = {"name": f"web-old-{number}", "namespace": "acme", "labels": {}}
        old = await world.apply(ScaleOutEvent, body)
        ended = (world.clock.now() - LONGEST * 2).isoformat().replace("+00:00", "Z")
        await world.kube.patch_status(old, {"phase": "Failed", "finishedAt": ended})
    assert world.operator is not None
    await resync(world.operator.ctx)
    left = [event.metadata.name for event in await world.events()]
    assert len(left) == 5 and mine.metadata.name in left
    await world.stop()
