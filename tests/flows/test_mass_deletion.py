"""The brake: many instances deleted at once by nobody's decision stay in service until an administrator says so."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.world import POOL, World

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.meta import Json
from vmscaler.api.vminstance import VmInstance, VmInstanceStatus
from vmscaler.decide.brake import ANNOTATION, CONFIRMED
from vmscaler.decide.conditions import find

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def serving(instances: int, **spec: str) -> World:
    def wide(body: Json) -> None:
        body["spec"]["scaling"] = {"maxInstances": 2 + instances + 1, "cooldownPeriod": "60s"}
        body["spec"].update(spec)

    def granting(body: Json) -> None:
        for tenant in body["spec"]["tenants"]:
            tenant["maxInstances"] = 20

    world = await World.provisioned(policy=wide, site=granting)
    for number in range(1, instances + 1):
        await scale_out(world, number)
    assert len(await world.instances()) == instances
    return world


async def scale_out(world: World, number: int) -> None:
    world.fires()
    await world.build(number)
    world.fires(False)
    await asyncio.sleep(61)


async def delete(world: World, *instances: VmInstance) -> None:
    for vmi in instances:
        await world.delete(vmi)


async def confirm(world: World, *instances: VmInstance) -> None:
    for vmi in instances:
        with world._people():
            await world.kube.patch(vmi, {"metadata": {"annotations": {ANNOTATION: CONFIRMED}}})


async def left(world: World, instances: int) -> None:
    async def look() -> bool:
        return len(await world.instances()) == instances

    await world.until(f"{instances} instances are left", look, 900)


def reason(vmi: VmInstance) -> str | None:
    condition = find(vmi.status.conditions, c.REMOVED)
    return condition.reason if condition is not None else None


async def test_many_at_once_stay_until_each_is_confirmed() -> None:
    world = await serving(5)
    before = len(world.effects.calls)
    await delete(world, *await world.instances())
    await asyncio.sleep(400)
    instances = await world.instances()
    assert [reason(vmi) for vmi in instances] == ["MassDeletion"] * 5
    assert [system for system, _, _ in world.effects.calls[before:] if system != "kubernetes"] == []
    assert len(world.members()) == 5 and len(world.vsphere.vms) == 5 and len(await world.leases()) == 5
    first, second, *others = instances
    await confirm(world, first, second)
    await left(world, 3)  # as many as go unasked, but these were held: each is asked for
    await world.restart()
    await asyncio.sleep(400)
    assert {vmi.metadata.name for vmi in await world.instances()} == {vmi.metadata.name for vmi in others}
    assert len(world.members()) == 3 and len(world.vsphere.vms) == 3
    await confirm(world, *others)
    await left(world, 0)
    assert world.members() == [] and world.vsphere.vms == {} and world.nodes() == set()
    await world.stop()


async def test_what_it_says_is_what_to_do() -> None:
    world = await serving(4)
    await delete(world, *await world.instances())
    await asyncio.sleep(60)
    vmi, *_ = await world.instances()
    condition = find(vmi.status.conditions, c.REMOVED)
    assert condition is not None and condition.status == "False"
    assert f"kubectl annotate vmi -n acme {vmi.metadata.name} vmscaler.io/removal=confirmed" in condition.message
    assert condition.message.startswith("4 instances of Site default are being deleted")
    await world.stop()


async def test_a_few_go_without_asking() -> None:
    world = await serving(4)
    one, *three = await world.instances()
    await delete(world, *three)
    await left(world, 1)
    assert len(world.vsphere.vms) == 1
    await delete(world, one)
    await left(world, 0)
    await world.stop()


async def test_what_has_begun_to_leave_goes_on() -> None:
    """Three drain when the rest is deleted too: a VM that is half out of service is nobody's gain."""
    world = await serving(5)
    *three, one, other = await world.instances()
    for name in world.members():
        world.bigip.connections[name] = 1
    await delete(world, *three)
    await asyncio.sleep(20)
    assert [vmi.status.phase.value for vmi in await world.instances()] == ["Draining"] * 3 + ["InService"] * 2
    await delete(world, one, other)
    await asyncio.sleep(10)
    world.bigip.connections.clear()
    await left(world, 2)
    await asyncio.sleep(100)
    assert [reason(vmi) for vmi in await world.instances()] == ["MassDeletion"] * 2 and len(world.vsphere.vms) == 2
    await world.stop()


async def test_another_sites_count_apart() -> None:
    world = await serving(3)
    instances = await world.instances()
    for number in range(3):
        body = instances[0].model_copy(deep=True)
        spec = body.spec.model_copy(update={"site_ref": body.spec.site_ref.model_copy(update={"name": "elsewhere"})})
        meta = body.metadata.model_copy(update={"name": f"other-{number}", "uid": "", "resource_version": None})
        with world._people():
            await world.kube.create(VmInstance(metadata=meta, spec=spec, status=VmInstanceStatus()))
    await delete(world, *await world.instances())
    await left(world, 3)
    assert {vmi.spec.site_ref.name for vmi in await world.instances()} == {"elsewhere"}
    await world.stop()


async def test_a_rollback_is_never_held() -> None:
    world = await serving(4)
    await delete(world, *await world.instances())
    await asyncio.sleep(60)
    assert len(world.members()) == 4
    world.healthy = False
    await scale_out(world, 5)
    await left(world, 4)
    assert len(world.vsphere.vms) == 4 and (await world.events())[-1].status.phase == "Failed"
    await world.stop()


async def test_a_policy_that_destroys_has_decided() -> None:
    world = await serving(5, deletionPolicy="Destroy")
    await world.delete(await world.policy())
    await left(world, 0)
    assert await world.kube.list_objects(AutoscalingPolicy) == [] and world.bigip.pools[POOL].members.keys() == {
        "192.0.2.11:8080",
        "192.0.2.12:8080",
    }
    await world.stop()


async def test_a_policy_that_destroys_decides_on_one_at_a_time() -> None:
    """`kubectl delete -f crds/`, or a namespace: policy and instances are all deleted at once, and nobody said that of the VMs."""
    world = await serving(5, deletionPolicy="Destroy")
    await world.delete(await world.policy())
    await delete(world, *await world.instances())
    await asyncio.sleep(600)
    instances = await world.instances()
    assert len(instances) == 5 and len(world.vsphere.vms) == 5
    removed = [find(vmi.status.conditions, c.REMOVED) for vmi in instances]
    assert {condition.reason for condition in removed if condition is not None} == {"MassDeletion"}
    await confirm(world, *instances)
    await left(world, 0)
    assert await world.kube.list_objects(AutoscalingPolicy) == []
    await world.stop()
