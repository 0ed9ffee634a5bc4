"""/healthz, /readyz and /metrics on a port of their own, plain HTTP.

Liveness is progress, not an open port: a resync must have ended within its deadline (facts/guards "Silent death").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest


@dataclass
class Progress:
    """What the process has got done."""

    started_at: datetime
    resynced_at: datetime | None = None
    holds_lease: Callable[[], bool] = lambda: False

    def alive(self, now: datetime, limit: timedelta) -> tuple[bool, str]:
        """Whether there was progress within `limit`, and a sentence about it."""
        last = self.resynced_at or self.started_at
        age = now - last
        said = (
            f"last resync {age.total_seconds():.0f} s ago"
            if self.resynced_at
            else f"no resync yet, started {age.total_seconds():.0f} s ago"
        )
        return age <= limit, f"{said} (limit {limit.total_seconds():.0f} s)"

    def ready(self) -> tuple[bool, str]:
        """Whether it does its work: it holds the Lease and has seen everything once."""
        if not self.holds_lease():
            return False, "this process does not hold the operator's Lease"
        if self.resynced_at is None:
            return False, "no complete resync yet"
        return True, "ready"


def make_health(progress: Progress, registry: CollectorRegistry, now: Callable[[], datetime], limit: timedelta) -> web.Application:
    """The application."""

    def answer(state: tuple[bool, str]) -> web.Response:
        good, said = state
        return web.Response(text=said + "\n", status=200 if good else 503)

    async def healthz(_: web.Request) -> web.Response:
        return answer(progress.alive(now(), limit))

    async def readyz(_: web.Request) -> web.Response:
        return answer(progress.ready())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app
