"""A stop of the operator is never lost, in whatever moment it comes: the Lease is given up, and a part that ended by itself ends the whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import kopf
import pytest
from kopf._cogs.aiokits import aioadapters

from vmscaler.adapters.clock import SystemClock
from vmscaler.adapters.kube import LeaseLock
from vmscaler.api.meta import Json
from vmscaler.entry import run
from vmscaler.ports.errors import Conflict, NotFound

TICKS = 30  # of the event loop, one more with each stop
LIMIT_S = 60


@pytest.fixture(autouse=True)
def _a_signal_that_nobody_handles_ends_no_pytest() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


async def let_pass(ticks: int) -> None:
    for _ in range(ticks):
        await asyncio.sleep(0)


@pytest.mark.parametrize("ticks", range(1, 12))
async def test_a_sigterm_while_it_starts_ends_it_and_undoes_what_was_begun(ticks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    @contextlib.asynccontextmanager
    async def assemble(*_: Any) -> AsyncIterator[None]:
        said.append("begun")
        try:
            await let_pass(5)
            await asyncio.Event().wait()  # for the Lease, which another has
            yield
        finally:
            await let_pass(5)
            said.append("undone")

    monkeypatch.setattr(run, "assemble", assemble)
    operator = asyncio.create_task(run.run(SimpleNamespace()))  # type: ignore[arg-type]
    await let_pass(ticks)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(LIMIT_S):
        await operator
    assert said in ([], ["begun", "undone"])


async def test_watches_that_end_by_themselves_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """kopf waits for the stop in a thread of its loop's, which cannot close while that thread lives: it was gone, and nobody knew."""

    async def operator(*, stop_flag: threading.Event, **_: Any) -> None:
        waiting = asyncio.create_task(aioadapters.wait_flag(stop_flag))  # as kopf does
        await asyncio.wait({waiting}, timeout=0.05)
        waiting.cancel()
        raise LookupError("a watch failed for good")

    monkeypatch.setattr(kopf, "operator", operator)
    parts = SimpleNamespace(api_client=SimpleNamespace(configuration=None), queue=SimpleNamespace(wake=None))
    watching = asyncio.create_task(run._watch(parts))  # type: ignore[arg-type]
    try:
        ended, _ = await asyncio.wait({watching}, timeout=LIMIT_S)
        assert ended, "kopf is gone and the operator goes on without it"
        assert isinstance(watching.exception(), LookupError)
    finally:
        watching.cancel()


class ApiServer:
    """Has one Lease. What was sent arrives, also where nobody waits for the answer any more; a write takes `slow` ticks on its way, a read `quick`."""

    def __init__(self, slow: int, quick: int) -> None:
        self.holder: str | None = None
        self._slow, self._quick, self._version, self._spec = slow, quick, 0, {"holderIdentity": ""}
        self._arriving: set[asyncio.Task[Json]] = set()

    async def call(self, method: str, _: str, *, body: Any = None, timeout: float) -> Json:
        task = asyncio.create_task(self._arrive(method, body))
        task.add_done_callback(lambda done: done.exception())
        self._arriving.add(task)
        return await asyncio.shield(task)

    async def _arrive(self, method: str, body: Any) -> Json:
        await let_pass(self._quick if method == "GET" else self._slow)
        if method == "GET" and not self._version:
            raise NotFound("kubernetes", "NotFound", "there is none")
        if method != "GET":
            if body["metadata"].get("resourceVersion", "0") != str(self._version):
                raise Conflict("kubernetes", "Conflict", "it has changed")
            self._version, self._spec = self._version + 1, body["spec"]
            self.holder = self._spec["holderIdentity"]
        return {"metadata": {"resourceVersion": str(self._version)}, "spec": dict(self._spec)}

    async def everything_arrived(self) -> None:
        await asyncio.wait(self._arriving)


@pytest.mark.parametrize(("slow", "quick"), [(1, 1), (6, 1), (1, 6)])
async def test_the_lease_is_nobodys_after_a_stop_in_whatever_moment(slow: int, quick: int) -> None:
    async def lost(*_: object) -> None:
        raise AssertionError("lost")

    for ticks in range(TICKS):
        server = ApiServer(slow, quick)
        lock = LeaseLock(SimpleNamespace(), "ns", "operator", "me", SystemClock(), on_lost=lost, duration=15, renew_every=1e-9)  # type: ignore[arg-type]
        lock._rest = server  # type: ignore[assignment]
        acquiring = asyncio.create_task(lock.acquire())
        await let_pass(ticks)
        acquiring.cancel()
        await asyncio.wait({acquiring})
        await lock.release()
        if ticks:
            await server.everything_arrived()
        assert not server.holder, f"stopped after {ticks} ticks, it holds the Lease until it runs out"
