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

    async def finds(self, expression: str) -> bool:
        """Whether any server that answers has a value for it now (an instant query)."""

        async def value(server: MonitoringHttp) -> bool:
            return bool(data_of(await server.get_json("/api/v1/query", [("query", expression)]))["result"])

        return any(await all_that_answer(self._servers, value))

    async def close(self) -> None:
        """Close connections."""
        await asyncio.gather(*(server.close() for server in self._servers))
