"""Who answers a probe in time has answered, also where this process had no time to see it.

An address is taken to be free if nobody answers: an operator that was paused gave an address to a VM that another host has.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.test_port_probe import PATIENT, SERVER, UNASSIGNED, needs_icmp, readable

from vmscaler.adapters.network.probe import NetworkProbe


async def test_who_accepts_while_this_process_is_kept_waiting_is_there(
    monkeypatch: pytest.MonkeyPatch, kept_waiting: Callable[[], None]
) -> None:
    class Stopped(socket.socket):
        def connect(self, address: Any) -> None:
            try:
                super().connect(address)
            finally:
                if address == there:
                    assert readable(other)  # accepted
                kept_waiting()

    with socket.create_server((SERVER, 0)) as other, socket.socket() as bound:
        bound.bind((SERVER, 0))  # and does not listen
        there, closed = other.getsockname(), bound.getsockname()
        monkeypatch.setattr(socket, "socket", Stopped)
        assert await NetworkProbe().tcp(SERVER, [there[1]], PATIENT) == there[1]
        assert await NetworkProbe().tcp(SERVER, [closed[1]], PATIENT) is None


@needs_icmp
async def test_who_answers_an_echo_while_this_process_is_kept_waiting_is_there(
    monkeypatch: pytest.MonkeyPatch, kept_waiting: Callable[[], None]
) -> None:
    class Stopped(socket.socket):
        looked = False

        def recv(self, *size: Any) -> bytes:
            if not self.looked:  # before the answer is there
                self.looked = True
                assert readable(self)
                kept_waiting()
                raise BlockingIOError
            return super().recv(*size)

    monkeypatch.setattr(socket, "socket", Stopped)
    assert await NetworkProbe().icmp(UNASSIGNED, PATIENT)
