"""The work queue: one reconcile at a time per object, wake-ups folded, failures backed off, a cancellation that ends it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from vmscaler.flows.workqueue import FIRST_BACKOFF, LONGEST_BACKOFF, WorkQueue
from vmscaler.ports.errors import Conflict, Rejected, Retryable

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged: rendering the tracebacks would take seconds."""
    with structlog.testing.capture_logs() as kept:
        yield kept


Work = Callable[[str | None, str], Awaitable[None]]


@asynccontextmanager
async def draining(work: Work, *, workers: int = 16) -> AsyncIterator[WorkQueue]:
    seen: list[tuple[str, str]] = []
    queue = WorkQueue({"Thing": work}, workers=workers, observe=lambda kind, outcome, seconds: seen.append((kind, outcome)))
    queue.seen = seen  # type: ignore[attr-defined]
    task = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert task.cancelled()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_wake_ups_before_a_run_are_one_run_and_during_it_one_more() -> None:
    runs: list[str] = []
    go_on = asyncio.Event()

    async def work(namespace: str | None, name: str) -> None:
        runs.append(f"{namespace}/{name}")
        await go_on.wait()

    async with draining(work) as queue:
        for _ in range(5):
            queue.wake("Thing", "ns", "a")
        await asyncio.sleep(1)
        assert runs == ["ns/a"] and queue.depth == 1
        for _ in range(5):
            queue.wake("Thing", "ns", "a")
        await asyncio.sleep(1)
        assert runs == ["ns/a"]  # never two at a time
        go_on.set()
        await asyncio.sleep(1)
        assert runs == ["ns/a", "ns/a"] and queue.depth == 0


async def test_unknown_kinds_and_nameless_things_are_nothing() -> None:
    async def work(namespace: str | None, name: str) -> None:
        raise AssertionError(name)

    async with draining(work) as queue:
        queue.wake("Other", None, "a")
        queue.wake("Thing", None, "")
        assert queue.depth == 0


async def test_others_go_on_while_one_hangs_and_so_many_run_at_once() -> None:
    at_once = most = 0
    done: list[str] = []
    never = asyncio.Event()

    async def work(namespace: str | None, name: str) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            await (never.wait() if name == "hangs" else asyncio.sleep(1))
        finally:
            at_once -= 1
        done.append(name)

    async with draining(work, workers=3) as queue:
        queue.wake("Thing", None, "hangs")
        for number in range(10):
            queue.wake("Thing", None, str(number))
        await asyncio.sleep(20)
        assert len(done) == 10 and most == 3


async def test_not_yet_is_asked_again_when_it_says() -> None:
    times: list[float] = []

    async def work(namespace: str | None, name: str) -> None:
        times.append(now())
        if len(times) < 3:
            raise Retryable("x", "NotYet", "later", after=7.0)

    async with draining(work) as queue:
        queue.wake("Thing", None, "a")
        await asyncio.sleep(60)
        assert [round(later - earlier) for earlier, later in itertools.pairwise(times)] == [7, 7]
        assert queue.seen == [("Thing", "NotYet"), ("Thing", "NotYet"), ("Thing", "ok")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [Rejected("x", "No", "no"), Conflict("x", "Conflict", "changed"), RuntimeError("a fault"), ValueError()])
async def test_failures_back_off_up_to_a_limit_and_a_success_forgets_them(error: Exception) -> None:
    times: list[float] = []
    failing = True

    async def work(namespace: str | None, name: str) -> None:
        times.append(now())
        if failing:
            raise error

    async with draining(work) as queue:
        queue.wake("Thing", None, "a")
        await asyncio.sleep(600)
        waits = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert waits[:4] == pytest.approx([FIRST_BACKOFF * 2**n for n in range(4)], abs=0.05)
        assert waits[-1] == pytest.approx(LONGEST_BACKOFF, abs=0.1) and waits == sorted(waits)
        failing = False
        await asyncio.sleep(120)
        assert queue.depth == 0
        failing = True
        times.clear()
        queue.wake("Thing", None, "a")
        await asyncio.sleep(0.8)
        assert len(times) == 2


async def test_a_wake_up_does_not_wait_for_the_back_off_nor_for_a_late_retry() -> None:
    runs = 0

    async def work(namespace: str | None, name: str) -> None:
        nonlocal runs
        runs += 1
        raise Retryable("x", "Resting", "later", after=3000.0)

    async with draining(work) as queue:
        queue.wake("Thing", None, "a")
        await asyncio.sleep(1)
        queue.wake("Thing", None, "a")
        await asyncio.sleep(1)
        assert runs == 2
        await asyncio.sleep(2990)
        assert runs == 2
        await asyncio.sleep(20)
        assert runs == 3


async def test_a_wake_up_during_a_failing_run_is_not_lost() -> None:
    runs = 0

    async def work(namespace: str | None, name: str) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            queue.wake("Thing", None, "a")
            raise Retryable("x", "Resting", "later", after=3000.0)

    async with draining(work) as queue:
        queue.wake("Thing", None, "a")
        await asyncio.sleep(5)
        assert runs == 2


async def test_cancelled_together_with_a_wake_up_it_still_ends() -> None:
    """asyncio.wait_for of Python 3.11 swallowed this."""

    async def work(namespace: str | None, name: str) -> None:
        await asyncio.sleep(1000)

    queue = WorkQueue({"Thing": work})
    task = asyncio.create_task(queue.run())
    await asyncio.sleep(1)
    queue.wake("Thing", None, "a")
    await asyncio.sleep(0)
    queue.wake("Thing", None, "b")
    task.cancel()
    async with asyncio.timeout(60):
        await asyncio.wait([task])
    assert task.cancelled()
