# ruff: noqa: ASYNC240 - small files, and nothing else runs on a test's loop
"""The lab's monitoring host, judged by promtool, amtool and the real Prometheus and Alertmanager themselves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from tests.contract.monitoring_bench import VMS, Monitoring, eventually, monitoring_bench

from lab.process import Part

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def healed(lab_monitoring: Monitoring) -> AsyncIterator[None]:
    yield
    await lab_monitoring.faults()


# What people wrote


async def test_the_checkers_accept_what_people_wrote(lab_monitoring: Monitoring) -> None:
    prometheus, alertmanager = lab_monitoring.record["prometheus"], lab_monitoring.record["alertmanager"]
    status, printed = await lab_monitoring.run(prometheus["promtool"], "check", "config", prometheus["configFile"])
    assert status == 0, printed
    assert "rules found" in printed  # the included rule file was read too
    status, printed = await lab_monitoring.run(alertmanager["amtool"], "check-config", alertmanager["configFile"])
    assert status == 0, printed


async def test_the_products_folders_are_there_empty_and_unknown_to_people(lab_monitoring: Monitoring) -> None:
    record = lab_monitoring.record
    written = Path(record["prometheus"]["configFile"]).read_text() + Path(record["alertmanager"]["configFile"]).read_text()
    for folder in (record["prometheus"]["rulesDir"], record["prometheus"]["targetsDir"], record["alertmanager"]["tokensDir"]):
        assert list(Path(folder).iterdir()) == []
        assert Path(folder).stat().st_uid == os.getuid()
    assert "vmscaler" not in written


async def test_a_persons_edit_adds_one_line_and_nothing_else(lab_monitoring: Monitoring) -> None:
    path = Path(lab_monitoring.record["alertmanager"]["configFile"])
    before, mode = path.read_bytes(), path.stat().st_mode
    try:
        status, _ = await lab_monitoring.control("POST", "/people-edit", {"file": "alertmanager", "comment": "Kim was here"})
        assert status == 200
        assert path.read_bytes() == before + b"# Kim was here\n"
        assert path.stat().st_mode == mode
    finally:
        path.write_bytes(before)
    for wrong in ({"file": "passwd", "comment": "x"}, {"file": "alertmanager", "comment": "x\nroute:"}, {"file": "alertmanager"}):
        assert (await lab_monitoring.control("POST", "/people-edit", wrong))[0] == 400
    assert path.read_bytes() == before


# SSH


# What Prometheus and Alertmanager make of it (after SSH: discovery takes them 5 s)


async def test_the_hand_made_vms_are_targets_with_peoples_labels(lab_monitoring: Monitoring) -> None:
    async def targets() -> list[Any]:
        answer = await lab_monitoring.get(f"{lab_monitoring.prometheus}/api/v1/targets?state=active")
        found = [one for one in answer["data"]["activeTargets"] if one["labels"]["job"] == "acme-web"]
        return found if all(one["health"] != "unknown" for one in found) else []

    found = await eventually(targets, "the job acme-web has been scraped")
    assert {one["labels"]["instance"] for one in found} == {f"{address}:9100" for address in VMS}
    assert {one["labels"]["customer"] for one in found} == {"acme"}


async def test_a_rule_fires_through_alertmanager_to_people_and_a_target_file_needs_no_reload(lab_monitoring: Monitoring) -> None:
    etc = Path(lab_monitoring.record["prometheus"]["configFile"]).parent
    rules = {"groups": [{"name": "test", "rules": [{"alert": "FromATest", "expr": "vector(1)", "labels": {"customer": "acme"}}]}]}
    targets = etc / "targets" / "billing-2.yml"

    async def notified() -> list[Any]:
        _, all_of_them = await lab_monitoring.control("GET", "/notifications")
        return [one for one in all_of_them if one["body"]["commonLabels"].get("alertname") == "FromATest"]

    async def seen() -> bool:
        answer = await lab_monitoring.get(f"{lab_monitoring.prometheus}/api/v1/targets?state=active")
        return any(one["labels"].get("added") == "by-a-test" for one in answer["data"]["activeTargets"])

    async with lab_monitoring.file(etc / "rules" / "from-a-test.yml", json.dumps(rules)):
        targets.write_text(json.dumps([{"targets": ["127.0.0.77:9"], "labels": {"added": "by-a-test"}}]))
        try:
            notifications, _ = await asyncio.gather(
                eventually(notified, "the notification arrived"), eventually(seen, "the new target is there")
            )
        finally:
            targets.unlink()
    first = notifications[0]
    assert first["receiver"] == "acme-oncall"
    assert first["body"]["version"] == "4"
    assert first["body"]["status"] == "firing"
    _, later = await lab_monitoring.control("GET", f"/notifications?since={first['number']}")
    assert all(one["number"] > first["number"] for one in later)


async def test_the_watchdog_reaches_its_own_receiver(lab_monitoring: Monitoring) -> None:
    async def receivers() -> bool:
        _, notifications = await lab_monitoring.control("GET", "/notifications")
        return "deadman" in {one["receiver"] for one in notifications}

    await eventually(receivers, "the dead man's switch arrived")


# Faults


async def test_a_prometheus_that_is_down_or_hangs_or_forbids_reloads(lab_monitoring: Monitoring) -> None:
    ready, reload = f"{lab_monitoring.prometheus}/-/ready", lab_monitoring.record["prometheus"]["reloadUrl"]
    await lab_monitoring.faults(prometheus="noReload")
    assert await lab_monitoring.status_of("POST", reload) == 403
    assert await lab_monitoring.status_of("GET", ready) == 200
    await lab_monitoring.faults(prometheus="down")
    assert await lab_monitoring.status_of("GET", ready) == "refused"
    await lab_monitoring.faults(prometheus="hangs")
    assert await lab_monitoring.status_of("GET", ready, seconds=0.3) == "hangs"
    await lab_monitoring.faults()
    assert await lab_monitoring.status_of("POST", reload) == 200


async def test_an_alertmanager_that_is_down_or_hangs(lab_monitoring: Monitoring) -> None:
    ready = f"{lab_monitoring.alertmanager}/-/ready"
    await lab_monitoring.faults(alertmanager="hangs")
    assert await lab_monitoring.status_of("GET", ready, seconds=0.3) == "hangs"
    await lab_monitoring.faults(alertmanager="down")
    assert await lab_monitoring.status_of("GET", ready) == "refused"
    await lab_monitoring.faults()
    assert await lab_monitoring.status_of("POST", lab_monitoring.record["alertmanager"]["reloadUrl"]) == 200


@pytest.mark.parametrize(("system", "name"), [("prometheus", "promtool"), ("alertmanager", "amtool")])
async def test_a_checker_that_fails_or_is_missing(lab_monitoring: Monitoring, system: str, name: str) -> None:
    path = lab_monitoring.record[system][name]
    await lab_monitoring.faults(**{name: "fails"})
    assert (await lab_monitoring.run(path, "--version"))[0] == 1
    await lab_monitoring.faults(**{name: "missing"})
    assert (await lab_monitoring.run(path, "--version"))[0] == 127
    await lab_monitoring.faults()
    assert (await lab_monitoring.run(path, "--version"))[0] == 0


@pytest.mark.parametrize("wanted", [{"nfs": "down"}, {"sshd": "noReload"}, {"sshd": True}, ["sshd"], {"sshd": "down", "amtool": "?"}])
async def test_an_unknown_fault_is_refused_and_changes_nothing(lab_monitoring: Monitoring, wanted: object) -> None:
    status, answer = await lab_monitoring.control("PUT", "/faults", wanted)
    assert status == 400
    assert set(answer["known"]) == {"sshd", "prometheus", "alertmanager", "promtool", "amtool"}
    assert await lab_monitoring.control("GET", "/faults") == (200, {})
    async with lab_monitoring.ssh():
        pass


@pytest.mark.parametrize("name", ["sshd", "prometheus", "alertmanager"])
async def test_a_restart_is_another_process_at_the_same_address(lab_monitoring: Monitoring, name: str) -> None:
    _, before = await lab_monitoring.control("GET", "/status")
    status, after = await lab_monitoring.control("POST", "/restart", {"name": name})
    assert status == 200
    assert after[name]["state"] == "running"
    assert after[name]["pid"] != before[name]["pid"]
    assert (await lab_monitoring.run("true"))[0] == 0
    assert (await lab_monitoring.control("POST", "/restart", {"name": "init"}))[0] == 400


# The end


async def test_nothing_is_left_when_it_ends(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as client:
        async with monitoring_bench(tmp_path) as host:
            held = await client.enter_async_context(host.ssh())
            await held.create_process("sleep 300")
            _, status = await host.control("GET", "/status")
            left = children(status)
            assert len(left) >= 4  # the three, and the session below sshd; that of its own first log-in may be there yet
            await host.faults(prometheus="hangs")
        await eventually(lambda: gone(left), "no child is left, though the client did not hang up")


async def test_nothing_is_left_when_it_is_killed(tmp_path: Path) -> None:
    part = Part("monitoring", {"folder": str(tmp_path), "vms": list(VMS)}, folder=tmp_path, deadline=300)
    await part.start()
    left = psutil.Process(part.pid).children(recursive=True)
    assert len(left) >= 3  # the session of its own first log-in may be there yet
    await part.kill()
    await eventually(lambda: gone(left), "no child is left")


async def gone(processes: list[psutil.Process]) -> bool:
    """Whether all have ended; it is for their new parent to reap them, and that of a container may take its time."""

    def alive(one: psutil.Process) -> bool:
        try:
            return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return not any(map(alive, processes))


def children(status: dict[str, Any]) -> list[psutil.Process]:
    """The three programs and, of what is below them, the first (an sshd's session)."""
    processes = [psutil.Process(status[name]["pid"]) for name in ("sshd", "prometheus", "alertmanager")]
    return processes + [one for each in processes for one in each.children()]
