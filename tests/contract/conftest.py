"""Fixtures of the contract suites: parts of the lab that several of them use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.contract import bigip_bench, vsphere_judge
from tests.contract.bigip_bench import Bigip
from tests.contract.kube_api import KubeApi, temporary_namespace
from tests.contract.kube_bench import apply_crds
from tests.contract.monitoring_bench import Monitoring, monitoring_bench
from tests.contract.monitoring_hosts_bench import people_files, restore
from tests.contract.step_bench import Client, Gateway
from tests.contract.vsphere_adapter_bench import FaultControl, clear
from tests.contract.vsphere_judge import VCenter

from lab.controlplane import ControlPlane
from lab.pki import Authority
from lab.programs import monitoring_programs
from lab.vcenter import inventory, vcenter


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(control_plane: ControlPlane) -> ControlPlane:
    """The control plane with our kinds."""
    await apply_crds(control_plane)
    return control_plane


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def namespace(cluster: ControlPlane) -> AsyncIterator[str]:
    """A namespace for the tests of one file."""
    async with temporary_namespace(cluster, "kinds") as name:
        yield name


@pytest.fixture
async def api(cluster: ControlPlane) -> AsyncIterator[KubeApi]:
    """Objects of our kinds over HTTP."""
    async with KubeApi(cluster) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lab_vcenter(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VCenter]:
    """One for the whole run, with guests that it plays itself (up after 0.1 s): clean up what you clone, heal what you break."""
    authority = Authority()
    issued = authority.issue("127.0.0.1")
    folder = tmp_path_factory.mktemp("vcenter")
    config = {
        "username": "svc-vmscaler@vsphere.local",
        "password": "sample-password",
        "certificate": issued.certificate,
        "privateKey": issued.key,
        "tempFolder": str(folder / "datastores"),
        "guests": {"bootSeconds": 0.1},
        **inventory([("web-1", "127.0.0.20"), ("web-2", "127.0.0.21")]),
    }
    async with await vcenter(config, folder=folder) as part:
        yield VCenter(part.record, authority)


@pytest.fixture
def si(lab_vcenter: VCenter) -> Iterator[Any]:
    """A pyvmomi session with lab_vcenter; heals it and destroys what is in vsphere_judge.FOLDER at the end."""
    with vsphere_judge.connected(lab_vcenter) as instance:
        yield instance
        vsphere_judge.put_faults(lab_vcenter, {})
        vsphere_judge.clear(instance)


@pytest.fixture
async def vcenter_control(lab_vcenter: VCenter) -> AsyncIterator[FaultControl]:
    """lab_vcenter's control port; healed, and without what was cloned, at the end."""
    async with FaultControl(lab_vcenter.record["control"]) as control:
        yield control
        await control.put_faults({})
    clear(lab_vcenter)


@pytest.fixture
async def kept_waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets an hour pass at once, as for a process that was stopped: whatever the loop was to do until then it finds due together."""
    loop = asyncio.get_running_loop()
    clock, late = loop.time, 0.0

    def stop() -> None:
        nonlocal late
        late += 3600

    monkeypatch.setattr(loop, "time", lambda: clock() + late)
    return stop


@pytest.fixture
async def lab_bigip(tmp_path: Path) -> AsyncIterator[Bigip]:
    """One for each test, with an empty pool /Common/web; logged in."""
    async with bigip_bench.bench(tmp_path) as bigip:
        await bigip.log_in()
        yield bigip


@pytest_asyncio.fixture
async def step_gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    """What jenkins/vmscaler-step asks, answering as a test scripts it."""
    folder = tmp_path / "tls"
    folder.mkdir()
    monkeypatch.setenv("STEP_BENCH_FOLDER", str(folder))
    gateway = Gateway()
    await gateway.start()
    yield gateway
    await gateway.stop()


@pytest_asyncio.fixture
async def step_client(step_gateway: Gateway, tmp_path: Path) -> AsyncIterator[Client]:
    """jenkins/vmscaler-step beside it, in a workspace of its own."""
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    client = Client(step_gateway, workspace)
    yield client
    await client.kill()


def _monitoring_versions() -> list[str | None]:
    """The oldest and the newest Prometheus at hand (with the Alertmanager beside it); None: what the lab fetches."""
    with asyncio.Runner() as runner:
        found = runner.run(monitoring_programs(fetch=False))
    return list(dict.fromkeys([found[0].prometheus_version, found[-1].prometheus_version])) if found else [None]


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=_monitoring_versions())
async def lab_monitoring(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Monitoring]:
    """One per version for the whole run: put back what you edit, heal what you break."""
    folder = tmp_path_factory.mktemp("monitoring-host")
    config = {"prometheusVersion": request.param} if request.param else {}
    async with monitoring_bench(folder, **config) as host:
        yield host


@pytest_asyncio.fixture(loop_scope="session")
async def monitoring_host(lab_monitoring: Monitoring) -> AsyncIterator[Monitoring]:
    """lab_monitoring; at the end it is healed, and its files are what they were."""
    before = people_files(lab_monitoring)
    yield lab_monitoring
    await lab_monitoring.faults()
    await restore(lab_monitoring, before)
