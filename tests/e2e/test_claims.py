"""What must not make a second VM: a second alert while one runs, the cooldown, the maximum, mode Off and Observe, a hook without an alert."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from typing import Any

import pytest
from tests.e2e.bench import Bench

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]


async def hook_token(bench: Bench, policy: str) -> str:
    """The policy's hook token, as the operator's Secret has it."""
    found = await bench.get("asp", policy)
    assert found is not None
    secret = await bench.get("secret", f"vmscaler-tokens-{found['metadata']['uid']}", "vmscaler-system")
    assert secret is not None
    return base64.b64decode(secret["data"]["hookToken"]).decode()


async def hook(bench: Bench, policy: str) -> None:
    """POST what Alertmanager would, with the right token, whether an alert fires or not."""
    url = f"{bench.dc.parts['jenkins'].record['url'].rstrip('/')}/generic-webhook-trigger/invoke"
    body = {
        "version": "4",
        "status": "firing",
        "groupKey": "{}",
        "commonLabels": {"alertname": "VmscalerHighCpu", "vmscaler_policy": f"acme/{policy}"},
        "alerts": [{"status": "firing", "startsAt": "2026-01-01T00:00:00Z", "fingerprint": "0123456789abcdef", "labels": {}}],
    }
    headers = {"Authorization": f"Bearer {await hook_token(bench, policy)}"}
    async with bench.http.post(url, json=body, headers=headers, ssl=bench.dc.client_context()) as answer:
        assert answer.status == 200, await answer.text()
        assert (await answer.json())["jobs"], "the hook started nothing"


async def explain(bench: Bench, policy: str) -> str:
    """What `vmscaler explain` prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vmscaler.entry.cli",
        "explain",
        policy,
        "-n",
        "acme",
        "--kubeconfig",
        str(bench.dc.cluster.kubeconfig),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def refused(bench: Bench, policy: str, reason: str, *, events: int) -> None:
    """A hook now is answered no with this reason, makes no event, and `explain` and the build say why."""
    await hook(bench, policy)

    async def decision() -> Any:
        found = await bench.get("asp", policy)
        decisions = (found or {})["status"].get("claim", {}).get("decisions", [])
        return decisions[0] if decisions and decisions[0]["reason"] == reason else None

    said = await bench.until(f"{policy} refused with {reason}", decision)
    assert said["accepted"] is False
    assert len(await bench.events(policy)) == events
    text = await explain(bench, policy)
    assert reason in text, text
    assert said["message"][:40] in text, text

    async def not_built() -> bool:
        url = f"{bench.dc.parts['jenkins'].record['url'].rstrip('/')}/job/autoscale-acme-{policy}/lastBuild/api/json"
        async with bench.http.get(url, headers=bench.dc.jenkins_login(), ssl=bench.dc.client_context()) as answer:
            build = await answer.json()
        return build["result"] == "NOT_BUILT" and not build["building"] and bool(build["description"])

    await bench.until(f"the build of {policy} says NOT_BUILT and why", not_built)


async def test_what_makes_no_second_vm(bench: Bench) -> None:
    await bench.policy("c-one", 107, 108)
    await bench.policy("c-off", 109, 109, mode="Observe")
    await bench.ready("c-one")
    await bench.ready("c-off")
    await bench.dc.faults("guests", {"neverBoot": ["c-one-*"]})

    await refused(bench, "c-one", "AlertNotFiring", events=0)
    await bench.alert("c-one")

    async def running() -> bool:
        events = await bench.events("c-one")
        return bool(events) and events[0].get("status", {}).get("stage") == "verify"

    await bench.until("c-one verifies", running)
    # The job runs one build at a time: a second hook waits in the queue until this one is over, then meets the cooldown.
    await hook(bench, "c-one")
    await bench.dc.faults("guests", {})
    event = await bench.event_over("c-one")
    assert event["status"]["phase"] == "Succeeded", event["status"]
    await refused(bench, "c-one", "Cooldown", events=1)

    await bench.alert("c-off")
    await refused(bench, "c-off", "Observing", events=0)
    await bench.policy("c-off", 109, 109, mode="Active", scaling={"maxInstances": 2})
    await refused(bench, "c-off", "AtMaximum", events=0)

    await bench.policy("c-off", 109, 109, mode="Off")

    async def gone() -> bool:
        alertmanager = (await bench.hosts_file("alertmanager")).decode()
        return "vmscaler/acme/c-off" not in alertmanager

    await bench.until("mode Off takes the route away", gone)
    assert len([v for v in await bench.vms() if v.startswith(("c-one", "c-off"))]) == 1
    assert not await bench.events("c-off")
    assert "Off" in await explain(bench, "c-off")
    for policy in ("c-one", "c-off"):
        await bench.alert(policy, firing=False)
        await bench.dc.cluster.kubectl("delete", "asp", policy, "-n", "acme", "--wait=false")
    await bench.dc.cluster.kubectl("delete", "vmi", event["spec"]["instances"][0], "-n", "acme", "--timeout=180s")
