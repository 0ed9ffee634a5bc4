"""The vCenter client when the wire goes wrong: time, lost answers, refusals. Trust and sessions: test_vsphere_sessions.py; what the
port promises anyway: test_port_vsphere.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest
from pyVmomi import vim
from tests.contract import vsphere_judge
from tests.contract.vsphere_adapter_bench import (
    MARKS,
    PEOPLE,
    PEOPLE_FOLDER,
    TEMPLATE,
    FaultControl,
    World,
    client_of,
    eventually,
    lab_world,
    order,
    refused,
)
from tests.contract.vsphere_judge import FOLDER, VCenter
from tests.fakes.effects import DirectEffects

from vmscaler.ports.errors import Conflict, NotFound, Rejected, Retryable

pytestmark = pytest.mark.lab
T = TypeVar("T")


@pytest.fixture
async def world(lab_vcenter: VCenter, vcenter_control: FaultControl) -> AsyncIterator[World]:
    async with lab_world(lab_vcenter) as made:
        yield made


# --- not there, and slow ---


async def test_down_is_to_be_tried_again_and_heals(world: World, vcenter_control: FaultControl) -> None:
    await world.vsphere.about()
    await vcenter_control.put_faults({"down": True})
    error = await refused(world.vsphere.about())
    assert type(error) is Retryable
    assert error.reason == "Unreachable"
    assert error.after > 0
    await vcenter_control.put_faults({})
    await world.vsphere.about()


async def test_a_connection_that_was_closed_meanwhile_is_not_used(world: World, vcenter_control: FaultControl) -> None:
    await asyncio.gather(*(world.vsphere.template(TEMPLATE) for _ in range(8)))  # several connections
    await vcenter_control.put_faults({"down": True})
    await vcenter_control.put_faults({})
    await asyncio.gather(*(world.vsphere.template(TEMPLATE) for _ in range(8)))


@pytest.mark.parametrize("effect", ["drop", "lose"])
async def test_an_answer_that_never_comes_is_to_be_tried_again(world: World, vcenter_control: FaultControl, effect: str) -> None:
    await vcenter_control.rule("FindChild", effect, count=1)
    error = await refused(world.vsphere.find_vm(PEOPLE_FOLDER, PEOPLE))
    assert type(error) is Retryable
    assert await world.vsphere.find_vm(PEOPLE_FOLDER, PEOPLE) is not None


@pytest.mark.parametrize("limits", [{"timeout": 1.5, "deadline": 60.0}, {"timeout": 60.0, "deadline": 1.5}], ids=["socket", "call"])
async def test_a_hang_ends_at_the_limit(lab_vcenter: VCenter, vcenter_control: FaultControl, limits: dict[str, float]) -> None:
    async with client_of(lab_vcenter, **limits) as client:
        await eventually(lambda: _works(client.about()))  # logging in has the same limit
        await vcenter_control.rule("FindChild", "hang")
        began = asyncio.get_running_loop().time()
        error = await refused(client.find_vm(PEOPLE_FOLDER, PEOPLE))
        assert type(error) is Retryable
        assert error.reason == "Timeout"
        assert 1.4 < asyncio.get_running_loop().time() - began < 30
        await vcenter_control.put_faults({})
        await eventually(lambda: _works(client.find_vm(PEOPLE_FOLDER, PEOPLE)))


async def test_one_who_is_cancelled_waits_for_the_request_and_sends_no_other(lab_vcenter: VCenter, vcenter_control: FaultControl) -> None:
    effects = DirectEffects()
    async with client_of(lab_vcenter, effects) as client:
        wanted = order("web-u", (await client.template(TEMPLATE)).mo_ref)
        reads = await vcenter_control.calls("RetrievePropertiesEx")
        await vcenter_control.rule("FindChild", "delay", seconds=600)  # the second of the many requests before the order
        task = asyncio.create_task(client.clone(wanted))
        await eventually(lambda: _hit(vcenter_control))
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=0.2)
        assert not done  # its thread is in a request
        await vcenter_control.put_faults({})  # which is answered now
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.about()
        assert await vcenter_control.calls("RetrievePropertiesEx") == reads
        assert effects.calls == []


async def test_a_write_that_is_cancelled_is_over_when_its_caller_goes(lab_vcenter: VCenter, vcenter_control: FaultControl) -> None:
    async with client_of(lab_vcenter) as client:
        wanted = order("web-v", (await client.template(TEMPLATE)).mo_ref)
        await vcenter_control.rule("CloneVM_Task", "delay", seconds=600)
        task = asyncio.create_task(client.clone(wanted))
        await eventually(lambda: _hit(vcenter_control))
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=0.2)
        assert not done
        await vcenter_control.put_faults({})  # the order is carried out now
        with pytest.raises(asyncio.CancelledError):
            await task
        # What it began can be seen: a rollback that comes now finds it.
        assert await client.clones_in_flight(wanted.template_mo_ref) or await client.find_vm(FOLDER, "web-v")


async def test_one_who_waits_in_the_queue_past_his_time_never_acts(lab_vcenter: VCenter, vcenter_control: FaultControl) -> None:
    async with client_of(lab_vcenter, threads=1, deadline=2.0, timeout=30.0) as client:
        await eventually(lambda: _works(client.about()))
        await vcenter_control.rule("FindChild", "hang", count=1)
        before = await vcenter_control.calls("FindByInventoryPath")
        errors = await asyncio.gather(refused(client.find_vm(PEOPLE_FOLDER, PEOPLE)), refused(client.template(TEMPLATE)))
        assert [error.reason for error in errors] == ["Timeout", "Timeout"]
        await vcenter_control.put_faults({})
        await eventually(lambda: _works(client.about()))
        assert await vcenter_control.calls("FindByInventoryPath") <= before + 1  # that of find_vm, unless its time was over before


async def _hit(vcenter_control: FaultControl) -> bool:
    return await vcenter_control.hits() > 0


async def _works(call: Awaitable[Any]) -> bool:
    try:
        await call
    except Retryable:
        return False
    return True


# --- writes ---


async def test_a_clone_whose_answer_was_lost_is_found(world: World, vcenter_control: FaultControl) -> None:
    wanted = await world.order("web-w")
    await vcenter_control.rule("CloneVM_Task", "lose", count=1)
    error = await refused(world.vsphere.clone(wanted))
    assert type(error) is Retryable
    await eventually(lambda: world.vsphere.find_vm(FOLDER, "web-w"))
    assert isinstance(await refused(world.vsphere.clone(wanted)), Conflict)
    found = await world.vsphere.find_vm(FOLDER, "web-w")
    assert found is not None
    assert {key: found.guestinfo[key] for key in MARKS} == MARKS
    assert await world.names() == ["web-w"]
    assert world.writes == ["vm.clone"]


async def test_one_that_is_still_being_made_is_destroyed_later(world: World, vcenter_control: FaultControl) -> None:
    await vcenter_control.put_faults({"tasks": [{"method": "CloneVM_Task", "effect": "late"}]})
    key = await world.vsphere.clone(await world.order("web-x"))
    made = await eventually(lambda: vcenter_control.vm("web-x"))
    assert type(await refused(world.vsphere.destroy(made["moRef"], MARKS))) is Retryable
    assert await world.names() == ["web-x"]
    await vcenter_control.put_faults({})
    assert (await world.over(key)).state == "success"
    await eventually(lambda: _works(world.vsphere.destroy(made["moRef"], MARKS)))
    assert await world.names() == []


async def test_a_removal_that_takes_too_long_is_followed_by_the_next_try(lab_vcenter: VCenter) -> None:
    async with lab_world(lab_vcenter, task_limit=0.2) as world:
        vm = await world.cloned("web-y")
        await world.hold("destroy")
        error = await refused(world.vsphere.destroy(vm.mo_ref, MARKS))
        assert type(error) is Retryable
        assert error.reason == "TaskRunning"
        await world.let_go()
        await eventually(lambda: _works(world.vsphere.destroy(vm.mo_ref, MARKS)))
        assert await world.names() == []


async def test_a_task_that_vcenter_has_forgotten_says_nothing_of_its_vm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after vCenter's restart. The simulator forgets none, and pyvmomi cannot read a ManagedObjectNotFound of its fault port."""

    async def forgotten(key: str) -> Any:
        raise NotFound("vsphere", "ObjectNotFound", f"{key} is unknown")

    vm = await world.cloned("web-p")
    with monkeypatch.context() as patch:
        patch.setattr(world.vsphere, "_task", forgotten)
        error = await refused(world.vsphere.destroy(vm.mo_ref, MARKS))
        assert type(error) is Retryable and error.reason == "TaskRunning"
        await eventually(lambda: _off(world, vm.mo_ref))
        error = await refused(world.vsphere.power_on(vm.mo_ref))
        assert type(error) is Retryable and error.reason == "TaskRunning"
    await eventually(lambda: _works(world.vsphere.destroy(vm.mo_ref, MARKS)))
    assert await world.names() == []


async def _off(world: World, mo_ref: str) -> bool:
    return not (await world.vsphere.vm(mo_ref)).powered_on


async def test_a_vm_that_somebody_suspended_is_powered_off_before_its_removal(lab_vcenter: VCenter, world: World) -> None:
    """The simulator would remove it as it is; a vCenter need not."""
    vm = await world.cloned("web-s")
    with vsphere_judge.connected(lab_vcenter) as si:
        vsphere_judge.ended(vsphere_judge.found(si, f"{FOLDER}/web-s").SuspendVM_Task())
    assert not (await world.vsphere.vm(vm.mo_ref)).powered_on
    await world.vsphere.destroy(vm.mo_ref, MARKS)
    assert world.writes == ["vm.clone", "vm.power-off", "vm.destroy"] and await world.names() == []


@pytest.mark.parametrize("operation", ["vm.power-off", "vm.destroy"])
async def test_the_marks_are_looked_at_again_at_each_write(lab_vcenter: VCenter, operation: str) -> None:
    class Overtaken(DirectEffects):
        """Somebody gives the VM another purpose between the look and the write."""

        async def write(self, system: str, said: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
            if said == operation:
                await asyncio.to_thread(_remark, lab_vcenter, "web-q")
            return await super().write(system, said, target, call)

    async with lab_world(lab_vcenter) as world, client_of(lab_vcenter, Overtaken()) as client:
        vm = await world.cloned("web-q")
        error = await refused(client.destroy(vm.mo_ref, MARKS))
        assert error.reason == "NotOurs"
        assert await world.names() == ["web-q"]
        assert (await world.vsphere.vm(vm.mo_ref)).powered_on == (operation == "vm.power-off")


def _remark(vcenter: VCenter, name: str) -> None:
    with vsphere_judge.connected(vcenter) as si:
        option = vim.option.OptionValue(key="guestinfo.vmscaler.instance", value="acme/another")
        spec = vim.vm.ConfigSpec(extraConfig=[option])
        vsphere_judge.ended(vsphere_judge.found(si, f"{FOLDER}/{name}").ReconfigVM_Task(spec=spec))


@pytest.mark.parametrize(
    ("method", "fault", "kind", "reason"),
    [
        ("RetrievePropertiesEx", "NoPermission", Rejected, "NotPermitted"),
        ("CloneVM_Task", "NoPermission", Rejected, "NotPermitted"),
        ("CloneVM_Task", "InsufficientResourcesFault", Rejected, "InsufficientResourcesFault"),
        ("CloneVM_Task", "InvalidState", Retryable, "InvalidState"),
        ("CloneVM_Task", "HostNotConnected", Retryable, "HostNotConnected"),
        ("CloneVM_Task", "SystemError", Retryable, "SystemError"),
        ("CloneVM_Task", "InvalidArgument", Rejected, "InvalidArgument"),
    ],
)
async def test_what_the_server_says_is_told_as_such(
    world: World, vcenter_control: FaultControl, method: str, fault: str, kind: type, reason: str
) -> None:
    wanted = await world.order("web-z")
    await vcenter_control.rule(method, "fault", fault=fault, message="said by the server")
    error = await refused(world.vsphere.clone(wanted))
    assert type(error) is kind
    assert error.reason == reason
    assert world.writes == (["vm.clone"] if method == "CloneVM_Task" else [])
    assert await world.names() == []


async def test_a_folder_that_may_not_be_made(world: World, vcenter_control: FaultControl) -> None:
    await vcenter_control.rule("CreateFolder", "fault", fault="NoPermission")
    error = await refused(world.vsphere.ensure_folder("/DC0/vm/port-suite"))
    assert isinstance(error, Rejected)
    assert error.reason == "NotPermitted"


async def test_a_folder_that_several_make_at_once_is_made(world: World, vcenter_control: FaultControl) -> None:
    await vcenter_control.rule("CreateFolder", "delay", seconds=600)

    async def all_have_looked() -> bool:
        return await vcenter_control.hits() == 4

    making = [asyncio.create_task(world.vsphere.ensure_folder("/DC0/vm/port-suite")) for _ in range(4)]
    await eventually(all_have_looked)
    await vcenter_control.put_faults({})
    await asyncio.gather(*making)
    assert await world.vsphere.find_vm("/DC0/vm/port-suite", "none") is None


async def test_what_somebody_made_a_template_of_is_left_alone(lab_vcenter: VCenter, world: World) -> None:
    vm = await world.cloned("web-0")
    with vsphere_judge.connected(lab_vcenter) as si:
        made = vsphere_judge.found(si, f"{FOLDER}/web-0")
        vsphere_judge.ended(made.PowerOffVM_Task())
        made.MarkAsTemplate()
        try:
            assert (await refused(world.vsphere.destroy(vm.mo_ref, MARKS))).reason == "NotOurs"
            assert await world.names() == ["web-0"]
        finally:
            # The simulator lists a destroyed template for ever.
            made.MarkAsVirtualMachine(pool=vsphere_judge.found(si, "/DC0/host/C0/Resources"))
