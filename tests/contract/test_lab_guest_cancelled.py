"""A guest whose VM goes while its servers start leaves nobody listening, in whichever moment that is."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from lab.guests.faults import GuestFaults
from lab.guests.guest import Guest, Settings, ended
from lab.ports import hold_port

ADDRESS = "127.0.0.1"
VM = {"name": "web-1", "address": ADDRESS, "moRef": "vm-1", "cpus": 2, "memoryMiB": 512, "hostName": ""}


class Tools:
    """The vCenter's control port, as far as a guest calls it."""

    def __init__(self) -> None:
        self.up = asyncio.Event()

    async def set_guest(self, _: str, **state: str) -> None:
        self.up.set()


def listening(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((ADDRESS, port)) == 0


async def test_cancelled_at_each_step_of_its_start() -> None:
    settings = Settings(boot_seconds=0.0, web_port=hold_port(ADDRESS), metrics_port=hold_port(ADDRESS))
    for turns in range(200):
        tools: Any = Tools()
        task = asyncio.create_task(Guest(VM, settings, GuestFaults(), tools, was_on=True).run())
        for _ in range(turns):
            await asyncio.sleep(0)
        was_up = tools.up.is_set()
        await ended(task)
        assert not any(map(listening, (settings.web_port, settings.metrics_port))), f"after {turns} turns of the loop"
        if was_up:
            return
    raise AssertionError("it never came up")
