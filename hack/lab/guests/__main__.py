"""`python -m lab.guests`: the insides of the VMs, all in one process.

Each powered-on VM with an address (a clone's customization, or the vCenter config's `address`) serves, after its boot:
    ADDRESS:8080/          a page that names the VM; costs CPU, waits in the VM's queue, 503 when that is full
    ADDRESS:8080/healthz   200, for monitors; costs nothing and is not counted
    ADDRESS:8080/stats     {vm, address, served, refused, inProgress}: users' requests
    ADDRESS:9100/metrics   node_cpu_seconds_total, node_memory_*_bytes, node_boot_time_seconds as node_exporter has them
At `capacity` requests a second the CPUs are 100 % busy; beyond it the queue grows, and with it the time of answers, up to
queueSeconds; who would wait longer gets 503. When booted, the guest's tools report address and host name to the vCenter.

Config
    vcenter          the vCenter part's control URL (start that part with guests.external = true); required
    bootSeconds      from power-on to serving; default 2. VMs that were on before this part started serve at once
    capacity         requests a second of one VM; default 50
    capacities       {VM name: requests a second}, where other than that
    queueSeconds     default 2
    idleCpu          share of a CPU in use when nobody asks; default 0.02
    webPort, metricsPort   default 8080, 9100

Ready record
    control, webPort, metricsPort

Faults (PUT /faults; each takes globs of VM names; `lab.guests.faults.KNOWN` says what they do)
    neverBoot, healthFails, hang, die: lists of globs; slow: {glob: seconds}

Control port beside that
    GET /status      {vms: [{name, moRef, address, phase, reason, cpu (0-1), capacity, served, refused, inProgress}]}; phase is
                     booting, up, dead, unbound (the address cannot be bound: see reason) or "no address"
    PUT /settings    {bootSeconds, capacity, capacities, queueSeconds}, each optional; true from now on
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiohttp import web

from lab.control import BadRequest, Faults, body, control_port
from lab.guests.faults import KNOWN, GuestFaults
from lab.guests.follow import Guests
from lab.guests.guest import Settings
from lab.process import Json, Serving, serve_part
from lab.vcenter import Control

_CHANGEABLE = {
    "bootSeconds": "boot_seconds",
    "capacity": "capacity",
    "capacities": "capacities",
    "queueSeconds": "queue_seconds",
}
_ALL = {**_CHANGEABLE, "idleCpu": "idle_cpu", "webPort": "web_port", "metricsPort": "metrics_port"}


def change(settings: Settings, wanted: Any, names: dict[str, str]) -> None:
    """Set what is given. Raises BadRequest for an unknown name or a value of the wrong kind."""
    if not isinstance(wanted, dict):
        raise BadRequest("an object is needed")
    if unknown := sorted(set(wanted) - set(names)):
        raise BadRequest(f"unknown: {', '.join(unknown)}; known: {', '.join(names)}")
    for name, value in wanted.items():
        numbers = value.values() if name == "capacities" and isinstance(value, dict) else [value]
        if not all(isinstance(n, int | float) and n >= 0 for n in numbers):
            raise BadRequest(f"{name}: not a number that is 0 or more")
        if name.startswith("capacit") and not all(n > 0 for n in numbers):
            raise BadRequest(f"{name}: a VM serves more than 0 requests a second")
    for name, value in wanted.items():
        setattr(settings, names[name], value)


async def main(config: Json, serving: Serving) -> None:
    """The part."""
    settings, faults = Settings(), GuestFaults()
    change(settings, {name: value for name, value in config.items() if name != "vcenter"}, _ALL)
    async with contextlib.AsyncExitStack() as stack:
        guests = Guests(await stack.enter_async_context(Control(config["vcenter"])), settings, faults)

        async def put_settings(request: web.Request) -> web.Response:
            change(settings, await body(request), _CHANGEABLE)
            guests.settings_changed()
            return web.json_response({})

        control = await stack.enter_async_context(
            control_port(guests.status, Faults(KNOWN, faults.apply), [web.put("/settings", put_settings)])
        )
        stack.push_async_callback(guests.close)
        tasks = [asyncio.create_task(guests.follow()), asyncio.create_task(guests.sampling())]
        stop = asyncio.create_task(serving.until_stopped())
        serving.ready({"control": control, "webPort": settings.web_port, "metricsPort": settings.metrics_port})
        done, pending = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()


if __name__ == "__main__":
    serve_part(main)
