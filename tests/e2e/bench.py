"""What the end-to-end tests share: a running data centre, alerts made at will, and waiting for conditions."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from lab import resources
from lab.controlplane import ControlPlane
from lab.datacentre import DataCentre
from lab.process import Json

FINAL = ("Succeeded", "Failed")
OURS = "/apis/vmscaler.io/v1alpha1"
# What ends a stage here is its fault, not a busy machine.
PATIENT = {"clone": "10m", "boot": "10m", "health": "10m", "member": "10m"}
# kind -> (API, plural, namespaced)
KINDS = {
    "site": (OURS, "sites", False),
    "ipl": (OURS, "ipleases", False),
    "vmt": (OURS, "vmtemplates", True),
    "asp": (OURS, "autoscalingpolicies", True),
    "vmi": (OURS, "vminstances", True),
    "soe": (OURS, "scaleoutevents", True),
    "secret": ("/api/v1", "secrets", True),
    "lease": ("/apis/coordination.k8s.io/v1", "leases", True),
}


def _path(kind: str, namespace: str) -> str:
    api, plural, namespaced = KINDS[kind]
    return f"{api}/namespaces/{namespace}/{plural}" if namespaced and namespace else f"{api}/{plural}"


class Bench:
    """The data centre with its operator, and short words for what tests do with it."""

    def __init__(self, dc: DataCentre, http: aiohttp.ClientSession) -> None:
        self.dc = dc
        self.http = http
        assert isinstance(dc.cluster, ControlPlane)
        self.control_plane = dc.cluster
        self.tls = ssl.create_default_context(cadata=dc.cluster.ca)
        self.original: dict[str, bytes] = {}
        """What people wrote, before the operator came: file -> bytes."""

    async def until(self, what: str, look: Callable[[], Awaitable[Any]], deadline: float = 150.0) -> Any:
        """The first truthy answer of `look`. Fails with `what`, the last answer and the operator's log after `deadline` seconds."""
        end = asyncio.get_running_loop().time() + deadline
        last: Any = None
        while asyncio.get_running_loop().time() < end:
            last = await look()
            if last:
                return last
            await asyncio.sleep(0.25)
        tail = ""
        if self.dc.operator is not None and self.dc.operator.running:
            os.kill(self.dc.operator.pid, signal.SIGUSR1)  # what its tasks wait for
            await asyncio.sleep(0.5)
            tail = self.dc.operator.tail(150)
        raise AssertionError(f"not seen within {deadline:.0f} s: {what}; last: {last}\n{tail}")

    async def api(self, method: str, path: str) -> Json | None:
        """The API server as the administrator, without starting a kubectl; None for 404."""
        record = self.control_plane.part.record
        headers = {"Authorization": f"Bearer {record['adminToken']}", "Accept": "application/json"}
        async with self.http.request(method, record["server"] + path, headers=headers, ssl=self.tls) as answer:
            if answer.status == 404:
                return None
            assert answer.status < 300, await answer.text()
            found: Json = await answer.json()
            return found

    async def get(self, kind: str, name: str, namespace: str = "acme") -> Json | None:
        """The object, or None."""
        return await self.api("GET", f"{_path(kind, namespace)}/{name}")

    async def list(self, kind: str) -> list[Json]:
        """All objects of a kind."""
        found = await self.api("GET", _path(kind, ""))
        items: list[Json] = (found or {})["items"]
        return items

    async def condition(self, kind: str, name: str, type_: str, namespace: str = "acme") -> Json | None:
        """A condition of an object."""
        found = await self.get(kind, name, namespace)
        conditions = (found or {}).get("status", {}).get("conditions", [])
        return next((c for c in conditions if c["type"] == type_), None)

    async def policy(self, name: str, first: int, last: int, *, namespace: str = "acme", **changes: Any) -> None:
        """Apply a policy of this name with the range .first to .last; `changes` go into its spec one level deep, None takes a field out."""
        document = resources.policy(self.dc.run) if self.dc.run else {}
        document["metadata"] |= {"name": name, "namespace": namespace}
        spec, net = document["spec"], self.dc.subnet
        spec["scaling"] |= {"maxInstances": 10, "cooldownPeriod": "1h"}  # no second event, however long a test looks at the first
        spec["timeouts"] |= PATIENT
        spec["network"]["ipPool"] |= {"start": net.address(first), "end": net.address(last)}
        for key, value in changes.items():
            old = spec.get(key)
            spec[key] = {k: v for k, v in {**old, **value}.items() if v is not None} if isinstance(old, dict) else value
        await self.dc.cluster.apply_objects(document)

    async def ready(self, policy: str) -> None:
        """Wait until the policy is Ready."""

        seen: list[Json] = []

        async def look() -> bool:
            condition = await self.condition("asp", policy, "Ready")
            seen[:] = [condition or {}]
            return condition is not None and condition["status"] == "True"

        try:
            await self.until(f"policy {policy} Ready", look)
        except AssertionError as error:
            raise AssertionError(f"{seen}: {error}") from None

    async def alert(self, policy: str, *, firing: bool = True) -> None:
        """An alert of the policy, as Prometheus would send it, straight to Alertmanager; or its end."""
        now = datetime.now(UTC)  # noqa: TID251 - Alertmanager takes wall-clock times
        labels = {
            "alertname": "VmscalerHighCpu",
            "vmscaler_policy": f"acme/{policy}",
            "vmscaler_site": "default",
            "service": policy,
            "customer": "acme",
        }
        ends = now + timedelta(minutes=10) if firing else now
        body = [
            {
                "labels": labels,
                "annotations": {"summary": "made by a test", "value": "95"},
                "startsAt": (now - timedelta(seconds=1)).isoformat(),
                "endsAt": ends.isoformat(),
            }
        ]
        url = self.dc.parts["monitoring"].record["alertmanager"]["url"]
        async with self.http.post(f"{url}/api/v2/alerts", json=body) as answer:
            assert answer.status == 200, await answer.text()

    async def events(self, policy: str) -> list[Json]:
        """The policy's events, oldest first."""
        found = [e for e in await self.list("soe") if e["spec"]["policyRef"]["name"] == policy]
        return sorted(found, key=lambda e: int(e["spec"]["sequence"]))

    async def event_over(self, policy: str, number: int = 1, deadline: float = 240.0) -> Json:
        """The policy's event of this number (from 1), once it is over."""

        async def look() -> Json | None:
            events = await self.events(policy)
            if len(events) >= number and events[number - 1].get("status", {}).get("phase") in FINAL:
                return events[number - 1]
            return None

        found: Json = await self.until(f"event {number} of {policy} over", look, deadline)
        return found

    async def vms(self) -> dict[str, Json]:
        """The simulator's VMs by name."""
        answer = await self.dc.control("vcenter", "GET", "/vms")
        return {vm["name"]: vm for vm in answer["vms"]}

    async def bigip(self) -> Json:
        """The BIG-IP's status."""
        found: Json = await self.dc.control("bigip", "GET", "/status")
        return found

    async def members(self) -> dict[str, Json]:
        """The pool's members by `address:port`."""
        pool = (await self.bigip())["pools"]["/Common/pool-web"]
        return {name.rpartition("/")[2]: member for name, member in pool["members"].items()}

    async def nothing_left(self, policy: str, event: Json) -> None:
        """No VM, member, node of the event; its lease is gone or rests; the policy is free."""
        names = set(event["spec"]["instances"])
        assert not names & set(await self.vms()), "a VM is left"
        assert not [v for v in await self.list("vmi") if v["metadata"]["name"] in names], "a VmInstance is left"
        leases = [lease for lease in await self.list("ipl") if lease["spec"]["holder"]["name"] in names]
        assert all(lease["status"]["phase"] == "Quarantined" for lease in leases), leases
        addresses = {lease["spec"]["address"] for lease in leases}
        addresses |= {a["address"] for a in event["status"].get("actions", []) if a.get("address")}
        assert not {m.partition(":")[0] for m in await self.members()} & addresses, "a member is left"
        assert not {n.rpartition("/")[2] for n in (await self.bigip())["nodes"]} & addresses, "a node is left"

        async def free() -> bool:
            found = await self.get("asp", policy)
            return bool(found) and "active" not in (found or {})["status"].get("claim", {})

        await self.until(f"the claim of {policy} cleared", free)

    async def hosts_file(self, name: str) -> bytes:
        """prometheus.yml or alertmanager.yml as it is on the monitoring host."""
        path = self.dc.parts["monitoring"].record[name]["configFile"]
        return await asyncio.to_thread(Path(path).read_bytes)
