"""Prometheus' and Alertmanager's APIs in memory, for flows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from vmscaler.ports.errors import Retryable
from vmscaler.ports.monitoring import SYSTEM, FiringAlert


def alert(
    labels: Mapping[str, str],
    *,
    annotations: Mapping[str, str] | None = None,
    starts_at: datetime = datetime(2025, 1, 1, tzinfo=UTC),
    suppressed: bool = False,
) -> FiringAlert:
    """An alert whose fingerprint follows its labels."""
    fingerprint = hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]
    return FiringAlert(dict(labels), dict(annotations or {}), starts_at, fingerprint, suppressed)


@dataclass
class FakeAlertmanagerApi:
    """Implements ports.monitoring.AlertmanagerApi. Set `alerts`; `down` makes every call raise Retryable."""

    alerts: list[FiringAlert] = field(default_factory=list)
    version: str = "0.25.0"
    down: bool = False

    async def about(self) -> str:
        """Version."""
        self._up()
        return self.version

    async def firing(self, matchers: Mapping[str, str]) -> list[FiringAlert]:
        """Those whose labels equal these, by start."""
        self._up()
        found = [one for one in self.alerts if all(one.labels.get(name, "") == value for name, value in matchers.items())]
        return sorted(found, key=lambda one: (one.starts_at, one.fingerprint))

    async def close(self) -> None:
        """Nothing is open."""

    def _up(self) -> None:
        if self.down:
            raise Retryable(SYSTEM, "Unreachable", "alertmanager cannot be reached (fake)")


@dataclass
class FakePrometheusApi:
    """Implements ports.monitoring.PrometheusApi. Set `silent` (a text of expressions that have no value)."""

    version: str = "2.42.0"
    down: bool = False
    silent: str | None = None

    async def about(self) -> str:
        """Version."""
        self._up()
        return self.version

    async def finds(self, expression: str) -> bool:
        """All but those that hold `silent`."""
        self._up()
        return self.silent is None or self.silent not in expression

    async def close(self) -> None:
        """Nothing is open."""

    def _up(self) -> None:
        if self.down:
            raise Retryable(SYSTEM, "Unreachable", "prometheus cannot be reached (fake)")
