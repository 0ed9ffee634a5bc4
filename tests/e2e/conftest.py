"""One data centre with its operator for all end-to-end tests of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from tests.e2e.bench import Bench

from lab.controlplane import ControlPlane
from lab.datacentre import DataCentre


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bench(tmp_path_factory: pytest.TempPathFactory, control_plane: ControlPlane) -> AsyncIterator[Bench]:
    """A Site that is Ready; no policy yet."""
    folder: Path = tmp_path_factory.mktemp("dc")
    dc = DataCentre(folder, cluster=control_plane, boot_seconds=1.0, capacity=20, monitor_timeout=30.1)
    try:
        await dc.start()
        await dc.start_operator(lease_seconds=120)  # a busy machine loses no Lease; who kills the operator deletes it
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as http:
            bench = Bench(dc, http)
            bench.original = {name: await bench.hosts_file(name) for name in ("prometheus", "alertmanager")}
            await dc.apply_site()
            yield bench
    finally:
        await dc.stop()


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def healed(bench: Bench) -> AsyncIterator[None]:
    """No fault outlives its test."""
    yield
    for part in ("vcenter", "guests", "bigip", "jenkins", "monitoring"):
        await bench.dc.faults(part, {})
