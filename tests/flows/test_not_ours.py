"""What people made looks much like what we made, and stays."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace

import pytest
from tests.fakes.world import POOL, World
from tests.flows.failing import about_to

from vmscaler.api.iplease import LeasePhase
from vmscaler.api.vminstance import InstancePhase
from vmscaler.decide.marks import marks
from vmscaler.flows.steps import Outcome
from vmscaler.ports.bigip import Member

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


async def test_what_is_called_by_an_address_that_it_does_not_have_stays() -> None:
    """A node may have another address than its name says, and so its members; they are asked for by name."""
    world = await World.make()
    theirs = world.bigip.pools[POOL].members["192.0.2.11:8080"]
    world.bigip.pools[POOL].members["192.0.2.100:8080"] = replace(theirs, address="192.0.2.66")
    world.bigip.health["192.0.2.100:8080"] = "up"
    world.bigip.nodes.add("/Common/192.0.2.101")
    world.bigip.nodes_by_address = lambda: nodes({"192.0.2.66": "/Common/192.0.2.100", "192.0.2.67": "/Common/192.0.2.101%1"})  # type: ignore[method-assign]
    await in_service(world)
    assert world.members() == ["192.0.2.100:8080", "192.0.2.102:8080"]
    assert any("192.0.2.101 is in use by node /Common/192.0.2.101%1" in line for line in world.said)
    await all_gone(world)
    assert world.members() == ["192.0.2.100:8080"] and "/Common/192.0.2.101" in world.nodes()
    await world.stop()


async def nodes(found: dict[str, str]) -> dict[str, str]:
    return found


async def test_a_member_called_as_ours_would_be_is_neither_enabled_nor_removed() -> None:
    """It came after the address was chosen."""
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    for stage in ("claim", "allocate", "clone", "verify"):
        await world.step(stage, ref, build)
    theirs = replace(world.bigip.pools[POOL].members["192.0.2.11:8080"], address="192.0.2.66")
    world.bigip.pools[POOL].members["192.0.2.100:8080"] = theirs
    world.bigip.health["192.0.2.100:8080"] = "up"
    before = copy.copy(theirs)
    answer = await world.step("join", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "MemberDiffers")
    await world.quiet()
    assert await world.instances() == [] and world.vsphere.vms == {}
    assert world.bigip.pools[POOL].members["192.0.2.100:8080"] == before
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


async def test_a_vm_with_our_name_and_another_address_is_not_this_instances() -> None:
    """The cluster was restored from a backup, the sequence counts again, and the VM that had this name then is in service."""
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    for stage in ("claim", "allocate"):
        await world.step(stage, ref, build)
    (vmi,) = await world.instances()
    folder = vmi.spec.placement.folder
    world.vsphere.folders.add(folder)
    serving = world.vsphere.add(folder, vmi.spec.vm_name, marks(vmi, "192.0.2.150"))
    answer = await world.step("clone", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "NameTaken")
    await world.quiet()
    assert await world.instances() == [] and list(world.vsphere.vms.values()) == [serving] and serving.powered_on
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
    # A vCenter that was restored from a backup may have given the old reference to somebody's.
    stranger = world.vsphere.vms[ours.mo_ref] = replace(ours, name="stranger", guestinfo={})
    await all_gone(world)
    assert list(world.vsphere.vms.values()) == [stranger]
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


async def test_a_member_of_another_route_domain_is_not_ours() -> None:
    """The member is asked for as address:port, and joins in the route domain of the pool's other members: from then on it has that name."""
    world = await World.make()
    add, named = world.bigip.add_member, "192.0.2.100%1:8080"

    async def in_route_domain(pool: str, address: str, port: int) -> Member:
        await add(pool, address, port)
        members = world.bigip.pools[POOL].members
        members[named] = members.pop(f"{address}:{port}")
        world.bigip.health[named] = "up"
        return world.bigip._shown(world.bigip.pools[POOL], named)

    find = world.bigip._find
    world.bigip.add_member = in_route_domain  # type: ignore[method-assign]
    world.bigip._find = lambda path, name: find(path, name) or find(path, named)  # type: ignore[method-assign]
    existing = world.bigip._existing
    world.bigip._existing = lambda path, name: existing(path, named)  # type: ignore[method-assign]
    await in_service(world)
    (vmi,) = await world.instances()
    assert vmi.status.member is not None and vmi.status.member.name == named
    await world.stop()
