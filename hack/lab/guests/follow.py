"""Keeps one guest per powered-on VM of the vCenter: starts them, ends them, and says which have nothing to serve.

Called by `lab.guests.__main__`. The vCenter's control port answers a waiting GET /vms when something changed, so a
destroyed VM's servers are gone in a moment. While the vCenter does not answer, guests live on, as real ones would.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import aiohttp

from lab.guests.faults import GuestFaults
from lab.guests.guest import Guest, Settings, ended
from lab.process import Json
from lab.vcenter import Control, ControlError

_WAIT = 20.0
_AGAIN = 0.5
_SAMPLE = 0.5


@dataclass
class _Running:
    boot: int
    guest: Guest
    task: asyncio.Task[None]


class Guests:
    """All guests of one vCenter."""

    def __init__(self, vcenter: Control, settings: Settings, faults: GuestFaults) -> None:
        self._vcenter, self._settings, self._faults = vcenter, settings, faults
        self._running: dict[str, _Running] = {}
        self._without: list[Json] = []
        self._known: set[str] | None = None

    async def follow(self) -> None:
        """Until cancelled."""
        version = -1
        while True:
            try:
                version, vms = await self._vcenter.vms(since=version, wait=0 if version < 0 else _WAIT)
            except (aiohttp.ClientError, TimeoutError, ControlError) as error:
                print(f"the vCenter's control port: {error!r}", file=sys.stderr, flush=True)
                version = -1
                await asyncio.sleep(_AGAIN)
                continue
            await self._align(vms)

    async def sampling(self) -> None:
        """Keep the load that `status` shows up to date, until cancelled."""
        while True:
            for running in self._running.values():
                running.guest.sample()
            await asyncio.sleep(_SAMPLE)

    async def _align(self, vms: list[Json]) -> None:
        on = {vm["moRef"]: vm for vm in vms if vm["powerState"] == "poweredOn" and not vm["template"]}
        stale = [moref for moref, running in self._running.items() if on.get(moref, {}).get("boot") != running.boot]
        await asyncio.gather(*(self._end(moref) for moref in stale))
        self._without = [
            {"name": vm["name"], "moRef": vm["moRef"], "address": "", "phase": "no address", "reason": _NO_ADDRESS}
            for vm in on.values()
            if not vm["address"]
        ]
        for moref, vm in on.items():
            if vm["address"] and moref not in self._running:
                # Those that ran before this part started have booted long ago.
                guest = Guest(vm, self._settings, self._faults, self._vcenter, was_on=self._known is None)
                self._running[moref] = _Running(vm["boot"], guest, asyncio.create_task(guest.run()))
        self._known = set(on)

    async def _end(self, moref: str) -> None:
        await ended(self._running.pop(moref).task)

    async def close(self) -> None:
        """End all guests."""
        await asyncio.gather(*(self._end(moref) for moref in list(self._running)))

    def settings_changed(self) -> None:
        """Tell those that run."""
        for running in self._running.values():
            running.guest.settings_changed()

    def status(self) -> Json:
        """For the control port."""
        vms = [running.guest.status() for running in self._running.values()] + self._without
        return {"vms": sorted(vms, key=lambda vm: str(vm["name"]))}


_NO_ADDRESS = "neither a customization nor the vCenter's config gave it one"
