"""A process that has lost the Lease ends at once: another may act from now on (facts of kopf: peering is not fencing)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from vmscaler import bootstrap


def test_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not sys.exit: threads of an SDK with a call under way would be waited for, and `finally` blocks would act."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    bootstrap._end_at_once("somebody has it")
    assert ended == [bootstrap.LOST_LEASE_EXIT] and bootstrap.LOST_LEASE_EXIT != 0


async def test_the_operators_lease_is_watched_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Exception):
        pass

    given: dict[str, Any] = {}

    def lock(*_: Any, **options: Any) -> None:
        given.update(options)
        raise Seen

    @contextlib.asynccontextmanager
    async def client(_: Any) -> AsyncIterator[object]:
        yield object()

    monkeypatch.setattr(bootstrap, "LeaseLock", lock)
    monkeypatch.setattr(bootstrap, "api_client", client)

    class Settings:
        namespace, lease_seconds = "vmscaler-system", 15.0

    with pytest.raises(Seen):
        async with bootstrap.assemble(Settings()):  # type: ignore[arg-type]
            pass
    assert given["on_lost"] is bootstrap._end_at_once and given["duration"] == 15.0
