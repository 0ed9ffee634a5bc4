"""The vCenter client when the wire goes wrong: trust, sessions, time, lost answers. What the port promises anyway: test_port_vsphere.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from tests.contract import vsphere_judge
from tests.contract.vsphere_adapter_bench import (
    MARKS,
    PEOPLE,
    PEOPLE_FOLDER,
    TEMPLATE,
    World,
    clear,
    client_of,
    eventually,
    lab_world,
    order,
)
from tests.contract.vsphere_judge import FOLDER, VCenter
from tests.fakes.effects import DirectEffects

from lab.pki import Authority
from lab.process import Json
from lab.vcenter import Control
from vmscaler.ports.errors import Conflict, OutsideError, Rejected, Retryable, Untrusted

pytestmark = pytest.mark.lab


class Lab(Control):
    """The control port, with what these tests ask of it."""

    async def calls(self, method: str) -> int:
        """How often a method was called since the start."""
        count: int = (await self.status())["calls"].get(method, 0)
        return count

    async def total(self) -> int:
        """How many calls there were in all."""
        return sum((await self.status())["calls"].values())

    async def rule(self, method: str, effect: str, **more: Any) -> None:
        """One fault of calls."""
        await self.put_faults({"calls": [{"method": method, "effect": effect, **more}]})

    async def hits(self) -> int:
        """How many calls the rule has hit."""
        found: Json = await self._call("GET", "/faults")
        return int(found["calls"][0]["hits"])


@pytest.fixture
async def lab(lab_vcenter: VCenter) -> AsyncIterator[Lab]:
    """Healed, and without what was cloned, at the end."""
    async with Lab(lab_vcenter.record["control"]) as control:
        yield control
        await control.put_faults({})
    clear(lab_vcenter)


@pytest.fixture
async def world(lab_vcenter: VCenter, lab: Lab) -> AsyncIterator[World]:
    async with lab_world(lab_vcenter) as made:
        yield made


async def refused(call: Awaitable[Any]) -> OutsideError:
    with pytest.raises(OutsideError) as refusal:
        await call
    assert "sample-password" not in str(refusal.value)
    return refusal.value


# --- trust ---


async def test_a_wrong_password_is_told_and_not_tried_again_at_once(lab_vcenter: VCenter, lab: Lab) -> None:
    async with client_of(lab_vcenter, password="wrong-sample", login_rest=0.3) as client:
        before = await lab.calls("Login")
        for _ in range(3):
            error = await refused(client.about())
            assert isinstance(error, Untrusted)
            assert error.reason == "LoginRefused"
            assert "wrong-sample" not in str(error)
        assert await lab.calls("Login") == before + 1
        assert 0 < error.after <= 0.3
        await asyncio.sleep(error.after)
        await refused(client.about())
        assert await lab.calls("Login") == before + 2


async def test_an_authority_that_did_not_sign_gets_nothing(lab_vcenter: VCenter, lab: Lab) -> None:
    # On 127.0.0.1, where pyvmomi's SmartConnect would not look at all (facts of vSphere, Connection).
    async with client_of(lab_vcenter, ca=Authority.wrong().pem) as client:
        before = await lab.total()
        error = await refused(client.about())
        assert isinstance(error, Untrusted)
        assert error.reason == "CertificateNotTrusted"
        assert "spec.vcenter.caBundle" in error.message
        assert await lab.total() == before


async def test_a_changed_certificate_is_noticed_and_nothing_is_sent(lab_vcenter: VCenter, lab: Lab) -> None:
    issued, other = lab_vcenter.authority.issue("127.0.0.1"), Authority.wrong().issue("127.0.0.1")
    async with client_of(lab_vcenter) as client:
        await client.about()
        await lab.present(other.certificate, other.key)
        try:
            before = await lab.total()
            error = await refused(client.about())
            assert isinstance(error, Untrusted)
            assert error.reason == "CertificateNotTrusted"
            assert await lab.total() == before
        finally:
            await lab.present(issued.certificate, issued.key)
        await client.about()


@pytest.mark.parametrize("ca", ["", "no PEM at all", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
async def test_a_bundle_that_is_none_is_refused(lab_vcenter: VCenter, ca: str) -> None:
    async with client_of(lab_vcenter, ca=ca) as client:
        error = await refused(client.about())
    assert isinstance(error, Rejected)
    assert error.reason == "CaNotUsable"


async def test_a_port_without_tls_gets_no_password(lab_vcenter: VCenter) -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(4096))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client_of(lab_vcenter, url=f"https://127.0.0.1:{port}/sdk") as client:
            error = await refused(client.about())
    assert isinstance(error, Untrusted)
    assert error.reason == "TlsFailed"
    assert heard[0] == 0x16  # a TLS handshake
    assert b"svc-vmscaler" not in heard


async def test_about_asks_for_the_certificate_again(lab_vcenter: VCenter) -> None:
    opened = 0

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        beyond, to = await asyncio.open_connection(lab_vcenter.record["host"], lab_vcenter.record["port"])
        await asyncio.gather(_copy(reader, to), _copy(beyond, writer))

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with client_of(lab_vcenter, url=f"https://127.0.0.1:{port}/sdk") as client:
            await client.template(TEMPLATE)
            await client.template(TEMPLATE)
            assert opened == 1
            await client.about()
            assert opened == 2
            await client.template(TEMPLATE)
            assert opened == 2


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


# --- sessions ---


async def test_a_session_that_expired_is_made_anew_unseen(world: World, lab: Lab) -> None:
    order = await world.order("web-s")
    before = await lab.calls("Login")
    for n, call in enumerate([
        lambda: world.vsphere.find_vm(PEOPLE_FOLDER, PEOPLE),  # a method
        lambda: world.vsphere.template(TEMPLATE),
        lambda: world.vsphere.clone(order),
        lambda: world.vsphere.about(),
    ]):  # fmt: skip
        assert await lab.expire_sessions() >= 1
        await call()
        assert await lab.calls("Login") == before + n + 1
    assert world.writes == ["vm.clone"]


async def test_a_session_that_ends_at_the_write_writes_once(world: World, lab: Lab) -> None:
    wanted = await world.order("web-t")
    await lab.rule("CloneVM_Task", "fault", fault="NotAuthenticated", count=1)
    task = await world.over(await world.vsphere.clone(wanted))
    assert task.state == "success"
    assert await lab.hits() == 1
    assert world.writes == ["vm.clone"]
    assert await world.names() == ["web-t"]


async def test_no_session_is_to_be_had(world: World, lab: Lab) -> None:
    await lab.rule("RetrievePropertiesEx", "fault", fault="NotAuthenticated")
    error = await refused(world.vsphere.template(TEMPLATE))
    assert isinstance(error, Retryable)
    assert error.reason == "NotAuthenticated"  # and not LoginRefused: the password is right
    await lab.put_faults({})
    await world.vsphere.template(TEMPLATE)


async def test_twenty_callers_share_one_session(lab_vcenter: VCenter, lab: Lab) -> None:
    async with client_of(lab_vcenter) as client:
        before = await lab.calls("Login")
        for _ in range(2):
            found = await asyncio.gather(*(client.find_vm(PEOPLE_FOLDER, PEOPLE) for _ in range(20)))
            assert {vm.name for vm in found if vm is not None} == {PEOPLE}
        assert await lab.calls("Login") == before + 1
        await lab.expire_sessions()
        found = await asyncio.gather(*(client.find_vm(PEOPLE_FOLDER, PEOPLE) for _ in range(20)))
        assert None not in found
        assert await lab.calls("Login") == before + 2


async def test_closing_logs_out(lab_vcenter: VCenter, lab: Lab) -> None:
    before = await lab.calls("Logout")
    async with client_of(lab_vcenter) as client:
        await client.about()
        await client.close()
        assert await lab.calls("Logout") == before + 1
        error = await refused(client.about())
        assert isinstance(error, Retryable)
        assert error.reason == "ClientClosed"


# --- not there, and slow ---


async def test_down_is_to_be_tried_again_and_heals(world: World, lab: Lab) -> None:
    await world.vsphere.about()
    await lab.put_faults({"down": True})
    error = await refused(world.vsphere.about())
    assert type(error) is Retryable
    assert error.reason == "Unreachable"
    assert error.after > 0
    await lab.put_faults({})
    await world.vsphere.about()


async def test_a_connection_that_was_closed_meanwhile_is_not_used(world: World, lab: Lab) -> None:
    await asyncio.gather(*(world.vsphere.template(TEMPLATE) for _ in range(8)))  # several connections
    await lab.put_faults({"down": True})
    await lab.put_faults({})
    await asyncio.gather(*(world.vsphere.template(TEMPLATE) for _ in range(8)))


@pytest.mark.parametrize("effect", ["drop", "lose"])
async def test_an_answer_that_never_comes_is_to_be_tried_again(world: World, lab: Lab, effect: str) -> None:
    await lab.rule("FindChild", effect, count=1)
    error = await refused(world.vsphere.find_vm(PEOPLE_FOLDER, PEOPLE))
    assert type(error) is Retryable
    assert await world.vsphere.find_vm(PEOPLE_FOLDER, PEOPLE) is not None


@pytest.mark.parametrize("limits", [{"timeout": 0.3, "deadline": 30.0}, {"timeout": 30.0, "deadline": 0.3}], ids=["socket", "call"])
async def test_a_hang_ends_at_the_limit(lab_vcenter: VCenter, lab: Lab, limits: dict[str, float]) -> None:
    async with client_of(lab_vcenter, **limits) as client:
        await client.about()
        await lab.rule("FindChild", "hang")
        began = asyncio.get_running_loop().time()
        error = await refused(client.find_vm(PEOPLE_FOLDER, PEOPLE))
        assert type(error) is Retryable
        assert error.reason == "Timeout"
        assert 0.25 < asyncio.get_running_loop().time() - began < 10
        await lab.put_faults({})
        assert await client.find_vm(PEOPLE_FOLDER, PEOPLE) is not None


async def test_one_who_is_cancelled_waits_for_the_request_and_sends_no_other(lab_vcenter: VCenter, lab: Lab) -> None:
    effects = DirectEffects()
    async with client_of(lab_vcenter, effects) as client:
        wanted = order("web-u", (await client.template(TEMPLATE)).mo_ref)
        reads = await lab.calls("RetrievePropertiesEx")
        await lab.rule("FindChild", "delay", seconds=0.5)  # the second of the many requests before the order
        task = asyncio.create_task(client.clone(wanted))
        await eventually(lambda: _hit(lab))
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=0.2)
        assert not done  # its thread is in a request
        with pytest.raises(asyncio.CancelledError):
            await task
        await client.about()
        assert await lab.calls("RetrievePropertiesEx") == reads
        assert effects.calls == []


async def test_a_write_that_is_cancelled_is_over_when_its_caller_goes(lab_vcenter: VCenter, lab: Lab) -> None:
    async with client_of(lab_vcenter) as client:
        wanted = order("web-v", (await client.template(TEMPLATE)).mo_ref)
        await lab.rule("CloneVM_Task", "delay", seconds=0.5)
        task = asyncio.create_task(client.clone(wanted))
        await eventually(lambda: _hit(lab))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # What it began can be seen: a rollback that comes now finds it.
        assert await client.clones_in_flight(wanted.template_mo_ref) or await client.find_vm(FOLDER, "web-v")


async def test_one_who_waits_in_the_queue_past_his_time_never_acts(lab_vcenter: VCenter, lab: Lab) -> None:
    async with client_of(lab_vcenter, threads=1, deadline=0.4, timeout=30.0) as client:
        await client.about()
        await lab.rule("FindChild", "hang", count=1)
        before = await lab.calls("FindByInventoryPath")
        errors = await asyncio.gather(refused(client.find_vm(PEOPLE_FOLDER, PEOPLE)), refused(client.template(TEMPLATE)))
        assert [error.reason for error in errors] == ["Timeout", "Timeout"]
        await lab.put_faults({})
        await eventually(lambda: _works(client.about()))
        assert await lab.calls("FindByInventoryPath") == before + 1  # that of find_vm


async def _hit(lab: Lab) -> bool:
    return await lab.hits() > 0


async def _works(call: Awaitable[Any]) -> bool:
    try:
        await call
    except Retryable:
        return False
    return True


# --- writes ---


async def test_a_clone_whose_answer_was_lost_is_found(world: World, lab: Lab) -> None:
    wanted = await world.order("web-w")
    await lab.rule("CloneVM_Task", "lose", count=1)
    error = await refused(world.vsphere.clone(wanted))
    assert type(error) is Retryable
    await eventually(lambda: world.vsphere.find_vm(FOLDER, "web-w"))
    assert isinstance(await refused(world.vsphere.clone(wanted)), Conflict)
    found = await world.vsphere.find_vm(FOLDER, "web-w")
    assert found is not None
    assert {key: found.guestinfo[key] for key in MARKS} == MARKS
    assert await world.names() == ["web-w"]
    assert world.writes == ["vm.clone"]


async def test_one_that_is_still_being_made_is_destroyed_later(world: World, lab: Lab) -> None:
    await lab.put_faults({"taskSeconds": {"PowerOnVM_Task": 0.5}})
    key = await world.vsphere.clone(await world.order("web-x"))
    made = await eventually(lambda: lab.vm("web-x"))
    await eventually(lambda: _works(world.vsphere.destroy(made["moRef"], MARKS)))
    await world.over(key)
    assert await world.names() == []


async def test_a_removal_that_takes_too_long_is_followed_by_the_next_try(lab_vcenter: VCenter, lab: Lab) -> None:
    async with lab_world(lab_vcenter, task_limit=0.2) as world:
        vm = await world.cloned("web-y")
        await lab.put_faults({"taskSeconds": {"Destroy_Task": 1.0}})
        error = await refused(world.vsphere.destroy(vm.mo_ref, MARKS))
        assert type(error) is Retryable
        assert error.reason == "TaskRunning"
        await eventually(lambda: _works(world.vsphere.destroy(vm.mo_ref, MARKS)))
        assert await world.names() == []


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
async def test_what_the_server_says_is_told_as_such(world: World, lab: Lab, method: str, fault: str, kind: type, reason: str) -> None:
    wanted = await world.order("web-z")
    await lab.rule(method, "fault", fault=fault, message="said by the server")
    error = await refused(world.vsphere.clone(wanted))
    assert type(error) is kind
    assert error.reason == reason
    assert world.writes == (["vm.clone"] if method == "CloneVM_Task" else [])
    assert await world.names() == []


async def test_a_folder_that_may_not_be_made(world: World, lab: Lab) -> None:
    await lab.rule("CreateFolder", "fault", fault="NoPermission")
    error = await refused(world.vsphere.ensure_folder("/DC0/vm/port-suite"))
    assert isinstance(error, Rejected)
    assert error.reason == "NotPermitted"


async def test_a_folder_that_several_make_at_once_is_made(world: World, lab: Lab) -> None:
    await lab.rule("CreateFolder", "delay", seconds=0.1)  # so that all have looked before
    await asyncio.gather(*(world.vsphere.ensure_folder("/DC0/vm/port-suite") for _ in range(4)))
    assert await lab.hits() > 1
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
