"""A virtual server's listener: a full proxy without OneConnect, so each client connection gets one connection to one member.

The member is chosen when the client's first bytes come, as an HTTP profile does. Nobody to choose, or the member refuses:
the client's connection is reset. Who is chosen, and whose connections are cut, is `lab.bigip.balancer`'s business.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from .model import Live

log = logging.getLogger("lab.bigip.proxy")
CONNECT_TIMEOUT = 10.0
_ids = itertools.count(1)


def reset(transport: asyncio.Transport | None) -> None:
    """Close with a RST instead of a FIN."""
    if transport is None or transport.is_closing():
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Half(asyncio.Protocol):
    """One half of a proxied connection. `peer` is the other half."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Half | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()


class _ServerHalf(_Half):
    """Towards the member."""

    def __init__(self, client: _ClientHalf, live: Live) -> None:
        super().__init__()
        self.peer = client
        self._live = live

    def data_received(self, data: bytes) -> None:
        self._live.bytes_out += len(data)
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        client = self.peer.transport if self.peer is not None else None
        if client is None:
            return
        if exc is None:
            client.close()
        else:
            reset(client)


class _ClientHalf(_Half):
    """Towards the user."""

    def __init__(self, virtual: VirtualServer) -> None:
        super().__init__()
        self._virtual = virtual
        self._live: Live | None = None
        self._waiting = bytearray()
        self._ended = False
        self._id = next(_ids)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._virtual.accepted(self._id, self.cut)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            assert self._live is not None
            self._live.bytes_in += len(data)
            self.peer.transport.write(data)
            return
        self._waiting += data
        if self._live is None:
            self._choose()

    def _choose(self) -> None:
        assert self.transport is not None
        chosen = self._virtual.choose()
        if chosen is None:
            self._virtual.refused += 1
            reset(self.transport)
            return
        self._live, address, port = chosen
        self._live.total += 1
        self._live.connections[self._id] = self.cut
        self._live.most = max(self._live.most, len(self._live.connections))
        self.transport.pause_reading()
        self._virtual.spawn(self._connect(address, port))

    async def _connect(self, address: str, port: int) -> None:
        assert self._live is not None
        live = self._live
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, server = await loop.create_connection(lambda: _ServerHalf(self, live), address, port)
        except (OSError, TimeoutError) as error:
            log.debug("%s: no connection to %s:%s: %s", self._virtual.name, address, port, error)
            self._virtual.refused += 1
            reset(self.transport)
            return
        if self.transport is None or self.transport.is_closing():
            reset(server.transport)
            return
        assert server.transport is not None
        self.peer = server
        live.bytes_in += len(self._waiting)
        server.transport.write(bytes(self._waiting))
        self._waiting.clear()
        if self._ended:
            server.transport.write_eof()
        self.transport.resume_reading()

    def eof_received(self) -> bool:
        """A client may be done sending and still want the answer."""
        self._ended = True
        if self._live is None:
            return False
        if self.peer is not None and self.peer.transport is not None and not self.peer.transport.is_closing():
            self.peer.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._virtual.gone(self._id)
        if self._live is not None:
            self._live.connections.pop(self._id, None)
        server = self.peer.transport if self.peer is not None else None
        if server is not None:
            if exc is None:
                server.close()
            else:
                reset(server)

    def cut(self) -> None:
        """Reset both halves."""
        reset(self.peer.transport if self.peer is not None else None)
        reset(self.transport)


@dataclass(eq=False)
class VirtualServer:
    """A listener. `address` and `port` are where it listens; `pool` is read at each connection."""

    name: str
    address: str
    port: int
    pool: str
    choose_from: Callable[[str], tuple[Live, str, int] | None]
    server: asyncio.Server | None = None
    closed: bool = False
    error: str = ""
    total: int = 0
    refused: int = 0
    clients: dict[int, Callable[[], None]] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def listen(self) -> None:
        """Bind. An address that is taken is logged and shown in /status, as a device would not refuse the configuration."""
        loop = asyncio.get_running_loop()
        try:
            self.server = await loop.create_server(lambda: _ClientHalf(self), self.address, self.port, backlog=512)
        except OSError as error:
            self.error = str(error)
            log.error("%s cannot listen: %s", self.name, error)
            return
        if self.closed:  # while it was being bound
            self.server.close()
            return
        self.port = self.server.sockets[0].getsockname()[1]

    def choose(self) -> tuple[Live, str, int] | None:
        """The next member with its address and port; None where none takes connections."""
        return self.choose_from(self.pool)

    def accepted(self, key: int, cut: Callable[[], None]) -> None:
        """Count a client."""
        if self.closed:  # its connection was under way in that moment
            cut()
            return
        self.total += 1
        self.clients[key] = cut

    def gone(self, key: int) -> None:
        """A client left."""
        self.clients.pop(key, None)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a connect beside the others; kept until done so that it is not collected."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def close(self) -> None:
        """Stop listening and reset every client."""
        self.closed = True
        if self.server is not None:
            self.server.close()
        for task in list(self.tasks):
            task.cancel()
        for cut in list(self.clients.values()):
            cut()
