"""Looks at one or more Prometheus servers that scrape the same things. Made by adapters/systems.py; nothing is written here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vmscaler.adapters.monitoring_http import Endpoint, MonitoringHttp, all_that_answer, data_of


class PrometheusClient:
    """Implements ports.monitoring.PrometheusApi: any server that answers is enough. Raises Retryable, Untrusted."""

    def __init__(self, servers: Sequence[Endpoint], *, timeout: float = 15.0) -> None:
        """`timeout` in seconds, for each call."""
        self._servers = [MonitoringHttp(server, timeout=timeout) for server in servers]

    async def about(self) -> str:
        """Version."""

        async def version(server: MonitoringHttp) -> str:
            return str(data_of(await server.get_json("/api/v1/status/buildinfo")).get("version", ""))

        return (await all_that_answer(self._servers, version))[0]

    async def rule_groups(self) -> list[str]:
        """Loaded on every server that answers: `file;group`."""

        async def groups(server: MonitoringHttp) -> set[str]:
            found = data_of(await server.get_json("/api/v1/rules")).get("groups", [])
            return {f"{group['file']};{group['name']}" for group in found}

        return sorted(set.intersection(*await all_that_answer(self._servers, groups)))

    async def targets_up(self, job: str) -> dict[str, bool]:
        """instance -> whether any server finds it healthy. By job label, which a target file may set (not the scrape pool)."""

        async def targets(server: MonitoringHttp) -> dict[str, bool]:
            found = data_of(await server.get_json("/api/v1/targets", [("state", "active")])).get("activeTargets", [])
            return {one["labels"]["instance"]: one["health"] == "up" for one in found if one["labels"].get("job") == job}

        up: dict[str, bool] = {}
        for seen in await all_that_answer(self._servers, targets):
            for name, healthy in seen.items():
                up[name] = up.get(name, False) or healthy
        return up

    async def finds(self, expression: str) -> bool:
        """Whether any server that answers has a value for it now (an instant query)."""

        async def value(server: MonitoringHttp) -> bool:
            return bool(data_of(await server.get_json("/api/v1/query", [("query", expression)]))["result"])

        return any(await all_that_answer(self._servers, value))

    async def close(self) -> None:
        """Close connections."""
        await asyncio.gather(*(server.close() for server in self._servers))
