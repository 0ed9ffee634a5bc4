"""The seam that every external write passes: only with the Lease, counted, timed, told, never changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog

from vmscaler.adapters.effects import MARGIN, LeasedEffects
from vmscaler.adapters.metrics import Metrics
from vmscaler.ports.errors import Rejected, Retryable


class Write:
    """A write that remembers how often it was carried out."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.done = 0
        self.error = error

    async def __call__(self) -> str:
        self.done += 1
        if self.error is not None:
            raise self.error
        return "made"


def counted(metrics: Metrics, result: str) -> float:
    labels = {"system": "bigip", "operation": "member.create", "result": result}
    return metrics.registry.get_sample_value("vmscaler_external_writes_total", labels) or 0.0


async def write(effects: LeasedEffects, call: Write) -> Any:
    return await effects.write("bigip", "member.create", "/Common/web 10.0.0.5:80", call)


async def test_a_write_is_carried_out_once_and_counted() -> None:
    metrics, call = Metrics(), Write()
    with structlog.testing.capture_logs() as logs:
        assert await write(LeasedEffects(lambda: 10.0, metrics), call) == "made"
    assert (call.done, counted(metrics, "ok"), counted(metrics, "error")) == (1, 1, 0)
    assert metrics.registry.get_sample_value("vmscaler_external_write_seconds_count", {"system": "bigip"}) == 1
    (line,) = logs
    assert (line["system"], line["operation"], line["target"], line["outcome"]) == (
        "bigip",
        "member.create",
        "/Common/web 10.0.0.5:80",
        "ok",
    )


@pytest.mark.parametrize("left", [-1.0, 0.0, MARGIN - 0.01])
async def test_without_the_lease_nothing_is_written(left: float) -> None:
    metrics, call = Metrics(), Write()
    with pytest.raises(Retryable) as raised:
        await write(LeasedEffects(lambda: left, metrics), call)
    assert (raised.value.system, raised.value.reason) == ("bigip", "NotLeader")
    assert (call.done, counted(metrics, "ok"), counted(metrics, "error")) == (0, 0, 0)


async def test_the_lease_is_asked_for_at_each_write() -> None:
    left = iter([10.0, 0.0, 10.0])
    effects, call = LeasedEffects(lambda: next(left), Metrics()), Write()
    await write(effects, call)
    with pytest.raises(Retryable):
        await write(effects, call)
    await write(effects, call)
    assert call.done == 2


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Rejected("bigip", "BigIpRefused", "no"), "BigIpRefused"),
        (ValueError("of ours"), "ValueError"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
)
async def test_what_a_write_raises_passes_and_is_told(error: BaseException, outcome: str) -> None:
    metrics, call = Metrics(), Write(error)
    with structlog.testing.capture_logs() as logs, pytest.raises(type(error)) as raised:
        await write(LeasedEffects(lambda: 10.0, metrics), call)
    assert raised.value is error
    assert (call.done, counted(metrics, "ok"), counted(metrics, "error")) == (1, 0, 1)
    assert [line["outcome"] for line in logs] == [outcome]
