"""A failure at each stage ends in a Failed event with stage and cause, and nothing is left. All at once, each in a policy of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.e2e.bench import Bench

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

# policy -> (first and last address, spec, stage, reason)
CASES = {
    "f-address": ((100, 100), {}, "allocate", "NoAddressFree"),
    "f-clone": ((101, 101), {}, "clone", "CloneFailed"),
    "f-boot": ((102, 102), {"timeouts": {"boot": "4s"}}, "verify", "NeverBooted"),
    "f-health": ((103, 103), {"timeouts": {"health": "3s"}}, "verify", "Unhealthy"),
    "f-member": ((104, 104), {"timeouts": {"member": "4s"}}, "join", "JoinTimeout"),
    "f-abort": ((105, 105), {}, "verify", "BuildAborted"),
}


async def test_a_failure_at_each_stage_leaves_nothing(bench: Bench) -> None:
    net = bench.dc.subnet
    await bench.dc.faults(
        "vcenter",
        {"tasks": [{"method": "CloneVM_Task", "entity": "f-clone-*", "effect": "fault", "fault": "InsufficientResourcesFault"}]},
    )
    await bench.dc.faults("guests", {"neverBoot": ["f-boot-*", "f-abort-*"], "healthFails": ["f-health-*"]})
    await bench.dc.faults("bigip", {"member_stuck": f"{net.address(104)}:8080"})
    squatter = await asyncio.start_server(lambda r, w: w.close(), net.address(100), 8080)
    try:
        for name, ((first, last), changes, _, _) in CASES.items():
            await bench.policy(name, first, last, **changes)
        for name in CASES:
            await bench.ready(name)
        for name in CASES:
            await bench.alert(name)
        await _abort(bench, "f-abort")
        for name, (_, _, stage, reason) in CASES.items():
            event = await bench.event_over(name)
            for_people = (event["status"]["phase"], event["status"]["failedStage"], event["status"]["reason"])
            assert for_people == ("Failed", stage, reason), event["status"]
            assert event["status"]["rollback"]["finishedAt"], event["status"]
            assert event["status"]["duration"]
            await bench.nothing_left(name, event)
            await bench.alert(name, firing=False)
    finally:
        squatter.close()
        for name in CASES:
            await bench.dc.cluster.kubectl("delete", "asp", name, "-n", "acme", "--wait=false", "--ignore-not-found")


async def _abort(bench: Bench, policy: str) -> None:
    """As a person does: the red button of the build, once it verifies. Not every build is the first: a claim may have been refused before."""

    async def verifying() -> Any:
        events = await bench.events(policy)
        return events[0]["spec"]["build"] if events and events[0].get("status", {}).get("stage") == "verify" else None

    build = await bench.until(f"{policy} verifies", verifying)
    url = f"{bench.dc.parts['jenkins'].record['url'].rstrip('/')}/job/{build['job']}/{build['number']}/stop"
    async with bench.http.post(url, headers=bench.dc.jenkins_login(), ssl=bench.dc.client_context(), allow_redirects=False) as answer:
        assert answer.status in (200, 302), answer.status


async def test_bigip_503_for_the_whole_join_limit(bench: Bench) -> None:
    await bench.policy("f-503", 106, 106, timeouts={"member": "4s"})
    await bench.ready("f-503")
    await bench.dc.faults("guests", {"neverBoot": ["f-503-*"]})  # until the BIG-IP is away
    await bench.alert("f-503")

    async def booting() -> bool:
        events = await bench.events("f-503")
        return bool(events) and events[0].get("status", {}).get("stage") == "verify"

    await bench.until("f-503 verifies", booting)
    await bench.dc.faults("bigip", {"http_503": True})
    await bench.dc.faults("guests", {})

    async def rolling_back() -> bool:
        return (await bench.events("f-503"))[0]["status"]["phase"] == "RollingBack"

    await bench.until("f-503 rolls back while the BIG-IP is away", rolling_back)
    await bench.dc.faults("bigip", {})
    event = await bench.event_over("f-503")
    assert (event["status"]["phase"], event["status"]["failedStage"], event["status"]["reason"]) == ("Failed", "join", "JoinTimeout")
    assert "503" in event["status"]["message"]
    await bench.nothing_left("f-503", event)
    await bench.alert("f-503", firing=False)
    await bench.dc.cluster.kubectl("delete", "asp", "f-503", "-n", "acme", "--wait=false")
