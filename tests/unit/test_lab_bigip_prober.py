"""The lab BIG-IP's monitors when their own process is kept waiting: a member is down when it was silent, not when nobody asked."""

from __future__ import annotations

import asyncio

import pytest

from lab.bigip import prober as prober_module
from lab.bigip.model import Health, Member, Monitor, Node, Pool, Store
from lab.bigip.prober import Prober, _Probe

INTERVAL, TIMEOUT = 0.05, 40.0


async def test_no_member_is_asked_in_a_hurry_because_the_last_time_is_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    clock, late = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: clock() + late)
    limits: asyncio.Queue[float] = asyncio.Queue()

    async def answers(probe: _Probe, limit: float) -> bool:
        limits.put_nowait(limit)
        return True

    monkeypatch.setattr(prober_module, "_answers", answers)
    member = Member("/Common/10.0.0.5:80", "/Common/10.0.0.5", 80)
    store = Store(
        pools={"/Common/web": Pool("/Common/web", monitor="/Common/m", members={member.path: member})},
        nodes={member.node: Node(member.node, "10.0.0.5")},
        monitors={"/Common/m": Monitor("/Common/m", interval=INTERVAL, timeout=TIMEOUT)},
    )
    downs: list[object] = []
    prober = Prober(lambda _: False, downs.append)
    prober.reconcile(None, store)
    try:
        for _ in range(5):
            assert await limits.get() > TIMEOUT * 0.9
            for _ in range(5):
                await asyncio.sleep(0)
            late += TIMEOUT / 2  # stopped while it waits for its next turn
    finally:
        await prober.close()
    assert (member.live.health, downs) == (Health.UP, [])
