"""What the world of `tests.fakes.world` stands on: a clock on the loop's time, the seam at which an operator dies, hosts that are fast."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, TypeVar

from tests.fakes.monitoring_hosts import ALERTMANAGER_YML, PROMETHEUS_YML, FakeMonitoringHosts

from vmscaler.ports.monitoring import Route

T = TypeVar("T")
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Crash(BaseException):
    """The operator's process is gone."""


class LoopClock:
    """Wall-clock time that goes with the loop's own."""

    def __init__(self) -> None:
        self._zero = asyncio.get_running_loop().time()

    def now(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time() - self._zero)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class WorldEffects:
    """Passes every write on, counts it, tells the "watch", and ends the process at one of them."""

    calls: list[tuple[str, str, str]] = field(default_factory=list)
    crash_at: int | None = None
    crash_after: bool = False
    dead: asyncio.Event = field(default_factory=asyncio.Event)
    watch: Callable[[str, str], None] = lambda operation, target: None
    people: bool = False
    """Somebody else writes: not counted, and nobody dies of it."""

    async def write(self, system: str, operation: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        if self.people:
            result = await call()
            self.watch(operation, target)
            return result
        if self.dead.is_set():
            raise Crash
        self.calls.append((system, operation, target))
        dying = self.crash_at is not None and len(self.calls) == self.crash_at
        if dying and not self.crash_after:
            self.dead.set()
            raise Crash
        result = await call()
        if dying:
            self.dead.set()
            raise Crash
        if system == "kubernetes":
            self.watch(operation, target)
        return result

    @property
    def operations(self) -> list[str]:
        return [f"{system} {operation}" for system, operation, _ in self.calls]

    def external(self) -> list[str]:
        """The writes that do not go to Kubernetes."""
        return [f"{system} {operation} {target}" for system, operation, target in self.calls if system != "kubernetes"]


class Hosts(FakeMonitoringHosts):
    """Splices each content once: parsing people's YAML anew for every look is most of what a test of the flows would cost."""

    _known: ClassVar[dict[tuple[bytes, str], bytes]] = {}

    async def put_route(self, route: Route) -> None:
        before = self.files[ALERTMANAGER_YML]
        if self.loaded[ALERTMANAGER_YML] != before or self._known.get((before, repr(route))) != before or self.down or self.untrusted:
            await super().put_route(route)
            self._known[(before, repr(route))] = self.files[ALERTMANAGER_YML]

    def _entries(self) -> bytes:
        before = self.files[PROMETHEUS_YML]
        if (before, "") not in self._known:
            self._known[(before, "")] = super()._entries()
        return self._known[(before, "")]


def without_crashes(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The loop's exception handler: nobody looks at what a dead operator's tasks ended with."""
    if not isinstance(context.get("exception"), Crash):
        loop.default_exception_handler(context)
