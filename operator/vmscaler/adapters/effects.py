"""The seam that every external write passes: no lease, no write; each is counted and timed. Implements vmscaler.ports.effects.Effects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

import structlog

from vmscaler.adapters.metrics import Metrics
from vmscaler.ports.errors import OutsideError, Retryable

T = TypeVar("T")

# A write begins only while the lease holds for at least this long (seconds).
MARGIN = 0.5

log = structlog.get_logger()


class LeasedEffects:
    """Writes only while `remaining()` seconds of the operator's Lease are left."""

    def __init__(self, remaining: Callable[[], float], metrics: Metrics) -> None:
        self._remaining = remaining
        self._metrics = metrics

    async def write(self, system: str, operation: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        """Carry it out. Raises Retryable(NotLeader), and what `call` raises."""
        if self._remaining() < MARGIN:
            raise Retryable(
                system, "NotLeader", f"{operation} of {target} waits: this process does not hold the operator's Lease", after=1.0
            )
        began = monotonic()
        outcome = "ok"
        try:
            return await call()
        except OutsideError as error:
            outcome = error.reason
            raise
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            seconds = monotonic() - began
            self._metrics.writes.labels(system, operation, "ok" if outcome == "ok" else "error").inc()
            self._metrics.write_seconds.labels(system).observe(seconds)
            log.info("write", system=system, operation=operation, target=target, outcome=outcome, ms=round(seconds * 1000))
