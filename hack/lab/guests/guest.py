"""One guest: it boots, serves users and the exporter at its address, and ends when its VM is powered off or destroyed.

Called by `lab.guests.follow`, which keeps one task (`Guest.run`) per boot of a powered-on VM. The phases:

    booting --(boot delay; not while neverBoot)--> up --(fault die)--> dead --(healed)--> booting
    booting --(the address cannot be bound)--> unbound --(tried again)--> up
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from lab.guests import metrics
from lab.guests.faults import GuestFaults
from lab.guests.processor import Processor
from lab.process import Json
from lab.vcenter import Control, ControlError

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_AGAIN = 1.0  # seconds


@dataclass
class Settings:
    """Of all guests; see `lab.guests.__main__`."""

    boot_seconds: float = 2.0
    capacity: float = 50.0
    capacities: dict[str, float] = field(default_factory=dict)
    queue_seconds: float = 2.0
    idle_cpu: float = 0.02
    web_port: int = 8080
    metrics_port: int = 9100

    def capacity_of(self, vm: str) -> float:
        """Requests a second."""
        return self.capacities.get(vm, self.capacity)


class Guest:
    """The guest of one VM, from one power-on to the next power-off."""

    def __init__(self, vm: Json, settings: Settings, faults: GuestFaults, vcenter: Control, *, was_on: bool) -> None:
        """`vm` is one of `Control.vms`; `was_on`: powered on before we looked, so there is no boot to wait for."""
        self.name: str = vm["name"]
        self.address: str = vm["address"]
        self.phase, self.reason = "booting", ""
        self.served = self.refused = self.in_progress = 0
        self._vm, self._settings, self._faults, self._vcenter = vm, settings, faults, vcenter
        self._delay = 0.0 if was_on else settings.boot_seconds
        self._runners: list[web.ServerRunner] = []
        self._processor = self._boot()

    def _boot(self) -> Processor:
        self._booted_at = time.time()  # noqa: TID251 - node_boot_time_seconds is the machine's wall clock
        return Processor(
            cpus=max(1, self._vm["cpus"]),
            capacity=self._settings.capacity_of(self.name),
            queue_seconds=self._settings.queue_seconds,
            idle=self._settings.idle_cpu,
            now=time.monotonic(),
        )

    def settings_changed(self) -> None:
        """Take the capacity and the queue's length from the settings."""
        self._processor.capacity = self._settings.capacity_of(self.name)
        self._processor.queue_seconds = self._settings.queue_seconds

    def sample(self) -> None:
        """To be called now and then: the load that `status` shows."""
        self._processor.sample(time.monotonic())

    def status(self) -> Json:
        """For the control port; cpu is 0-1 over the last two seconds or so, capacity in requests a second."""
        return {
            "name": self.name,
            "moRef": self._vm["moRef"],
            "address": self.address,
            "phase": self.phase,
            "reason": self.reason,
            "cpu": self._processor.load(time.monotonic()) if self.phase == "up" else 0.0,
            "capacity": self._processor.capacity,
            "served": self.served,
            "refused": self.refused,
            "inProgress": self.in_progress,
        }

    async def run(self) -> None:
        """Live until cancelled; then the servers are gone."""
        try:
            while True:
                self._enter("booting")
                await asyncio.sleep(self._delay)
                await self._faults.until(lambda: not self._faults.on("neverBoot", self.name))
                self._processor = self._boot()
                await self._serve()
                self._enter("up")
                await self._tools(ipAddress=self.address, hostName=self._vm["hostName"] or self.name, up=True)
                await self._faults.until(lambda: self._faults.on("die", self.name))
                await self._stop()
                self._enter("dead", "by the fault die")
                await self._tools(up=False)
                await self._faults.until(lambda: not self._faults.on("die", self.name))
                self._delay = self._settings.boot_seconds
        finally:
            self._enter("off")
            await self._stop()

    def _enter(self, phase: str, reason: str = "") -> None:
        if (phase, reason) != (self.phase, self.reason):
            print(f"{self.name} ({self.address}): {phase} {reason}".rstrip(), file=sys.stderr, flush=True)
        self.phase, self.reason = phase, reason

    async def _tools(self, *, up: bool, **state: str) -> None:
        running, status = ("guestToolsRunning", "toolsOk") if up else ("guestToolsNotRunning", "toolsNotRunning")
        state |= {"toolsRunningStatus": running, "toolsStatus": status}
        if up:
            state["guestState"] = "running"
        try:
            await self._vcenter.set_guest(self._vm["moRef"], **state)
        except (ControlError, aiohttp.ClientError, TimeoutError) as error:  # powered off meanwhile, or the vCenter is being restarted
            print(f"{self.name}: the tools' report was not taken: {error}", file=sys.stderr, flush=True)

    async def _serve(self) -> None:
        while True:
            try:
                # The service last: who sees it serve (a health check, a test) may count on the exporter.
                await self._listen(self._metrics, self._settings.metrics_port)
                await self._listen(self._web, self._settings.web_port)
                return
            except OSError as error:
                await self._stop()
                self._enter("unbound", str(error))
                await asyncio.sleep(_AGAIN)

    async def _listen(self, handler: Handler, port: int) -> None:
        runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.05)
        await runner.setup()
        self._runners.append(runner)
        starting = asyncio.ensure_future(web.TCPSite(runner, self.address, port, backlog=512).start())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cancelled between its bind and its return it would leave a server that nobody knows, and listens.
            with contextlib.suppress(OSError):
                await starting
            raise

    async def _stop(self) -> None:
        runners, self._runners = self._runners, []
        for runner in runners:
            for site in list(runner.sites):
                await site.stop()
        for runner in runners:
            await runner.cleanup()

    async def _trouble(self) -> None:
        """What faults do to any request."""
        await self._faults.until(lambda: not self._faults.on("hang", self.name))
        if (delay := self._faults.delay(self.name)) > 0:
            await asyncio.sleep(delay)

    async def _web(self, request: web.BaseRequest) -> web.StreamResponse:
        await self._trouble()
        if request.path == "/healthz":
            if self._faults.on("healthFails", self.name):
                return web.Response(status=503, text="unhealthy\n")
            return web.Response(text="ok\n")
        if request.path == "/stats":
            return web.json_response(
                {
                    "vm": self.name,
                    "address": self.address,
                    "served": self.served,
                    "refused": self.refused,
                    "inProgress": self.in_progress,
                }
            )
        return await self._user()

    async def _user(self) -> web.Response:
        now = time.monotonic()
        finish = self._processor.take(now)
        if finish is None:
            self.refused += 1
            return web.Response(status=503, text="overloaded\n", headers={"Retry-After": "1"})
        self.in_progress += 1
        try:
            await asyncio.sleep(finish - now)
        finally:
            self.in_progress -= 1
        self.served += 1
        page = f"<!doctype html><title>web</title><p>Served by {html.escape(self.name)} at {self.address}</p>\n"
        return web.Response(text=page, content_type="text/html", headers={"X-Served-By": self.address})

    async def _metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        await self._trouble()
        if request.path != "/metrics":
            return web.Response(status=404, text="see /metrics\n")
        body = metrics.exposition(
            self._processor,
            now=time.monotonic(),
            booted_at=self._booted_at,
            memory_mib=self._vm["memoryMiB"],
            host_name=self._vm["hostName"] or self.name,
        )
        return web.Response(body=body, headers={"Content-Type": metrics.CONTENT_TYPE})


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a guest's task and wait until its servers are gone."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
