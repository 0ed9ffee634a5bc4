"""The operator killed before and after each external write of one scale-out: one VM, one address, one member, and it succeeds.

Each incarnation dies at its first write, by turns before and after it, so that every write of the scale-out is lost once and done once.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from tests.e2e.bench import FINAL, Bench

from lab.operator import ForkServer

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

# Far more than one scale-out has writes: an operator that makes no progress when it is killed at each write ends here.
MOST_DEATHS = 150


async def test_killed_before_and_after_each_write(bench: Bench) -> None:
    operator = bench.dc.operator
    assert operator is not None
    await bench.policy("k-one", 110, 112)
    await bench.ready("k-one")
    await operator.kill()
    deaths: list[str] = []
    async with ForkServer(operator) as server:
        await bench.alert("k-one")
        for _ in range(MOST_DEATHS):
            # A person who knows that the old process is dead need not wait for its Lease to run out.
            await bench.api("DELETE", "/apis/coordination.k8s.io/v1/namespaces/vmscaler-system/leases/vmscaler-operator")
            pid = await server.born("1:each")
            end = asyncio.create_task(server.dead())
            over = asyncio.create_task(_over(bench))
            await asyncio.wait({end, over}, timeout=240, return_when=asyncio.FIRST_COMPLETED)
            if not end.done():
                assert over.done(), f"nothing happens after {deaths[-3:]}\n{operator.tail()}"
                os.kill(pid, signal.SIGKILL)
                await end
                break
            over.cancel()
            assert end.result() == -signal.SIGKILL, operator.tail()
            deaths.append(_last_write(operator.journal))
    await bench.api("DELETE", "/apis/coordination.k8s.io/v1/namespaces/vmscaler-system/leases/vmscaler-operator")
    await operator.start()
    event = await bench.event_over("k-one")
    assert event["status"]["phase"] == "Succeeded", (event["status"], deaths)
    for needed in ("kubernetes iplease.create", "vsphere vm.clone", "bigip member.create", "bigip member.patch"):
        assert deaths.count(needed) >= 2, f"{needed} was not killed before and after: {deaths}"
    ours = [name for name in await bench.vms() if name.startswith("k-one-")]
    leases = [lease["spec"]["address"] for lease in await bench.list("ipl") if lease["spec"]["holder"]["name"].startswith("k-one-")]
    members = [member for member in await bench.members() if member.partition(":")[0] in leases]
    assert (len(ours), len(leases), len(members)) == (1, 1, 1), (ours, leases, members)
    assert len(await bench.events("k-one")) == 1
    await bench.alert("k-one", firing=False)
    await bench.dc.cluster.kubectl("delete", "asp", "k-one", "-n", "acme", "--wait=false")
    await bench.dc.cluster.kubectl("delete", "vmi", ours[0], "-n", "acme", "--timeout=180s")


def _last_write(journal: Path) -> str:
    _, system, operation, _ = json.loads(journal.read_text().splitlines()[-1])
    return f"{system} {operation}"


async def _over(bench: Bench) -> None:
    """Return when the event is over and the policy is free again."""
    while True:
        events = await bench.events("k-one")
        policy = await bench.get("asp", "k-one")
        active = (policy or {})["status"].get("claim", {}).get("active")
        if events and events[0].get("status", {}).get("phase") in FINAL and not active:
            return
        await asyncio.sleep(0.25)
