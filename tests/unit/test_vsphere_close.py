"""A vCenter session's close that is cancelled, in whatever moment, stays cancelled."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from vmscaler.adapters.vsphere.session import Session


@pytest.mark.parametrize("ticks", range(6))
async def test_a_cancellation_is_not_dropped_when_the_log_out_is_over(ticks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session("https://192.0.2.1/sdk", "u", "sample", "", timeout=1, deadline=1, threads=1, login_rest=1)
    logged_out: Future[None] = Future()
    monkeypatch.setattr(session._pool, "submit", lambda _: logged_out)
    closing = asyncio.create_task(session.close())
    await asyncio.sleep(0)
    logged_out.set_result(None)
    for _ in range(ticks):
        await asyncio.sleep(0)
    cancelled = closing.cancel()
    await asyncio.wait({closing})
    assert closing.cancelled() == cancelled
