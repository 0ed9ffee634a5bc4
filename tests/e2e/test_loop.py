"""The closed loop under real load: load rises, the rule fires, a VM joins, the load spreads, the alert resolves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.e2e.bench import PATIENT, Bench

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

SHOWN = "site,vmt,asp,vmi,ipl,soe"


async def test_load_makes_a_vm_and_the_alert_resolves(bench: Bench) -> None:
    await bench.dc.apply_policy(scaling={"cooldownPeriod": "1h"}, timeouts=PATIENT)
    await bench.ready("web")
    await bench.dc.rate(42)  # of 40 that two VMs serve; three serve 60
    event = await bench.event_over("web")
    assert event["status"]["phase"] == "Succeeded", event["status"]
    assert event["spec"]["cause"]["alert"] == "VmscalerHighCpu"
    assert float(event["spec"]["cause"]["value"]) > 80
    actions = {action["name"]: action for action in event["status"]["actions"]}
    assert [a["state"] for a in actions.values()] == ["Done"] * len(actions), actions
    assert actions["address"]["address"] == bench.dc.subnet.range_start
    assert actions["vm-creation"]["vmId"].startswith("vm-")
    assert actions["vm-creation"]["vmIp"] == bench.dc.subnet.range_start
    assert actions["f5-pool-add"]["member"] == f"{bench.dc.subnet.range_start}:8080"
    assert actions["f5-pool-add"]["pool"] == "/Common/pool-web"
    assert event["status"]["duration"]
    assert event["spec"]["build"]["url"].endswith(f"/job/autoscale-acme-web/{event['spec']['build']['number']}/")
    instance = event["spec"]["instances"][0]

    async def serves() -> bool:
        vms = (await bench.dc.control("guests", "GET", "/status"))["vms"]
        return any(vm["name"] == instance and vm["served"] > 20 for vm in vms)

    await bench.until("the new VM counts users' requests", serves)

    async def resolved() -> bool:
        url = bench.dc.parts["monitoring"].record["alertmanager"]["url"]
        async with bench.http.get(f"{url}/api/v2/alerts", params={"filter": 'vmscaler_policy="acme/web"'}) as answer:
            return not await answer.json()

    await bench.until("the alert resolves", resolved)
    await bench.until("Prometheus scrapes the new VM under the service's job", lambda: _scraped(bench))
    await bench.dc.rate(0)
    assert len(await bench.events("web")) == 1
    await _columns_fit(bench)
    await _nothing_of_peoples_files_changed(bench)
    # Its range is the whole network's: younger policies of other tests would overlap it.
    await bench.dc.cluster.kubectl("delete", "asp", "web", "-n", "acme", "--timeout=180s")
    await bench.dc.cluster.kubectl("delete", "vmi", instance, "-n", "acme", "--timeout=180s")


async def _scraped(bench: Bench) -> Any:
    url = bench.dc.parts["monitoring"].record["prometheus"]["url"]
    query = {"query": f'up{{job="acme-web",instance="{bench.dc.subnet.range_start}:9100"}} == 1'}
    async with bench.http.get(f"{url}/api/v1/query", params=query) as answer:
        return json.loads(await answer.text())["data"]["result"]


async def _columns_fit(bench: Bench) -> None:
    text = await bench.dc.cluster.kubectl("get", SHOWN, "-A")
    assert max(len(line) for line in text.splitlines()) <= 120, text
    for kind in ("site", "vmtemplate", "autoscalingpolicy", "vminstance", "iplease", "scaleoutevent"):
        assert f"{kind}.vmscaler.io/" in text, text


async def _nothing_of_peoples_files_changed(bench: Bench) -> None:
    """Line by line: what people wrote stands in its order; all else carries our mark's block."""
    for name, original in bench.original.items():
        now = (await bench.hosts_file(name)).splitlines()
        wanted = original.splitlines()
        position = 0
        for line in now:
            if position < len(wanted) and line == wanted[position]:
                position += 1
        assert position == len(wanted), f"{name}: a line of people's is missing or moved: {wanted[position]!r}"
