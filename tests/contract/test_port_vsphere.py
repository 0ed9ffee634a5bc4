"""The port VSphere: one suite on the fake and on the real adapter against the lab's vCenter. What only the wire can do wrong: test_vsphere_adapter.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.vsphere_adapter_bench import (
    MARKS,
    PEOPLE,
    PEOPLE_ADDRESS,
    PEOPLE_FOLDER,
    TEMPLATE,
    World,
    eventually,
    fake_world,
    lab_world,
)
from tests.contract.vsphere_judge import FOLDER, VCenter

from vmscaler.ports.errors import Conflict, NotFound, Rejected
from vmscaler.ports.vsphere import VmInfo


@pytest.fixture(params=[fake_world, pytest.param(lab_world, marks=pytest.mark.lab)], ids=["fake", "lab"])
async def world(request: pytest.FixtureRequest, lab_vcenter: VCenter) -> AsyncIterator[World]:
    async with request.param(lab_vcenter) as one:
        yield one


# --- looking ---


async def test_a_vcenter_is_the_same_one_however_often_it_is_asked(world: World) -> None:
    assert await world.vsphere.identity() == await world.vsphere.identity() != ""


async def test_about_is_product_and_version(world: World) -> None:
    assert (await world.vsphere.about()).startswith("VMware vCenter Server 8.0.3")


async def test_a_template_and_its_hardware(world: World) -> None:
    info = await world.vsphere.template(TEMPLATE)
    assert info.is_template
    assert (info.name, info.folder, info.cpus, info.memory_mib, info.disk_gib) == ("tmpl-web", "/DC0/vm/templates", 2, 2048, 20)
    assert info.guest_os == "ubuntu64Guest"
    assert info.mo_ref.startswith("vm-")


async def test_a_vm_is_no_template_and_nothing_is_not_found(world: World) -> None:
    assert not (await world.vsphere.template(f"{PEOPLE_FOLDER}/{PEOPLE}")).is_template
    with pytest.raises(NotFound) as refusal:
        await world.vsphere.template("/DC0/vm/templates/none")
    assert refusal.value.reason == "TemplateNotFound"


async def test_a_vm_by_folder_and_name_and_by_reference(world: World) -> None:
    found = await world.vsphere.find_vm(PEOPLE_FOLDER, PEOPLE)
    assert found is not None
    assert (found.name, found.powered_on, found.guestinfo) == (PEOPLE, True, {})
    assert (await world.vsphere.vm(found.mo_ref)).instance_uuid == found.instance_uuid != ""
    assert await world.vsphere.find_vm(PEOPLE_FOLDER, "none") is None
    assert await world.vsphere.find_vm(FOLDER, PEOPLE) is None  # a name counts in its folder
    with pytest.raises(NotFound):
        await world.vsphere.vm("vm-99999")
    with pytest.raises(Rejected) as refusal:
        await world.vsphere.find_vm("/DC0/vm/none", PEOPLE)
    assert refusal.value.reason == "FolderNotFound"
    assert "spec.placement.folder" in refusal.value.message


async def test_addresses_that_the_inventory_knows(world: World) -> None:
    asked = frozenset({PEOPLE_ADDRESS, "127.0.0.100", "127.0.0.101"})

    async def known() -> dict[str, str] | None:
        found = await world.vsphere.addresses_in_use(asked)
        return found if PEOPLE_ADDRESS in found else None

    assert await eventually(known) == {PEOPLE_ADDRESS: PEOPLE}
    assert await world.vsphere.addresses_in_use(frozenset()) == {}
    assert await world.vsphere.addresses_in_use(frozenset({"127.0.0.101"})) == {}


async def test_looking_writes_nothing(world: World) -> None:
    await world.vsphere.about()
    await world.vsphere.template(TEMPLATE)
    await world.vsphere.find_vm(PEOPLE_FOLDER, PEOPLE)
    await world.vsphere.clones_in_flight((await world.order("x")).template_mo_ref)
    await world.vsphere.ensure_folder(FOLDER)
    assert world.effects.calls == []


# --- folders ---


async def test_a_folder_with_its_parents_is_made_once(world: World) -> None:
    path = "/DC0/vm/port-suite/acme/web"
    await world.vsphere.ensure_folder(path)
    made = [("vsphere", "folder.create", part) for part in ("/DC0/vm/port-suite", "/DC0/vm/port-suite/acme", path)]
    assert world.effects.calls == made
    await world.vsphere.ensure_folder(path)
    assert world.effects.calls == made
    assert await world.vsphere.find_vm(path, "none") is None


@pytest.mark.parametrize("path", ["/DC9/vm/acme", "/DC0/host/acme", "/DC0"])
async def test_a_folder_outside_of_any_datacenters_vm_folders_is_refused(world: World, path: str) -> None:
    with pytest.raises(Rejected) as refusal:
        await world.vsphere.ensure_folder(path)
    assert refusal.value.reason == "FolderNotFound"
    assert world.writes == []


# --- cloning ---


async def test_a_clone_has_its_marks_and_boots_with_its_address(world: World) -> None:
    vm = await world.cloned("web-a")
    assert vm.powered_on
    assert vm.guestinfo == {**MARKS, "address": "127.0.0.100"}
    assert await world.placed("web-a") == {"portGroup": "vlan-web", "datastore": "datastore1", "pool": "Resources"}

    async def booted() -> VmInfo | None:
        seen = await world.vsphere.vm(vm.mo_ref)
        return seen if seen.tools_running else None

    assert (await eventually(booted)).guest_addresses == ("127.0.0.100",)
    assert await world.vsphere.addresses_in_use(frozenset({"127.0.0.100"})) == {"127.0.0.100": "web-a"}
    assert world.effects.calls == [("vsphere", "vm.clone", f"{FOLDER}/web-a")]


async def test_pool_datastore_and_a_standard_port_group_by_name(world: World) -> None:
    pool = "/DC0/host/C0/Resources/vmscaler"
    await world.cloned("web-b", resource_pool=pool, datastore="datastore1", port_group="VM Network")
    assert await world.placed("web-b") == {"portGroup": "VM Network", "datastore": "datastore1", "pool": "vmscaler"}


@pytest.mark.parametrize(
    ("changes", "reason", "cure"),
    [
        ({"port_group": "vlan-none"}, "PortGroupNotFound", "portGroup"),
        ({"datastore": "none"}, "DatastoreNotFound", "spec.placement.datastore"),
        ({"resource_pool": "/DC0/host/C0/Resources/none"}, "ResourcePoolNotFound", "spec.placement.resourcePool"),
        ({"customization": "none"}, "CustomizationNotFound", "spec.placement.customization"),
        ({"folder": "/DC0/vm/none"}, "FolderNotFound", "spec.placement.folder"),
    ],
)
async def test_what_does_not_exist_is_told_with_what_to_correct(world: World, changes: dict[str, Any], reason: str, cure: str) -> None:
    with pytest.raises(Rejected) as refusal:
        await world.vsphere.clone(await world.order("web-c", **changes))
    assert refusal.value.reason == reason
    assert cure in refusal.value.message
    assert world.writes == []
    assert await world.names() == []


async def test_a_template_that_is_gone_is_not_found(world: World) -> None:
    with pytest.raises(NotFound) as refusal:
        await world.vsphere.clone(await world.order("web-c", template_mo_ref="vm-99999"))
    assert refusal.value.reason == "TemplateNotFound"
    assert await world.vsphere.clones_in_flight("vm-99999") == []


async def test_a_name_is_taken_once(world: World) -> None:
    await world.cloned("web-d")
    with pytest.raises(Conflict) as refusal:
        await world.vsphere.clone(await world.order("web-d"))
    assert refusal.value.reason == "DuplicateName"
    assert world.writes == ["vm.clone"]
    assert await world.names() == ["web-d"]


async def test_two_orders_of_one_name_make_one_vm(world: World) -> None:
    await world.hold("clone")
    keys = [await world.vsphere.clone(await world.order("web-e")) for _ in range(2)]
    await world.let_go()
    ended = [await world.over(key) for key in keys]
    assert sorted((task.state, task.fault) for task in ended) == [("error", "DuplicateName"), ("success", None)]
    assert await world.names() == ["web-e"]


async def test_a_clone_on_its_way_is_seen_as_its_task_alone(world: World) -> None:
    await world.hold("clone")
    order = await world.order("web-f")
    key = await world.vsphere.clone(order)
    running = await world.vsphere.task(key)
    assert (running.key, running.state, running.result) == (key, "running", None)
    assert [task.key for task in await world.vsphere.clones_in_flight(order.template_mo_ref)] == [key]
    assert await world.vsphere.find_vm(FOLDER, "web-f") is None
    await world.let_go()
    over = await world.over(key)
    assert over.state == "success"
    found = await world.vsphere.find_vm(FOLDER, "web-f")
    assert found is not None
    assert found.mo_ref == over.result
    assert await world.vsphere.clones_in_flight(order.template_mo_ref) == []


async def test_a_task_that_fails_says_how_and_an_unknown_one_is_not_found(world: World) -> None:
    await world.fail_task("clone", "NoDiskSpace", "the datastore is full")
    task = await world.over(await world.vsphere.clone(await world.order("web-g")))
    assert (task.state, task.fault, task.message, task.result) == ("error", "NoDiskSpace", "the datastore is full", None)
    assert await world.names() == []
    with pytest.raises(NotFound):
        await world.vsphere.task("task-99999")


# --- power and removal ---


async def test_powered_on_already_is_fine(world: World) -> None:
    vm = await world.cloned("web-h")
    await world.vsphere.power_on(vm.mo_ref)
    assert world.writes == ["vm.clone"]
    with pytest.raises(NotFound):
        await world.vsphere.power_on("vm-99999")


async def test_destroyed_with_our_marks_and_absent_is_fine(world: World) -> None:
    vm = await world.cloned("web-i")
    await world.vsphere.destroy(vm.mo_ref, MARKS)
    assert await world.names() == []
    await world.vsphere.destroy(vm.mo_ref, MARKS)
    await world.vsphere.destroy("vm-99999", MARKS)
    written = [("vsphere", "vm.power-off", vm.mo_ref), ("vsphere", "vm.destroy", vm.mo_ref)]
    assert world.effects.calls == [("vsphere", "vm.clone", f"{FOLDER}/web-i"), *written]


@pytest.mark.parametrize("expected", [{**MARKS, "installation": "another"}, {**MARKS, "more": "x"}, {}])
async def test_other_marks_are_left_alone(world: World, expected: dict[str, str]) -> None:
    vm = await world.cloned("web-j")
    with pytest.raises(Rejected) as refusal:
        await world.vsphere.destroy(vm.mo_ref, expected)
    assert refusal.value.reason == "NotOurs"
    assert (await world.vsphere.vm(vm.mo_ref)).powered_on
    assert world.writes == ["vm.clone"]


async def test_what_people_made_is_left_alone(world: World) -> None:
    theirs = await world.vsphere.find_vm(PEOPLE_FOLDER, PEOPLE)
    assert theirs is not None
    with pytest.raises(Rejected) as refusal:
        await world.vsphere.destroy(theirs.mo_ref, MARKS)
    assert refusal.value.reason == "NotOurs"
    assert (await world.vsphere.vm(theirs.mo_ref)).powered_on
    assert world.writes == []


async def test_a_removal_that_fails_says_so_and_is_done_later(world: World) -> None:
    vm = await world.cloned("web-k")
    await world.fail_task("destroy", "NoDiskSpace", "no room for the journal")
    with pytest.raises(Rejected) as refusal:
        await world.vsphere.destroy(vm.mo_ref, MARKS)
    assert refusal.value.reason == "NoDiskSpace"
    assert "no room for the journal" in refusal.value.message
    assert not (await world.vsphere.vm(vm.mo_ref)).powered_on
    # What is off can be powered on again.
    await world.vsphere.power_on(vm.mo_ref)
    assert (await world.vsphere.vm(vm.mo_ref)).powered_on
    assert world.writes == ["vm.clone", "vm.power-off", "vm.destroy", "vm.power-on"]


async def test_a_slow_removal_is_waited_for(world: World) -> None:
    vm = await world.cloned("web-l")
    await world.slow({"power-off": 0.2, "destroy": 0.2})
    began = asyncio.get_running_loop().time()
    await world.vsphere.destroy(vm.mo_ref, MARKS)
    assert asyncio.get_running_loop().time() - began >= 0.4
    assert await world.names() == []
