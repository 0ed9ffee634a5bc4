"""An Effects that carries out at once and remembers what passed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class DirectEffects:
    """Implements vmscaler.ports.effects.Effects; `calls` holds (system, operation, target)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []

    async def write(self, system: str, operation: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        """Record, then call."""
        self.calls.append((system, operation, target))
        return await call()
