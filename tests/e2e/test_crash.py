"""The operator killed before and after each external write of one scale-out: one VM, one address, one member, and it succeeds.

Each incarnation dies at its first write, by turns before and after it, so that every write of the scale-out is lost once and done once.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.e2e.bench import Bench

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

LONGEST = 90


def _last_write(journal: Path) -> list[str]:
    found: list[str] = json.loads(journal.read_text().splitlines()[-1])
    return found


async def _forget_lease(bench: Bench) -> None:
    """The dead process's Lease: a person who knows that it is dead need not wait for it to run out."""
    await bench.dc.cluster.kubectl("delete", "lease", "vmscaler-operator", "-n", "vmscaler-system", "--ignore-not-found")


async def test_killed_before_and_after_each_write(bench: Bench) -> None:
    operator = bench.dc.operator
    assert operator is not None
    await bench.policy("k-one", 110, 112, timeouts={"clone": "10m", "boot": "10m", "health": "10m", "member": "10m"})
    await bench.ready("k-one")
    await operator.kill()
    await _forget_lease(bench)
    deaths = []
    await operator.start(crash="1:before")
    await bench.alert("k-one")
    while len(deaths) < LONGEST:
        over = await _ended_or_over(bench)
        if over:
            break
        deaths.append(_last_write(operator.journal))
        await _forget_lease(bench)
        await operator.start(crash="1:after" if len(deaths) % 2 else "1:before", ready=False)
    event = (await bench.events("k-one"))[0]
    assert event["status"]["phase"] == "Succeeded", event["status"]
    await operator.kill()
    await _forget_lease(bench)
    await operator.start()
    operations = {f"{system} {operation}" for _, system, operation, _ in deaths}
    for needed in ("kubernetes iplease.create", "vsphere vm.clone", "bigip member.create", "bigip member.patch"):
        assert needed in operations, sorted(operations)
    ours = [name for name in await bench.vms() if name.startswith("k-one-")]
    leases = [lease["spec"]["address"] for lease in await bench.list("ipl") if lease["spec"]["holder"]["name"].startswith("k-one-")]
    members = [member for member in await bench.members() if member.partition(":")[0] in leases]
    assert (len(ours), len(leases), len(members)) == (1, 1, 1), (ours, leases, members)
    assert len(await bench.events("k-one")) == 1
    await bench.alert("k-one", firing=False)
    await bench.dc.cluster.kubectl("delete", "asp", "k-one", "-n", "acme", "--wait=false")
    await bench.dc.cluster.kubectl("delete", "vmi", ours[0], "-n", "acme", "--timeout=60s")


async def _ended_or_over(bench: Bench) -> bool:
    """True once the event is over; False once the operator has died."""
    operator = bench.dc.operator
    assert operator is not None

    async def look() -> str:
        events = await bench.events("k-one")
        if events and events[0].get("status", {}).get("phase") == "Succeeded":
            return "over"
        return "" if operator.running else "dead"

    return bool(await bench.until("the operator dies or the event is over", look, 90) == "over")
