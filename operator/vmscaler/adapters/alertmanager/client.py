"""Looks at a cluster of Alertmanagers. Made by adapters/systems.py; nothing is written here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from vmscaler.adapters.monitoring_http import Endpoint, MonitoringHttp, all_that_answer
from vmscaler.decide.yaml_text import quoted
from vmscaler.ports.monitoring import FiringAlert


class AlertmanagerClient:
    """Implements ports.monitoring.AlertmanagerApi: an alert that fires on any server fires. Raises Retryable, Untrusted."""

    def __init__(self, servers: Sequence[Endpoint], *, timeout: float = 15.0) -> None:
        """`timeout` in seconds, for each call."""
        self._servers = [MonitoringHttp(server, timeout=timeout) for server in servers]

    async def about(self) -> str:
        """Version."""

        async def version(server: MonitoringHttp) -> str:
            return str((await server.get_json("/api/v2/status"))["versionInfo"]["version"])

        return (await all_that_answer(self._servers, version))[0]

    async def firing(self, matchers: Mapping[str, str]) -> list[FiringAlert]:
        """Those not resolved whose labels equal these, by start; suppressed only where no server has it active."""
        params = [("filter", f"{name}={quoted(value)}") for name, value in sorted(matchers.items())]

        async def alerts(server: MonitoringHttp) -> list[FiringAlert]:
            return [_alert(one) for one in await server.get_json("/api/v2/alerts", params)]

        union: dict[str, FiringAlert] = {}
        for answer in await all_that_answer(self._servers, alerts):
            for alert in answer:
                if any(alert.labels.get(name, "") != value for name, value in matchers.items()):
                    continue  # the filter is the server's; the promise is ours
                known = union.get(alert.fingerprint, alert)
                union[alert.fingerprint] = replace(
                    known,
                    suppressed=known.suppressed and alert.suppressed,
                    starts_at=min(known.starts_at, alert.starts_at),
                )
        return sorted(union.values(), key=lambda alert: (alert.starts_at, alert.fingerprint))

    async def close(self) -> None:
        """Close connections."""
        await asyncio.gather(*(server.close() for server in self._servers))


def _alert(one: Mapping[str, Any]) -> FiringAlert:
    return FiringAlert(
        labels=dict(one["labels"]),
        annotations=dict(one["annotations"]),
        starts_at=datetime.fromisoformat(one["startsAt"]),
        fingerprint=one["fingerprint"],
        suppressed=one["status"]["state"] == "suppressed",
    )
