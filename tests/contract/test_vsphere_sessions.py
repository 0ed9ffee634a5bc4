"""The vCenter client's trust and sessions: who is at the other end, who we are, and a log-in that ends.

What the port promises anyway: test_port_vsphere.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.contract.vsphere_adapter_bench import (
    PEOPLE,
    PEOPLE_FOLDER,
    TEMPLATE,
    FaultControl,
    World,
    client_of,
    lab_world,
    refused,
)
from tests.contract.vsphere_judge import VCenter

from lab.pki import Authority
from vmscaler.ports.errors import Rejected, Retryable, Untrusted

pytestmark = pytest.mark.lab


@pytest.fixture
async def world(lab_vcenter: VCenter, vcenter_control: FaultControl) -> AsyncIterator[World]:
    async with lab_world(lab_vcenter) as made:
        yield made


async def test_a_wrong_password_is_told_and_not_tried_again_at_once(lab_vcenter: VCenter, vcenter_control: FaultControl) -> None:
    async with client_of(lab_vcenter, password="wrong-sample", login_rest=3600) as client:
        before = await vcenter_control.calls("Login")
        for _ in range(3):
            error = await refused(client.about())
            assert isinstance(error, Untrusted)
            assert error.reason == "LoginRefused"
            assert "wrong-sample" not in str(error)
        assert await vcenter_control.calls("Login") == before + 1
        assert 3000 < error.after <= 3600
    async with client_of(lab_vcenter, password="wrong-sample", login_rest=0.1) as client:
        for number in (2, 3):
            error = await refused(client.about())
            assert await vcenter_control.calls("Login") == before + number
            await asyncio.sleep(error.after)


async def test_an_authority_that_did_not_sign_gets_nothing(lab_vcenter: VCenter, vcenter_control: FaultControl) -> None:
    # On 127.0.0.1, where pyvmomi's SmartConnect would not look at all (facts of vSphere, Connection).
    async with client_of(lab_vcenter, ca=Authority.wrong().pem) as client:
        before = await vcenter_control.total()
        error = await refused(client.about())
        assert isinstance(error, Untrusted)
        assert error.reason == "CertificateNotTrusted"
        assert "spec.vcenter.caBundle" in error.message
        assert await vcenter_control.total() == before


async def test_a_changed_certificate_is_noticed_and_nothing_is_sent(lab_vcenter: VCenter, vcenter_control: FaultControl) -> None:
    issued, other = lab_vcenter.authority.issue("127.0.0.1"), Authority.wrong().issue("127.0.0.1")
    async with client_of(lab_vcenter) as client:
        await client.about()
        await vcenter_control.present(other.certificate, other.key)
        try:
            before = await vcenter_control.total()
            error = await refused(client.about())
            assert isinstance(error, Untrusted)
            assert error.reason == "CertificateNotTrusted"
            assert await vcenter_control.total() == before
        finally:
            await vcenter_control.present(issued.certificate, issued.key)
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

    async with listening(listen) as port, client_of(lab_vcenter, url=f"https://127.0.0.1:{port}/sdk") as client:
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

    async with listening(forward) as port, client_of(lab_vcenter, url=f"https://127.0.0.1:{port}/sdk") as client:
        await client.template(TEMPLATE)
        await client.template(TEMPLATE)
        assert opened == 1
        await client.about()
        assert opened == 2
        await client.template(TEMPLATE)
        assert opened == 2


@contextlib.asynccontextmanager
async def listening(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """The port of a server on 127.0.0.1; at the end its connections are over too, for which a server's own end does not wait."""
    handlers: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def handled() -> None:
            await handle(reader, writer)

        handlers.add(asyncio.create_task(handled()))

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
    async with asyncio.timeout(60):
        await asyncio.gather(*handlers)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_session_that_expired_is_made_anew_unseen(world: World, vcenter_control: FaultControl) -> None:
    order = await world.order("web-s")
    before = await vcenter_control.calls("Login")
    for n, call in enumerate([
        lambda: world.vsphere.find_vm(PEOPLE_FOLDER, PEOPLE),  # a method
        lambda: world.vsphere.template(TEMPLATE),
        lambda: world.vsphere.clone(order),
        lambda: world.vsphere.about(),
    ]):  # fmt: skip
        assert await vcenter_control.expire_sessions() >= 1
        await call()
        assert await vcenter_control.calls("Login") == before + n + 1
    assert world.writes == ["vm.clone"]


async def test_a_session_that_ends_at_the_write_writes_once(world: World, vcenter_control: FaultControl) -> None:
    wanted = await world.order("web-t")
    await vcenter_control.rule("CloneVM_Task", "fault", fault="NotAuthenticated", count=1)
    task = await world.over(await world.vsphere.clone(wanted))
    assert task.state == "success"
    assert await vcenter_control.hits() == 1
    assert world.writes == ["vm.clone"]
    assert await world.names() == ["web-t"]


async def test_no_session_is_to_be_had(world: World, vcenter_control: FaultControl) -> None:
    await vcenter_control.rule("RetrievePropertiesEx", "fault", fault="NotAuthenticated")
    error = await refused(world.vsphere.template(TEMPLATE))
    assert isinstance(error, Retryable)
    assert error.reason == "NotAuthenticated"  # and not LoginRefused: the password is right
    await vcenter_control.put_faults({})
    await world.vsphere.template(TEMPLATE)


async def test_twenty_callers_share_one_session(lab_vcenter: VCenter, vcenter_control: FaultControl) -> None:
    async with client_of(lab_vcenter) as client:
        before = await vcenter_control.calls("Login")
        for _ in range(2):
            found = await asyncio.gather(*(client.find_vm(PEOPLE_FOLDER, PEOPLE) for _ in range(20)))
            assert {vm.name for vm in found if vm is not None} == {PEOPLE}
        assert await vcenter_control.calls("Login") == before + 1
        await vcenter_control.expire_sessions()
        found = await asyncio.gather(*(client.find_vm(PEOPLE_FOLDER, PEOPLE) for _ in range(20)))
        assert None not in found
        assert await vcenter_control.calls("Login") == before + 2


async def test_closing_logs_out(lab_vcenter: VCenter, vcenter_control: FaultControl) -> None:
    before = await vcenter_control.calls("Logout")
    async with client_of(lab_vcenter) as client:
        await client.about()
        await client.close()
        assert await vcenter_control.calls("Logout") == before + 1
        error = await refused(client.about())
        assert isinstance(error, Retryable)
        assert error.reason == "ClientClosed"
