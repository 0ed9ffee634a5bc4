"""What the kubelet and Prometheus are told: alive is progress within a limit, ready is the Lease and one whole look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from vmscaler.entry.health import Progress, make_health

START = datetime(2026, 3, 1, tzinfo=UTC)
LIMIT = timedelta(seconds=300)


async def ask(progress: Progress, path: str, now: datetime = START) -> tuple[int, str, str]:
    registry = CollectorRegistry()
    Counter("sample_things", "Things", registry=registry).inc(3)
    async with (
        TestClient(TestServer(make_health(progress, registry, lambda: now, LIMIT))) as client,
        client.get(path) as response,
    ):
        return response.status, await response.text(), response.headers["Content-Type"]


@pytest.mark.parametrize(
    ("resynced", "now", "status", "said"),
    [
        (None, 300, 200, "no resync yet, started 300 s ago (limit 300 s)\n"),
        (None, 301, 503, "no resync yet, started 301 s ago (limit 300 s)\n"),
        (1000, 1300, 200, "last resync 300 s ago (limit 300 s)\n"),
        (1000, 1301, 503, "last resync 301 s ago (limit 300 s)\n"),
    ],
)
async def test_alive_is_progress_within_the_limit(resynced: int | None, now: int, status: int, said: str) -> None:
    progress = Progress(START, None if resynced is None else START + timedelta(seconds=resynced))
    assert (await ask(progress, "/healthz", START + timedelta(seconds=now)))[:2] == (status, said)


@pytest.mark.parametrize(
    ("lease", "resynced", "status", "said"),
    [
        (False, False, 503, "this process does not hold the operator's Lease\n"),
        (False, True, 503, "this process does not hold the operator's Lease\n"),
        (True, False, 503, "no complete resync yet\n"),
        (True, True, 200, "ready\n"),
    ],
)
async def test_ready_is_the_lease_and_one_whole_look(lease: bool, resynced: bool, status: int, said: str) -> None:
    progress = Progress(START, START if resynced else None, holds_lease=lambda: lease)
    assert (await ask(progress, "/readyz"))[:2] == (status, said)


async def test_without_word_of_a_lease_it_is_not_ready_but_alive() -> None:
    progress = Progress(START, START)
    assert (await ask(progress, "/readyz"))[0] == 503
    assert (await ask(progress, "/healthz"))[0] == 200


async def test_the_metrics_are_those_of_the_registry_in_openmetrics() -> None:
    status, text, kind = await ask(Progress(START), "/metrics")
    assert status == 200 and kind.startswith("application/openmetrics-text;") and text.endswith("# EOF\n")
    assert "sample_things_total 3.0\n" in text
    [family] = text_string_to_metric_families(text)
    assert (family.name, family.type) == ("sample_things", "counter")


async def test_nothing_else_is_served() -> None:
    assert (await ask(Progress(START), "/"))[0] == 404
