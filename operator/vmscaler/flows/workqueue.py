"""The work queue: one reconcile at a time per object, wake-ups folded, failures backed off. Level-triggered: a key is all that is kept.

Fed by the watch (entry/handlers.py), by flows that wake another object, and by the resync; drained by `run`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from vmscaler.ports.errors import Conflict, OutsideError, Retryable

Key = tuple[str, str | None, str]
Reconcile = Callable[[str | None, str], Awaitable[None]]
Observe = Callable[[str, str, float], None]

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 60.0

log = structlog.get_logger()


@dataclass
class _Entry:
    due: float
    failures: int = 0


class WorkQueue:
    """Keys with a due time, on the loop's monotonic clock."""

    def __init__(self, reconcilers: Mapping[str, Reconcile], *, workers: int = 16, observe: Observe | None = None) -> None:
        """`reconcilers` by kind. `observe(kind, outcome, seconds)` is told of each run."""
        self._reconcilers = reconcilers
        self._workers = asyncio.Semaphore(workers)
        self._observe = observe or (lambda kind, outcome, seconds: None)
        self._due: dict[Key, _Entry] = {}
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, kind: str, namespace: str | None, name: str) -> None:
        """Have this object reconciled now; while it runs, once more after that."""
        if not name or kind not in self._reconcilers:
            return
        key = (kind, namespace, name)
        if key in self._running:
            self._again.add(key)
            return
        now = asyncio.get_running_loop().time()
        entry = self._due.get(key)
        self._due[key] = _Entry(due=now, failures=entry.failures if entry else 0)
        self._changed.set()

    @property
    def depth(self) -> int:
        """How many keys are due now or later, or run."""
        return len(self._due) + len(self._running)

    async def run(self) -> None:
        """Drain for ever; cancel to stop (what runs is cancelled too)."""
        try:
            while True:
                await self._dispatch()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=10)

    async def _dispatch(self) -> None:
        loop = asyncio.get_running_loop()
        self._changed.clear()
        now = loop.time()
        for key in [key for key, entry in self._due.items() if entry.due <= now]:
            entry = self._due.pop(key)
            self._running.add(key)
            task = asyncio.create_task(self._one(key, entry), name="/".join(str(part) for part in key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        next_due = min((entry.due for entry in self._due.values()), default=now + 3600.0)
        # Not wait_for: on Python 3.11 it swallows a cancellation that comes together with the wake-up.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.001, next_due - loop.time())):
                await self._changed.wait()

    async def _one(self, key: Key, entry: _Entry) -> None:
        kind, namespace, name = key
        loop = asyncio.get_running_loop()
        after: float | None = None
        outcome = "ok"
        async with self._workers:
            began = loop.time()
            try:
                await self._reconcilers[kind](namespace, name)
                entry.failures = 0
            except Retryable as error:
                outcome, after = error.reason, max(error.after, 0.05)
                log.debug("not yet", kind=kind, namespace=namespace, name=name, reason=error.reason, error=str(error))
            except OutsideError as error:
                outcome, after = error.reason, self._back_off(entry)
                level = log.debug if isinstance(error, Conflict) else log.warning
                level("reconcile refused", kind=kind, namespace=namespace, name=name, reason=error.reason, error=str(error))
            except Exception:
                outcome, after = "crashed", self._back_off(entry)
                log.exception("reconcile crashed", kind=kind, namespace=namespace, name=name)
            finally:
                self._running.discard(key)
            self._observe(kind, outcome, loop.time() - began)
        again = key in self._again
        self._again.discard(key)
        if again:
            after = 0.0 if after is None else min(after, FIRST_BACKOFF)
        if after is not None:
            due = loop.time() + after
            waiting = self._due.get(key)
            if waiting is None or waiting.due > due:
                self._due[key] = _Entry(due=due, failures=entry.failures)
            self._changed.set()

    def _back_off(self, entry: _Entry) -> float:
        entry.failures += 1
        return min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(entry.failures - 1, 10))
