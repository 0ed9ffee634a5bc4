"""What goes and what stays when a policy, an instance or the Site is deleted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.e2e.bench import Bench

from lab import resources
from lab.process import Json
from vmscaler.decide.monitoring_files import without_entries
from vmscaler.decide.splice import YamlFile

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

STORE = "credentials/store/system/domain/_"


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def alone(bench: Bench) -> AsyncIterator[None]:
    """No policy, instance or lease of another test: files are compared byte for byte. The rest of used addresses is short."""
    await bench.dc.cluster.kubectl("delete", "asp", "--all", "-A", "--timeout=180s")
    await bench.dc.cluster.kubectl("delete", "vmi", "--all", "-A", "--timeout=180s")
    await bench.dc.cluster.kubectl("delete", "ipl", "--all", "--timeout=180s")
    assert bench.dc.run is not None
    site = resources.site(bench.dc.run)
    site["spec"]["addressQuarantine"] = "2s"
    await bench.dc.cluster.apply_objects(site)
    yield
    await bench.dc.apply_site()


async def delete(bench: Bench, kind: str, name: str) -> None:
    """Ask for it, and wait for nothing."""
    await bench.dc.cluster.kubectl("delete", kind, name, *([] if kind == "site" else ["-n", "acme"]), "--wait=false")


async def absent(bench: Bench, kind: str, name: str, deadline: float = 150.0) -> None:
    """Wait until the object is gone."""

    async def look() -> bool:
        return await bench.get(kind, name) is None

    await bench.until(f"{kind} {name} is gone", look, deadline)


async def scaled_out(bench: Bench, policy: str) -> Json:
    """One scale-out of the policy: its VmInstance."""
    await bench.ready(policy)
    await bench.alert(policy)
    event = await bench.event_over(policy)
    await bench.alert(policy, firing=False)
    assert event["status"]["phase"] == "Succeeded", event["status"]
    found = await bench.get("vmi", event["spec"]["instances"][0])
    assert found is not None
    return found


def files(bench: Bench, policy: str) -> dict[str, Path]:
    """The files of our own that a policy has on the monitoring host."""
    record = bench.dc.parts["monitoring"].record
    return {
        "rules": Path(record["prometheus"]["rulesDir"]) / f"vmscaler-acme.{policy}.yml",
        "targets": Path(record["prometheus"]["targetsDir"]) / f"vmscaler-acme.{policy}.json",
        "token": Path(record["alertmanager"]["tokensDir"]) / f"vmscaler-acme.{policy}.token",
    }


async def jenkins(bench: Bench, path: str) -> int:
    """The status of a GET at Jenkins."""
    url = f"{bench.dc.parts['jenkins'].record['url'].rstrip('/')}/{path}"
    async with bench.http.get(url, headers=bench.dc.jenkins_login(), ssl=bench.dc.client_context()) as answer:
        return answer.status


async def up(bench: Bench, address: str) -> Any:
    """Whether Prometheus scrapes the address well, under the job label of the hand-made VMs."""
    url = bench.dc.parts["monitoring"].record["prometheus"]["url"]
    query = {"query": f'up{{job="acme-web",instance="{address}:9100"}} == 1'}
    async with bench.http.get(f"{url}/api/v1/query", params=query) as answer:
        return json.loads(await answer.text())["data"]["result"]


async def people(bench: Bench, *, entries: bool) -> None:
    """Both files are what people wrote, byte for byte; with `entries`, the Site's two in prometheus.yml are there and all of ours."""
    rules = f"{bench.dc.parts['monitoring'].record['prometheus']['rulesDir']}/vmscaler-*.yml"
    assert await bench.hosts_file("alertmanager") == bench.original["alertmanager"]
    now = await bench.hosts_file("prometheus")
    assert (now != bench.original["prometheus"]) is entries
    assert without_entries(YamlFile(now), rules).content == bench.original["prometheus"]


class Connection:
    """A user's connection through the VIP, kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, bench: Bench, vm: str) -> Connection:
        """One that the BIG-IP gave to this VM: they take turns."""
        for _ in range(12):
            connection = cls(*await asyncio.open_connection(bench.dc.subnet.vip, 8080))
            if await connection.ask() == vm:
                return connection
            await connection.close()
        raise AssertionError(f"no connection through the VIP came to {vm}")

    async def ask(self) -> str:
        """The name of the VM that answers."""
        self._writer.write(b"GET /stats HTTP/1.1\r\nHost: web\r\n\r\n")
        async with asyncio.timeout(60):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length:")[2].split()[0])
            answer: Json = json.loads(await self._reader.readexactly(length))
        return str(answer["vm"])

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def test_a_policy_goes_and_its_instance_stays_until_it_is_deleted(bench: Bench) -> None:
    await bench.policy("r-keep", 113, 113, timeouts={"drain": "10m"})
    await bench.policy("r-destroy", 114, 114, deletionPolicy="Destroy")
    kept, doomed = await asyncio.gather(scaled_out(bench, "r-keep"), scaled_out(bench, "r-destroy"))
    policy = await bench.get("asp", "r-keep")
    assert policy is not None
    uid, name, address = policy["metadata"]["uid"], kept["metadata"]["name"], kept["status"]["address"]
    wired = files(bench, "r-keep")
    assert all(path.exists() for path in wired.values())
    assert await jenkins(bench, f"{STORE}/credential/vmscaler-hook-{uid}/api/json") == 200
    assert await jenkins(bench, "job/autoscale-acme-r-keep/api/json") == 200
    await bench.until("Prometheus scrapes the new VM", lambda: up(bench, address))

    await asyncio.gather(delete(bench, "asp", "r-keep"), delete(bench, "asp", "r-destroy"))
    await asyncio.gather(absent(bench, "asp", "r-keep"), absent(bench, "asp", "r-destroy"))
    await people(bench, entries=True)
    assert {what for what, path in wired.items() if path.exists()} == {"targets"}
    for path in ("job/autoscale-acme-r-keep", *(f"{STORE}/credential/vmscaler-{kind}-{uid}" for kind in ("hook", "step"))):
        assert await jenkins(bench, f"{path}/api/json") == 404, path
    assert await bench.get("secret", f"vmscaler-tokens-{uid}", "vmscaler-system") is None
    # Destroy: the instances went first.
    assert await bench.get("vmi", doomed["metadata"]["name"]) is None
    assert doomed["metadata"]["name"] not in await bench.vms()
    assert f"{doomed['status']['address']}:8080" not in await bench.members()
    assert not [path for path in files(bench, "r-destroy").values() if path.exists()]
    # Retain: in service and scraped.
    assert name in await bench.vms()
    assert (await bench.members())[f"{address}:8080"]["session"] == "monitor-enabled"
    await bench.until("the VM that stays is still scraped", lambda: up(bench, address))

    await _drained(bench, name, address)
    assert not wired["targets"].exists()
    await people(bench, entries=True)


async def _drained(bench: Bench, name: str, address: str) -> None:
    """The instance goes: its open connection is let finish first."""
    member = f"{address}:8080"
    connection = await Connection.to(bench, name)
    await delete(bench, "vmi", name)

    async def draining() -> bool:
        found = (await bench.members()).get(member)
        assert found, f"{member} left the pool while a user's connection was open"
        return bool(found["session"] == "user-disabled")

    await bench.until(f"{member} drains", draining)
    assert await connection.ask() == name
    for _ in range(4):
        other = Connection(*await asyncio.open_connection(bench.dc.subnet.vip, 8080))
        assert await other.ask() != name, "a new connection came to a member that drains"
        await other.close()
    assert await connection.ask() == name
    assert name in await bench.vms()
    lease = await bench.get("ipl", f"default.frontend.{address}", "")
    assert lease is not None
    assert lease["status"]["phase"] == "Leased"
    await connection.close()
    await absent(bench, "vmi", name)
    assert name not in await bench.vms()
    assert member not in await bench.members()
    assert not [node for node in (await bench.bigip())["nodes"] if node.endswith(f"/{address}")]
    await absent(bench, "ipl", f"default.frontend.{address}")


async def test_the_site_goes_when_nothing_uses_it_and_takes_its_entries_along(bench: Bench) -> None:
    await bench.policy("r-site", 115, 115)
    await bench.ready("r-site")
    await people_with_a_route(bench)
    await delete(bench, "site", "default")

    async def held() -> bool:
        found = await bench.condition("site", "default", "Ready", "")
        return found is not None and found["reason"] == "InUse" and "policy acme/r-site: delete those first" in found["message"]

    await bench.until("the Site is held and says by what", held)
    await delete(bench, "asp", "r-site")
    await absent(bench, "asp", "r-site")
    await absent(bench, "site", "default")
    await people(bench, entries=False)
    await bench.dc.apply_site()

    async def back() -> bool:
        found = await bench.condition("site", "default", "Ready", "")
        return found is not None and found["status"] == "True"

    await bench.until("the Site is Ready again", back)


async def people_with_a_route(bench: Bench) -> None:
    """While a policy is wired, both files differ from what people wrote: the comparisons above can fail."""
    for name in ("prometheus", "alertmanager"):
        assert await bench.hosts_file(name) != bench.original[name]
