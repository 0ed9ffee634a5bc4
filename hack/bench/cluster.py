"""A control plane of our own with our kinds on it, fsync on, and what the API server itself counts. Called by `bench.reconcile` and `bench.steady`."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import asyncssh
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.effects import DirectEffects

from bench.operators import NAMESPACE, Usage, usage
from bench.outside import TEMPLATE
from lab.controlplane import ControlPlane
from lab.pki import Authority
from lab.resources import CUSTOMER, sample
from vmscaler.adapters.clock import SystemClock
from vmscaler.adapters.kube import KubeClient, from_kubeconfig
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.decide.conditions import is_true

ROOT = Path(__file__).resolve().parents[2]
RANGE = 4
FIRST = IPv4Address("10.8.0.16")
WRITES = ("POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION")
READS = ("GET", "LIST")


@dataclass(frozen=True)
class Requests:
    """What the API server has answered so far: for our kinds, Secrets and Events; and writes of Leases."""

    reads: int
    writes: int
    leases: int

    def __sub__(self, other: Requests) -> Requests:
        return Requests(self.reads - other.reads, self.writes - other.writes, self.leases - other.leases)


class Stage:
    """The cluster, ready for an operator: Site and template are there, policies are made at will."""

    def __init__(self, plane: ControlPlane, kube: KubeClient, http: aiohttp.ClientSession, operator: Path) -> None:
        self.plane, self.kube, self._http, self.operator_kubeconfig = plane, kube, http, operator

    async def requests(self) -> Requests:
        """Counted by the API server (apiserver_request_total), whoever asked."""
        async with self._http.get("/metrics") as answer:
            answer.raise_for_status()
            text = await answer.text()
        reads = writes = leases = 0
        wanted = "\n".join(line for line in text.splitlines() if line.startswith("apiserver_request_total"))
        for family in text_string_to_metric_families(wanted):
            for one in family.samples:
                verb, group, resource = one.labels["verb"], one.labels["group"], one.labels["resource"]
                ours = group == "vmscaler.io" or resource in ("secrets", "events", "configmaps")
                if resource == "leases" and verb in WRITES:
                    leases += int(one.value)
                elif ours and verb in WRITES:
                    writes += int(one.value)
                elif ours and verb in READS:
                    reads += int(one.value)
        return Requests(reads, writes, leases)

    def server(self) -> Usage:
        """API server, etcd and controllers."""
        return usage(self.plane.part.pid, children=True)

    async def create(self, first: int, count: int) -> None:
        """So many policies, eight at a time."""
        numbers = iter(range(first, first + count))

        async def worker() -> None:
            for number in numbers:
                await self.kube.create(AutoscalingPolicy.parse(policy(number)))

        await asyncio.gather(*(worker() for _ in range(8)))

    async def policies(self) -> list[AutoscalingPolicy]:
        """All of them: one list call."""
        return await self.kube.list_objects(AutoscalingPolicy)

    async def remove_all(self) -> None:
        """Ask for the removal of every policy."""
        await self.plane.kubectl("delete", "asp", "--all", "-n", CUSTOMER, "--wait=false")

    async def quiet(self, seconds: float = 2.0) -> None:
        """Until nobody has read or written for so long."""
        before, since = await self.requests(), asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() - since < seconds:
            await asyncio.sleep(0.25)
            now = await self.requests()
            if (now.reads, now.writes) != (before.reads, before.writes):
                before, since = now, asyncio.get_running_loop().time()


def ready(one: AutoscalingPolicy) -> bool:
    """Whether the product is done with it."""
    return one.status.observed_generation == one.metadata.generation and is_true(one.status.conditions, "Ready")


def touched(one: AutoscalingPolicy) -> bool:
    """Whether the no-op operator is done with it."""
    return one.status.observed_generation == one.metadata.generation


def policy(number: int) -> dict[str, Any]:
    """A policy with a range and a pool of its own."""
    document: dict[str, Any] = copy.deepcopy(sample("autoscalingpolicy")[0])
    start = FIRST + RANGE * number
    document["metadata"]["name"] = f"bench-{number}"
    document["spec"]["f5"]["poolName"] = f"/Common/pool-{number}"
    document["spec"]["network"]["ipPool"] = {"start": str(start), "end": str(start + RANGE - 1), "subnet": "10.8.0.0/16"}
    return document


def site(ca: str) -> dict[str, Any]:
    """The sample Site with one large network; all is granted."""
    document: dict[str, Any] = copy.deepcopy(sample("site")[0])
    spec = document["spec"]
    for system in ("vcenter", "bigip", "jenkins"):
        spec[system]["caBundle"] = ca
    spec["networks"] = [{"name": "frontend", "portGroup": "vlan-web", "cidr": "10.8.0.0/16", "gateway": "10.8.0.1"}]
    grant = {"networks": [{"name": "frontend"}], "pools": ["/Common/*"], "maxInstances": 10000}
    spec["tenants"] = [{"namespaces": [CUSTOMER], "folders": ["/DC0/vm"], **grant}]
    return document


def secrets() -> list[dict[str, Any]]:
    """The sample Secrets with a key that is one; nothing is ever logged in to."""
    documents = copy.deepcopy(sample("secrets"))
    for document in documents:
        if "privateKey" in document["stringData"]:
            document["stringData"]["privateKey"] = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    return documents


@contextlib.asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Start it all; stop it at the end."""
    async with ControlPlane(folder, fsync=True) as plane:
        await plane.apply(ROOT / "crds")
        await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
        await plane.apply(ROOT / "deploy" / "namespace.yaml", ROOT / "deploy" / "samples" / "namespace.yaml")
        await plane.apply(ROOT / "deploy" / "rbac.yaml", ROOT / "deploy" / "tenant-roles.yaml")
        await plane.apply_objects(*secrets(), site(Authority().pem), *sample("vmtemplate"))
        operator = await plane.account_kubeconfig(NAMESPACE, "vmscaler-operator", folder / "operator.kubeconfig")
        tls = ssl.create_default_context(cadata=plane.ca)
        headers = {"Authorization": f"Bearer {plane.part.record['adminToken']}"}
        client = await from_kubeconfig(plane.kubeconfig)
        async with aiohttp.ClientSession(plane.server, connector=aiohttp.TCPConnector(ssl=tls), headers=headers) as http:
            try:
                yield Stage(plane, KubeClient(client, NAMESPACE, DirectEffects(), SystemClock()), http, operator)
            finally:
                await client.close()


__all__ = ["TEMPLATE", "Requests", "Stage", "policy", "ready", "stage", "touched"]
