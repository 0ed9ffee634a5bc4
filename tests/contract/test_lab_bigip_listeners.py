"""A virtual server of the lab's BIG-IP that is closed serves nobody, in whichever moment that is."""

from __future__ import annotations

import asyncio
import socket

import pytest

from lab.bigip.proxy import VirtualServer, _ClientHalf

pytestmark = pytest.mark.lab
HOST = "127.0.0.10"
TURNS = 30  # of the event loop


def virtual_server() -> VirtualServer:
    return VirtualServer("/Common/vs-web", HOST, 0, "/Common/web", lambda _: None)


async def test_closed_while_it_is_being_bound() -> None:
    bound = 0  # already, when it was closed
    for turns in range(TURNS):
        virtual = virtual_server()
        listening = asyncio.create_task(virtual.listen())
        for _ in range(turns):
            await asyncio.sleep(0)
        bound += listening.done()
        virtual.close()
        await listening
        assert virtual.server is None or not virtual.server.is_serving(), f"after {turns} turns of the loop"
    assert 0 < bound < TURNS


async def test_closed_while_a_client_arrives() -> None:
    loop = asyncio.get_running_loop()
    virtual = virtual_server()
    await virtual.listen()
    virtual.close()
    ours, client = socket.socketpair()
    with client:
        client.setblocking(False)
        await loop.connect_accepted_socket(lambda: _ClientHalf(virtual), ours)
        async with asyncio.timeout(60):
            assert await loop.sock_recv(client, 1) == b""
    assert virtual.clients == {}
