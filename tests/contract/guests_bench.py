"""What the suite of the lab's guests needs to look at them: HTTP, the exporter, the vCenter, an open-loop load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from tests.contract.vsphere_judge import VCenter, clone, connected, ended

from lab.process import Json
from lab.subnet import Subnet
from lab.vcenter import Control

# For one look, which is repeated. A client whom asyncio accepts in the very turn of the loop in which it closes the server is neither served nor
# cut until a garbage collection: as with a VM that is switched off, only a time-out ends that wait.
_LOOK = 10.0


@dataclass
class Lab:
    """What a test needs: the network, the vCenter, and the guests' control port."""

    subnet: Subnet
    vcenter: VCenter
    inventory: Control
    control: str
    http: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Json | None = None, status: int = 200) -> Any:
        async with self.http.request(method, self.control + path, json=body) as response:
            assert response.status == status, await response.text()
            return await response.json()

    async def guest(self, name: str) -> Json | None:
        vms = (await self.call("GET", "/status"))["vms"]
        return next((vm for vm in vms if vm["name"] == name), None)

    async def get(self, address: str, path: str, port: int = 8080, seconds: float = 60) -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with self.http.get(f"http://{address}:{port}{path}", timeout=timeout) as response:
            return response.status, await response.text()

    async def clone(self, name: str, address: str) -> Any:
        def work() -> Any:
            with connected(self.vcenter) as si:
                info = ended(clone(si, name, address))
                assert info.state == "success", info.error
                return info.result._moId

        return await asyncio.to_thread(work)

    async def end(self, moref: str, *, destroy: bool = True) -> None:
        def work() -> None:
            with connected(self.vcenter) as si:
                vm = si.content.searchIndex.FindByInventoryPath(f"/DC0/vm/vmscaler/acme/{by_moref[moref]}")
                ended(vm.PowerOffVM_Task())
                if destroy:
                    ended(vm.Destroy_Task())

        by_moref = {vm["moRef"]: vm["name"] for vm in (await self.inventory.vms())[1]}
        await asyncio.to_thread(work)

    async def serves(self, address: str) -> bool:
        try:
            return (await self.get(address, "/healthz", seconds=_LOOK))[0] == 200
        except (aiohttp.ClientConnectionError, TimeoutError):
            return False

    async def scraped(self, address: str) -> bool:
        try:
            return bool(await samples(self, address, seconds=_LOOK))
        except (aiohttp.ClientConnectionError, TimeoutError):
            return False

    async def settled(self) -> None:
        """Until the hand-made VMs serve users and the exporter."""
        for address in self.subnet.vms:
            await until(lambda address=address: self.serves(address))  # type: ignore[misc]
            await until(lambda address=address: self.scraped(address))  # type: ignore[misc]


CPUS = 2  # of each VM


async def ports_are_free(subnet: Subnet) -> bool:
    for address in subnet.vms:
        try:
            _, writer = await asyncio.open_connection(address, 8080)
            writer.close()
            return False
        except ConnectionRefusedError:
            continue
    return True


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> float:
    """Seconds waited."""
    start = time.monotonic()
    while not await condition():
        assert time.monotonic() - start < seconds, "not in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - start


async def samples(lab: Lab, address: str, seconds: float = 60) -> dict[str, list[Any]]:
    _, text = await lab.get(address, "/metrics", 9100, seconds)
    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


@dataclass(frozen=True)
class Cpu:
    """What the exporter says of a time: CPU seconds that were not idle, `of` all CPU seconds."""

    seconds: float
    of: float

    def with_requests(self, count: int, capacity: float, idle: float) -> float:
        """The busy seconds that this many requests make in that time, however long a busy machine made it; each takes one of the CPUs."""
        work = count * CPUS / capacity
        return work + idle * (self.of - work)


async def busy(lab: Lab, address: str, during: Callable[[], Awaitable[object]]) -> Cpu:
    """What the usual rule is about, 100 - idle, over the time of `during`."""

    async def figures() -> tuple[float, float]:
        cpus = (await samples(lab, address))["node_cpu_seconds_total"]
        return sum(s.value for s in cpus if s.labels["mode"] == "idle"), sum(s.value for s in cpus)

    idle_before, all_before = await figures()
    await during()
    idle_after, all_after = await figures()
    return Cpu((all_after - all_before) - (idle_after - idle_before), all_after - all_before)


async def load(lab: Lab, address: str, *, rate: float, seconds: float) -> list[tuple[int, float]]:
    """Open-loop users: status and latency of each request."""

    async def user(delay: float) -> tuple[int, float]:
        await asyncio.sleep(delay)
        start = time.monotonic()
        status, _ = await lab.get(address, "/")
        return status, time.monotonic() - start

    return await asyncio.gather(*(user(n / rate) for n in range(int(rate * seconds))))
