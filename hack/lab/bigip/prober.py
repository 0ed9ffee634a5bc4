"""The health monitors: one task per monitored member, which really asks the member (facts/bigip.md "A lab BIG-IP must" 5).

```
(created, or user-down -> user-up) CHECKING --an answer that fits--> UP --none for `timeout` s--> DOWN --an answer--> UP
                                          `--none for `timeout` s--> DOWN
```
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass

from .model import Health, Live, Member, Monitor, Pool, Store
from .names import bare_address

log = logging.getLogger("lab.bigip.prober")
_ANSWER_LIMIT = 65536


@dataclass(frozen=True)
class _Probe:
    """What to send where, and what must come back; times in seconds."""

    address: str
    port: int
    send: bytes
    recv: str
    interval: float
    timeout: float


class Prober:
    """Keeps the tasks in step with the configuration; writes nothing but `Live.health`."""

    def __init__(self, stuck: Callable[[str], bool], went_down: Callable[[Live], None]) -> None:
        """`stuck(member)` says whether a fault keeps the member from being seen up; `went_down` is told of each DOWN."""
        self._stuck = stuck
        self._went_down = went_down
        self._tasks: dict[int, tuple[Live, tuple[_Probe, ...], asyncio.Task[None]]] = {}

    def reconcile(self, before: Store | None, store: Store) -> None:
        """Start, restart and stop tasks after a change. Probes of what did not change go on undisturbed."""
        forced_before = set() if before is None else {id(m.live) for _, m in _members(before) if m.state == "user-down"}
        wanted: set[int] = set()
        for pool, member in _members(store):
            probes = tuple(_probe(store, member, store.monitors[path]) for path in pool.monitors_of(member) if path in store.monitors)
            key = id(member.live)
            wanted.add(key)
            again = key in forced_before and member.state == "user-up"
            if key in self._tasks and self._tasks[key][1] == probes and not again:
                continue
            self._stop(key)
            member.live.health = Health.CHECKING if probes else Health.UNCHECKED
            if probes:
                task = asyncio.create_task(self._watch(member.path, member.live, probes))
                self._tasks[key] = (member.live, probes, task)
        for key in set(self._tasks) - wanted:
            self._stop(key)

    def _stop(self, key: int) -> None:
        if key in self._tasks:
            self._tasks.pop(key)[2].cancel()

    async def close(self) -> None:
        """Stop all."""
        tasks = [task for _, _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    async def _watch(self, path: str, live: Live, probes: tuple[_Probe, ...]) -> None:
        loop = asyncio.get_running_loop()
        interval = min(probe.interval for probe in probes)
        timeout = max(probe.timeout for probe in probes)
        deadline = loop.time() + timeout
        while True:
            started = loop.time()
            limit = deadline - started if deadline > started else timeout
            answers = await asyncio.gather(*(_answers(probe, limit) for probe in probes))
            if all(answers) and not self._stuck(path):
                deadline = loop.time() + timeout
                self._judge(path, live, Health.UP)
            elif live.health is not Health.DOWN and started + interval >= deadline:
                await asyncio.sleep(max(0.0, deadline - loop.time()))
                self._judge(path, live, Health.DOWN)
            due = max(loop.time(), started + interval)
            await asyncio.sleep(due - loop.time())
            deadline += loop.time() - due  # where this process was kept waiting, it is not the member that was silent

    def _judge(self, path: str, live: Live, health: Health) -> None:
        if live.health is health:
            return
        log.info("%s: %s -> %s", path, live.health, health)
        live.health = health
        if health is Health.DOWN:
            self._went_down(live)


def _members(store: Store) -> list[tuple[Pool, Member]]:
    return [(pool, member) for pool in store.pools.values() for member in pool.members.values()]


def _probe(store: Store, member: Member, monitor: Monitor) -> _Probe:
    # The REST form of a send string has its line ends spelled out as \r\n.
    send = monitor.send.replace("\\r", "\r").replace("\\n", "\n").encode()
    address = bare_address(store.nodes[member.node].address)
    return _Probe(address, member.port, send, monitor.recv, monitor.interval, monitor.timeout)


async def _answers(probe: _Probe, limit: float) -> bool:
    """Whether an answer that fits `recv` comes within `limit` seconds."""
    try:
        async with asyncio.timeout(limit):
            reader, writer = await asyncio.open_connection(probe.address, probe.port)
            try:
                writer.write(probe.send)
                got = b""
                while len(got) < _ANSWER_LIMIT:
                    data = await reader.read(8192)
                    got += data
                    if got and re.search(probe.recv.encode(), got):
                        return True
                    if not data:
                        return False
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return False
