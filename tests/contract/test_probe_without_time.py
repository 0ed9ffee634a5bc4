"""Who answers a probe in time has answered, also where this process had no time to see it.

An address is taken to be free if nobody answers: an operator that was paused gave an address to a VM that another host has.
"""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.contract.test_port_probe import SERVER, UNASSIGNED, needs_icmp

from vmscaler.adapters.network.probe import NetworkProbe


async def test_a_connection() -> None:
    with socket.create_server((SERVER, 0)) as listening, socket.socket() as bound:
        bound.bind((SERVER, 0))
        port, closed = listening.getsockname()[1], bound.getsockname()[1]
        assert await NetworkProbe().tcp(SERVER, [closed, port], 0.0) == port
        assert await NetworkProbe().tcp(SERVER, [closed], 0.0) is None


@needs_icmp
async def test_an_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_time(*_: object) -> bytes:
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_recv", no_time)
    assert await NetworkProbe().icmp(UNASSIGNED, 0.2)
