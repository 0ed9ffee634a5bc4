"""The port Probe: one suite on the fake and on real sockets of loopback; then what only real sockets can meet.

An unassigned address of 127/8 answers ICMP and refuses TCP.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from tests.fakes.probe import FakeProbe

from vmscaler.adapters.network import icmp
from vmscaler.adapters.network.probe import NetworkProbe
from vmscaler.ports.errors import OutsideError, Rejected, Retryable
from vmscaler.ports.probe import Probe

SERVER, UNASSIGNED = "127.77.0.5", "127.77.0.6"
PATIENT = 20.0
ANSWERS = {"/health": (200, "OK"), "/busy": (503, "Service Unavailable"), "/moved": (302, "Found"), "/q?a=%7Eb%20&c": (200, "OK")}


def _icmp_permitted() -> bool:
    try:
        icmp._socket().close()
    except Rejected:
        return False
    return True


needs_icmp = pytest.mark.skipif(
    not _icmp_permitted(), reason="neither CAP_NET_RAW nor net.ipv4.ping_group_range lets this process send ICMP"
)


@dataclass
class World:
    """A server at SERVER with two open ports, one of them HTTP, and a closed one."""

    probe: Probe
    http: int
    other: int
    closed: int


async def answer(request: web.Request) -> web.Response:
    status, _ = ANSWERS.get(request.raw_path, (404, ""))
    return web.Response(status=status, headers={"Location": "/health"} if status == 302 else {})


@contextlib.asynccontextmanager
async def real() -> AsyncIterator[World]:
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    with socket.create_server((SERVER, 0)) as other, socket.socket() as bound:
        bound.bind((SERVER, 0))  # and does not listen
        try:
            await web.TCPSite(runner, SERVER, 0).start()
            yield World(NetworkProbe(), runner.addresses[0][1], other.getsockname()[1], bound.getsockname()[1])
        finally:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def fake() -> AsyncIterator[World]:
    probe = FakeProbe()
    probe.listens(SERVER, 80, answers=ANSWERS)
    probe.listens(SERVER, 22)
    probe.pings.add(UNASSIGNED)
    yield World(probe, 80, 22, 81)


@pytest.fixture(params=[fake, real], ids=["fake", "sockets"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with request.param() as made:
        yield made


async def test_the_first_port_that_accepts(world: World) -> None:
    tcp = world.probe.tcp
    assert await tcp(SERVER, [world.closed, world.other, world.http], PATIENT) == world.other
    assert await tcp(SERVER, [world.http, world.other], PATIENT) == world.http
    assert await tcp(SERVER, [world.closed], PATIENT) is None
    assert await tcp(SERVER, [], PATIENT) is None
    assert await tcp(UNASSIGNED, [world.http, world.other], PATIENT) is None


@needs_icmp
async def test_who_answers_an_echo(world: World) -> None:
    assert await world.probe.icmp(SERVER, PATIENT)
    assert await world.probe.icmp(UNASSIGNED, PATIENT)


async def test_a_get_says_status_and_reason_and_follows_nothing(world: World) -> None:
    for path, said in ANSWERS.items():
        assert await world.probe.http(SERVER, world.http, path, PATIENT) == said
    assert (await world.probe.http(SERVER, world.http, "/none", PATIENT))[0] == 404


async def test_a_get_without_an_answer_says_what_went_wrong(world: World) -> None:
    status, said = await world.probe.http(SERVER, world.closed, "/health", PATIENT)
    assert status == 0 and "refused" in said
    assert (await world.probe.http(UNASSIGNED, world.http, "/health", PATIENT))[0] == 0


@pytest.mark.parametrize("path", ["", "health", "/a b", "/a\r\nHost: x", "/\u00e4", "@10.0.0.1/"])
async def test_what_is_no_path_is_not_asked_for(world: World, path: str) -> None:
    status, said = await world.probe.http(SERVER, world.http, path, PATIENT)
    assert status == 0 and "path" in said


# From here: real sockets alone.


@contextlib.asynccontextmanager
async def server(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await talk(reader, writer)
        writer.close()

    listening = await asyncio.start_server(handle, SERVER, 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


def readable(waiting: socket.socket) -> bool:
    """As soon as it is, without a turn of the loop."""
    return bool(select.select([waiting], [], [], 60)[0])


async def test_silence_lasts_no_longer_than_the_time_out() -> None:
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server((SERVER, 0), backlog=0))
        address = deaf.getsockname()
        stack.enter_context(socket.create_connection(address))
        assert readable(deaf), "the backlog is full from here on, and further requests are dropped"
        started = loop.time()
        assert await NetworkProbe().tcp(SERVER, [address[1]] * 4, 0.2) is None
        assert 0.15 < loop.time() - started < 30
    closing = asyncio.Event()

    async def hold(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await closing.wait()

    async with server(hold) as port:
        assert await NetworkProbe().http(SERVER, port, "/", 0.2) == (0, "no answer within 0.2 s")
        closing.set()


async def test_answers_that_are_not_http() -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-sample\r\n\x1b[31m\r\n\r\n")
        await writer.drain()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async def long_reason(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 \xe2\x80\xae" + b"x" * 5000 + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with server(garbage) as port:
        assert await NetworkProbe().http(SERVER, port, "/", PATIENT) == (0, "the answer is not HTTP")
    async with server(hang_up) as port:
        assert await NetworkProbe().http(SERVER, port, "/", PATIENT) == (0, "the connection was closed without an answer")
    async with server(long_reason) as port:
        status, said = await NetworkProbe().http(SERVER, port, "/", PATIENT)
    assert status == 500 and said.isprintable() and len(said) <= 100


@needs_icmp
async def test_an_echo_is_told_from_what_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []

    def late(identifier: int, payload: bytes) -> bytes:
        sent.append(payload)
        return original(identifier, b"an earlier echo.")

    original = icmp.request
    monkeypatch.setattr(icmp, "request", late)
    assert not await NetworkProbe().icmp(UNASSIGNED, 0.2)
    assert len(sent) == 1 and len(sent[0]) == 16


@needs_icmp
async def test_many_echoes_side_by_side() -> None:
    addresses = [f"127.77.1.{n}" for n in range(1, 41)]
    assert all(await asyncio.gather(*(NetworkProbe().icmp(address, PATIENT) for address in addresses)))


@pytest.mark.parametrize(("permitted", "raw"), [(socket.SOCK_DGRAM, False), (socket.SOCK_RAW, True), (None, False)])
async def test_whichever_socket_is_permitted_is_used(monkeypatch: pytest.MonkeyPatch, permitted: int | None, raw: bool) -> None:
    """Neither kind can be counted on, so a pair of local sockets plays the kernel."""
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    kernel.setblocking(False)
    answering = True

    class Socket:
        type = permitted

        def __init__(self, family: int, kind: int, protocol: int) -> None:
            if kind != permitted:
                raise PermissionError(errno.EACCES, "Permission denied")

        def __enter__(self) -> Socket:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def setblocking(self, flag: bool) -> None:
            ours.setblocking(flag)

        def fileno(self) -> int:
            return ours.fileno()

        def recv(self, size: int) -> bytes:
            return ours.recv(size)

        def connect(self, address: tuple[str, int]) -> None:
            assert address == (SERVER, 0)

        def setsockopt(self, *_: object) -> None:
            assert raw

    loop = asyncio.get_running_loop()
    header = b"\x46" + bytes(23) if raw else b""  # an IP header of 24 bytes

    async def send(_: object, packet: bytes) -> None:
        reply = bytes([0]) + packet[1:]
        for answer in (packet, reply[:-1] + bytes([reply[-1] ^ 1]), reply)[
            : 3 if answering else 2
        ]:  # the request itself, somebody else's, ours
            kernel.send(header + answer)

    with kernel, ours, monkeypatch.context() as patch:
        patch.setattr(socket, "socket", Socket)
        patch.setattr(loop, "sock_sendall", send)
        if permitted is None:
            with pytest.raises(Rejected) as raised:
                await icmp.echo(SERVER, PATIENT)
            assert raised.value.reason == "IcmpNotPermitted" and "CAP_NET_RAW" in raised.value.message
        else:
            assert await icmp.echo(SERVER, PATIENT)
            answering = False
            assert not await icmp.echo(SERVER, 0.1)


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EMFILE, errno.EADDRNOTAVAIL, errno.EPERM])
async def test_what_could_not_be_asked_is_no_silence(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    let_fail(monkeypatch, number)
    with pytest.raises(Retryable) as raised:
        await NetworkProbe().tcp(UNASSIGNED, [80], PATIENT)
    assert raised.value.reason == "ProbeFailed" and UNASSIGNED in raised.value.message
    if _icmp_permitted():
        with pytest.raises(OutsideError) as told:
            await NetworkProbe().icmp(UNASSIGNED, PATIENT)
        assert told.value.reason == ("IcmpNotPermitted" if number == errno.EPERM else "ProbeFailed")


@needs_icmp
@pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.ECONNREFUSED])
async def test_nobody_at_home_is_silence(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    let_fail(monkeypatch, number)
    assert not await NetworkProbe().icmp(UNASSIGNED, PATIENT)
    assert await NetworkProbe().tcp(UNASSIGNED, [80], PATIENT) is None


def let_fail(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """What a network may answer that loopback never does."""

    async def fail(*_: object) -> None:
        raise OSError(number, errno.errorcode[number])

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "sock_connect", fail)
    monkeypatch.setattr(loop, "sock_sendall", fail)
