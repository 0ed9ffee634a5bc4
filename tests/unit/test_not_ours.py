"""What people made looks much like what we made, and stays."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace

import pytest
from tests.fakes.world import World

from vmscaler.api.iplease import LeasePhase
from vmscaler.api.vminstance import InstancePhase

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def in_service(world: World) -> None:
    await world.start()
    await world.ready()
    world.fires()
    await world.build(1)
    await world.quiet()


async def all_gone(world: World) -> None:
    (vmi,) = await world.instances()
    await world.delete(vmi)

    async def gone() -> bool:
        return not await world.instances()

    await world.until("the instance is gone", gone, 3600)


async def test_the_address_of_somebodys_node_is_not_taken_and_the_node_stays() -> None:
    world = await World.make()
    planned = "/Common/192.0.2.100"
    world.bigip.nodes.add(planned)  # no member yet, and no VM that would answer a probe
    await in_service(world)
    assert world.members() == ["192.0.2.101:8080"]
    assert any("192.0.2.100 is in use by node /Common/192.0.2.100" in line for line in world.said)
    await all_gone(world)
    assert world.nodes() == {planned}
    await world.stop()


async def test_somebodys_copy_of_our_vm_is_not_ours() -> None:
    """A clone in vCenter copies the marks. Ours was destroyed by hand, and the copy has got its name and folder."""
    world = await World.make()
    await in_service(world)
    (ours,) = world.vsphere.vms.values()
    del world.vsphere.vms[ours.mo_ref]
    theirs = world.vsphere.add(ours.folder, ours.name, copy.copy(ours.guestinfo))
    await all_gone(world)
    assert list(world.vsphere.vms) == [theirs.mo_ref]
    await world.stop()


async def test_our_vm_is_found_under_another_reference() -> None:
    """Taken out of the inventory and put back, it has another moRef, and still its instance UUID."""
    world = await World.make()
    await in_service(world)
    (ours,) = world.vsphere.vms.values()
    del world.vsphere.vms[ours.mo_ref]
    back = world.vsphere.add(ours.folder, ours.name, copy.copy(ours.guestinfo))
    seen = world.vsphere._info
    world.vsphere._info = lambda vm: replace(seen(vm), instance_uuid=f"uuid-{ours.mo_ref}")  # type: ignore[method-assign]
    assert back.mo_ref != ours.mo_ref
    await all_gone(world)
    assert not world.vsphere.vms
    await world.stop()


async def test_a_vm_is_not_gone_because_the_site_names_another_vcenter() -> None:
    world = await World.make()
    await in_service(world)
    here = dict(world.vsphere.vms)
    world.vsphere.vms.clear()
    world.vsphere.uuid = "vcenter-2"
    (vmi,) = await world.instances()
    await world.delete(vmi)
    await asyncio.sleep(3600)
    (vmi,) = await world.instances()
    (lease,) = await world.leases()
    assert (vmi.status.phase, lease.status.phase) == (InstancePhase.DESTROYING, LeasePhase.LEASED)
    world.vsphere.vms.update(here)
    world.vsphere.uuid = "vcenter-1"

    async def gone() -> bool:
        return not await world.instances()

    await world.until("the instance is gone", gone)
    assert not world.vsphere.vms
    await world.stop()
