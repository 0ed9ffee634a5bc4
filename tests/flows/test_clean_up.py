"""Deletion: of an instance (drain, leave, destroy, rest), of a policy (Retain, Destroy, its order), of leases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.fakes.samples import sample
from tests.fakes.world import POOL, START, World

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.iplease import IpLease, LeasePhase
from vmscaler.api.meta import Json
from vmscaler.api.vminstance import VmInstance
from vmscaler.ports.errors import Retryable

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

MEMBER = "192.0.2.100:8080"
TARGETS = "/etc/prometheus/vmscaler/targets/vmscaler-acme.web.json"


async def serving(policy: Callable[[Json], None] = lambda body: None) -> World:
    world = await World.provisioned(policy=policy)
    world.fires()
    await world.build(1)
    world.fires(False)
    await world.quiet()
    return world


async def gone(world: World, kind: type[AutoscalingPolicy] | type[VmInstance] | type[IpLease]) -> None:
    async def look() -> bool:
        return not await world.kube.list_objects(kind)

    await world.until(f"no {kind.KIND} is left", look, 2000)


async def test_drains_leaves_is_destroyed_rests_in_this_order() -> None:
    world = await serving()
    world.bigip.connections[MEMBER] = 1
    (vmi,) = await world.instances()
    before = len(world.effects.calls)
    await world.delete(vmi)
    await asyncio.sleep(30)
    (vmi,) = await world.instances()
    assert vmi.status.phase == "Draining" and world.members() == [MEMBER]
    assert world.bigip.pools[POOL].members[MEMBER].session == "user-disabled"
    assert b"192.0.2.100" in world.hosts.files[TARGETS]  # scraped while it still serves
    world.bigip.connections[MEMBER] = 0
    await gone(world, VmInstance)
    writes = [f"{system} {operation}" for system, operation, _ in world.effects.calls[before:] if system != "kubernetes"]
    assert [w for w in writes if "save" not in w] == [
        "bigip member.patch",
        "bigip member.patch",
        "bigip member.delete",
        "bigip node.delete",
        "monitoring targets.replace",
        "vsphere vm.power-off",
        "vsphere vm.destroy",
    ]
    told = [event.message for event in world.kube.events if event.reason == "Removed"]
    assert told == [f"out of {POOL}, VM {vmi.spec.vm_name} is destroyed, 192.0.2.100 rests"]
    (lease,) = await world.leases()
    assert lease.status.phase == LeasePhase.QUARANTINED and lease.status.release_at is not None
    assert world.vsphere.vms == {} and world.nodes() == set()
    await asyncio.sleep((lease.status.release_at - world.clock.now()).total_seconds() - 1)
    assert len(await world.leases()) == 1
    await asyncio.sleep(3)
    assert await world.leases() == []
    await world.stop()


async def test_the_drain_has_an_end() -> None:
    world = await serving(lambda body: body["spec"].update(timeouts={"drain": "40s"}))
    world.bigip.connections[MEMBER] = 3
    (vmi,) = await world.instances()
    await world.delete(vmi)
    await asyncio.sleep(38)
    assert world.members() == [MEMBER]
    await asyncio.sleep(10)
    assert world.members() == [] and world.vsphere.vms == {}
    await world.stop()


async def test_a_member_that_is_not_up_is_not_waited_for() -> None:
    """Its connections lead to nothing that answers."""
    world = await serving()
    world.bigip.connections[MEMBER] = 3
    world.bigip.health[MEMBER] = "down"
    await world.delete((await world.instances())[0])
    await asyncio.sleep(10)
    assert world.members() == [] and world.vsphere.vms == {}
    await world.stop()


async def test_an_address_at_rest_is_not_handed_out() -> None:
    world = await serving()
    await world.delete((await world.instances())[0])
    await gone(world, VmInstance)
    await asyncio.sleep(301)
    world.fires()
    await world.build(2)
    assert sorted(lease.spec.address for lease in await world.leases()) == ["192.0.2.100", "192.0.2.101"]
    await world.stop()


async def test_a_vm_that_is_not_ours_is_never_destroyed() -> None:
    world = await serving()
    (vm,) = world.vsphere.vms.values()
    vm.guestinfo["instance"] = "acme/another"  # restored from a backup of something else, say
    await world.delete((await world.instances())[0])
    await gone(world, VmInstance)
    assert list(world.vsphere.vms.values()) == [vm] and vm.powered_on
    await world.stop()


async def test_a_vm_that_was_moved_and_renamed_is_found_by_its_reference() -> None:
    world = await serving()
    (vm,) = world.vsphere.vms.values()
    vm.name, vm.folder = "renamed", "/DC0/vm/elsewhere"
    world.vsphere.folders.add("/DC0/vm/elsewhere")
    world.vsphere.add("/DC0/vm/vmscaler/acme/web", (await world.instances())[0].metadata.name)
    await world.delete((await world.instances())[0])
    await gone(world, VmInstance)
    assert [left.guestinfo for left in world.vsphere.vms.values()] == [{}]
    await world.stop()


@pytest.mark.parametrize("system", ["bigip", "vsphere"])
async def test_what_is_away_holds_the_clean_up_until_it_is_back(system: str) -> None:
    world = await serving()
    away = Retryable(system, "Unreachable", "away")
    if system == "bigip":
        for method in ("member", "set_member", "remove_member"):
            world.bigip.fail(method, away, times=None)
    else:
        world.vsphere.error = away
    await world.delete((await world.instances())[0])
    await asyncio.sleep(90)
    assert len(await world.instances()) == 1 and len(world.vsphere.vms) == 1
    assert (await world.leases())[0].status.phase == LeasePhase.LEASED
    world.bigip.heal()
    world.vsphere.error = None
    await gone(world, VmInstance)
    assert world.vsphere.vms == {} and world.members() == []
    await world.stop()


async def test_a_monitoring_host_that_is_away_does_not_keep_the_vm() -> None:
    world = await serving()
    world.hosts.down = True
    await world.delete((await world.instances())[0])
    await asyncio.sleep(60)
    assert world.vsphere.vms == {} and world.members() == []
    assert len(await world.instances()) == 1  # it is still in the target file
    world.hosts.down = False
    await gone(world, VmInstance)
    assert b"192.0.2.100" not in world.hosts.files[TARGETS]
    await world.stop()


async def test_a_policy_goes_in_order_and_keeps_its_instances() -> None:
    world = await serving()
    people = world.hosts.files["/etc/prometheus/prometheus.yml"]
    before = len(world.effects.calls)
    await world.delete(await world.policy())
    await gone(world, AutoscalingPolicy)
    external = [f"{operation} {target}" for system, operation, target in world.effects.calls[before:] if system != "kubernetes"]
    assert [line.split()[0] for line in external] == [
        "rules.remove",
        "config.replace",
        "token.remove",
        "job.delete",
        "credential.delete",
        "credential.delete",
    ]
    assert "receiver: ops" in world.hosts.files["/etc/alertmanager/alertmanager.yml"].decode()
    assert b"vmscaler/" not in world.hosts.files["/etc/alertmanager/alertmanager.yml"]
    assert world.hosts.files["/etc/prometheus/prometheus.yml"] == people
    assert world.kube.secrets == {} and world.jenkins.credentials == {}
    # The instance stays in service and scraped.
    assert len(await world.instances()) == 1 and world.members() == [MEMBER] and b"192.0.2.100" in world.hosts.files[TARGETS]
    # A policy made anew under the name keeps them scraped, and does not take them for its own.
    await world.apply(AutoscalingPolicy, sample("autoscalingpolicy"))
    await world.ready()
    assert b"192.0.2.100" in world.hosts.files[TARGETS]
    policy = await world.policy()
    assert policy.status.instances is not None and (policy.status.instances.baseline, policy.status.instances.ours) == (3, 0)
    await world.delete(policy)
    await gone(world, AutoscalingPolicy)
    # The last instance takes the target file with it.
    await world.delete((await world.instances())[0])
    await gone(world, VmInstance)
    assert TARGETS not in world.hosts.files
    await world.stop()


async def test_a_policy_takes_its_instances_with_it_newest_first_one_by_one() -> None:
    def destroy(body: Json) -> None:
        body["spec"] |= {"deletionPolicy": "Destroy"}
        body["spec"]["scaling"] |= {"cooldownPeriod": "1s", "maxInstances": 5}

    world = await serving(destroy)
    world.fires()
    await asyncio.sleep(2)
    await world.build(2)
    await asyncio.sleep(2)
    await world.build(3)
    assert len(world.vsphere.vms) == 3
    names = [v.metadata.name for v in await world.instances()]
    before = len(world.effects.calls)
    await world.delete(await world.policy())
    await gone(world, AutoscalingPolicy)
    destroyed = [target for system, operation, target in world.effects.calls[before:] if operation == "vminstance.delete"]
    assert destroyed == [f"acme/{name}" for name in sorted(names, reverse=True)]
    assert world.vsphere.vms == {} and world.members() == [] and TARGETS not in world.hosts.files
    await world.stop()


async def test_a_policy_whose_site_was_never_there_can_be_deleted() -> None:
    world = await World.make(policy=lambda body: body["spec"].update(siteRef={"name": "nowhere"}))
    await world.start()
    await world.quiet()
    assert await world.condition("Granted") == ("False", "SiteNotFound")
    await world.delete(await world.policy())
    await gone(world, AutoscalingPolicy)
    await world.stop()


async def test_a_removal_that_waits_says_for_what() -> None:
    world = await serving()
    world.jenkins.down()
    await world.delete(await world.policy())
    await asyncio.sleep(60)
    policy = await world.policy()
    ready = next(c for c in policy.status.conditions if c.type == "Ready")
    assert (ready.status.value, ready.reason) == ("Unknown", "Unreachable") and ready.message.startswith("being removed: ")
    writes = len(world.effects.calls)
    await asyncio.sleep(70)
    assert len(world.effects.calls) == writes
    world.jenkins.heal()
    await gone(world, AutoscalingPolicy)
    await world.stop()


async def test_a_lease_whose_holder_lives_cannot_be_taken_away() -> None:
    world = await serving()
    (lease,) = await world.leases()
    await world.delete(lease)
    await asyncio.sleep(120)
    (lease,) = await world.leases()
    assert lease.deleting and lease.status.phase == LeasePhase.LEASED
    assert lease.status.reason.startswith("VmInstance acme/web-") and lease.status.reason.endswith("delete that")
    assert [(event.type, count) for event, count in world.kube.events.items() if event.reason == "Held"] == [("Warning", 1)]
    # And its address still gets its rest when the holder goes.
    await world.delete((await world.instances())[0])
    await gone(world, VmInstance)
    await asyncio.sleep(60)
    assert [one.status.phase for one in await world.leases()] == [LeasePhase.QUARANTINED]
    await asyncio.sleep(600)
    assert await world.leases() == []
    await world.stop()


async def test_a_lease_at_rest_is_freed_by_hand() -> None:
    world = await serving()
    await world.delete((await world.instances())[0])
    await gone(world, VmInstance)
    await asyncio.sleep(5)
    await world.delete((await world.leases())[0])
    await asyncio.sleep(5)
    assert await world.leases() == []
    await world.stop()


async def test_an_absent_holder_alone_frees_nothing() -> None:
    """A lost cluster destroys nothing: its VMs may run on."""
    world = await serving()
    (vmi,) = await world.instances()
    del world.kube.objects[("VmInstance", "acme", vmi.metadata.name)]  # its finalizer was taken off by hand
    await world.quiet()
    (lease,) = await world.leases()
    assert lease.status.phase == LeasePhase.LEASED and len(world.vsphere.vms) == 1
    assert world.clock.now() > START
    await world.stop()
