"""Reads that are folded: who asks while one is under way waits, with all others who do, for the next one. Used by adapters/kube/client.py
and adapters/systems.py, where many reconciles ask for the same at once.

Nobody is given what was read before they asked, so a fold is as fresh as a read of one's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Folded(Generic[K, T]):
    """One read at a time for each key."""

    def __init__(self) -> None:
        self._running: dict[K, asyncio.Task[T]] = {}
        self._next: dict[K, asyncio.Task[T]] = {}

    async def read(self, key: K, look: Callable[[], Awaitable[T]]) -> T:
        """What a `look` that began after this call gives, or raises. The answer is shared: it must not be changed."""
        waiting = self._next.get(key)
        if waiting is None or waiting.done():  # done: its turn was cancelled before it came
            waiting = self._next[key] = asyncio.create_task(self._turn(key, look), name=f"read-{key}")
            # All who asked may have been cancelled: then nobody looks at its error.
            waiting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(waiting)

    async def _turn(self, key: K, look: Callable[[], Awaitable[T]]) -> T:
        if (before := self._running.get(key)) is not None:
            await asyncio.wait({before})
        self._running[key] = self._next.pop(key)
        try:
            return await look()
        finally:
            del self._running[key]
