"""Locks by name, in this process (the only one that acts): who looks and then acts does so alone.

An attempt of a step and a pass of the clean-up hold the fence of their VmInstance, and look again inside it whether they still may act.
So nothing is made for an instance once its clean-up has begun, however the two were started.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Fences:
    """One lock per key, kept only while somebody holds it or waits."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, ...], tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def hold(self, *key: str) -> AsyncIterator[None]:
        """Alone for this key, in the order of asking. Not re-entrant."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users > 1:
                self._locks[key] = (lock, users - 1)
            else:
                del self._locks[key]
