"""A reload of Prometheus is believed by its time, which is its host's: that clock may be set back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from vmscaler.adapters.monitoring_host.prometheus_host import OnPrometheusHost
from vmscaler.adapters.monitoring_http import Endpoint

BEFORE = 1.7e9


class Prometheus:
    """Its metrics, and what a reload makes of them."""

    endpoint = Endpoint("prom-1", "http://192.0.2.1:9090")

    def __init__(self, after: float) -> None:
        self._time, self._after = BEFORE, after

    async def get_text(self, _: str) -> str:
        return f"prometheus_config_last_reload_successful 1\nprometheus_config_last_reload_success_timestamp_seconds {self._time:.17g}\n"

    async def call(self, *_: str) -> tuple[int, str]:
        self._time = self._after
        return 200, ""


class Editor:
    """Does what it is told."""

    async def effect(self, _operation: str, _target: str, call: Callable[[], Awaitable[None]]) -> None:
        await call()


@pytest.mark.parametrize(("after", "believed"), [(BEFORE + 1, True), (BEFORE - 3600, True), (BEFORE, False)])
async def test_a_reload_is_one_that_changed_its_time(after: float, believed: bool) -> None:
    async def loaded() -> bool:
        return True

    host = OnPrometheusHost(cast(Any, None), cast(Any, Editor()), cast(Any, Prometheus(after)))
    assert await host._reloaded("/etc/prometheus/prometheus.yml", loaded) is believed
