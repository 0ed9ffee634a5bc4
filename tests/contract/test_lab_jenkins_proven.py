"""The proven job in the lab's Jenkins, as it is: the table of proven/README.md; and what it says of stops, post and lost shells.

Jenkins' waits are shorter: its 5 s until TERM is sent again are 1 s, its 20 s until it gives up are 5 s. A `sleep` of the proven job waits for the test.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.lab_jenkins_replay import ADMIN, RECORDINGS, Lab, job_xml, write_sleep

from lab.jenkins.family import lives
from lab.process import Part

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not RECORDINGS.exists(), reason="../shared/recordings is not beside this clone")]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    gates = tmp_path / "gates"
    tools = write_sleep(tmp_path / "tools", gates, ["autoscale-acme-web"], 0.05, unscaled=("e5-timeout3", "e5-ign"))
    config = {
        "home": str(tmp_path / "home"),
        "users": [{"user": "admin", "password": "sample-password", "token": ADMIN[1]}],
        "executors": 50,
        "queue_scan": 0.2,
        "build_start": 0,
        "stop_again": 1,
        "stop_wait": 5,
        "offer_force": 2,
        "timeout_grace": 3,
        "path": [str(tools)],
        "path_map": {"/var/jenkins_home": str(tmp_path / "vjh")},
    }
    async with Part("jenkins", config, folder=tmp_path) as part:
        yield Lab(part.record["url"], tmp_path, gates)


def install_stub(lab: Lab) -> Path:
    """proven/stub-step.sh where the Jenkinsfile expects it; `path_map` leads there."""
    stub = lab.folder / "vjh" / "stub"
    stub.mkdir(parents=True)
    script = (RECORDINGS / "proven" / "stub-step.sh").read_text().replace("/var/jenkins_home", str(lab.folder / "vjh"))
    (stub / "step").write_text(script)
    (stub / "step").chmod(0o755)
    return stub


PROVEN = [
    # mode, stopped at, result, description, steps: the table of proven/README.md
    ("accept", None, "SUCCESS", "web-out-{n}", "claim allocate clone verify join finish report"),
    ("refuse", None, "NOT_BUILT", "cooldown: 40 s left", "claim report"),
    ("crash", None, "FAILURE", None, "claim report rollback"),
    ("fail-clone", None, "FAILURE", "web-out-{n}", "claim allocate clone report rollback"),
    ("slow-clone", "clone", "ABORTED", "web-out-{n}", "claim allocate clone report rollback"),
    ("slow-claim", "claim", "ABORTED", None, "claim report rollback"),
]


def run_proven(lab: Lab) -> None:
    stub = install_stub(lab)
    lab.credential("sample-hook-token", "sample-hook-secret")
    lab.credential("sample-gateway-token", "sample-gateway-secret")
    config = (RECORDINGS / "proven" / "config.xml").read_text()
    assert (RECORDINGS / "proven" / "Jenkinsfile").read_text() in config  # as it is
    lab.create("autoscale-acme-web", config)
    job, headers = "job/autoscale-acme-web", {"Authorization": "Bearer sample-hook-secret"}
    payload = {"status": "firing", "commonLabels": {"alertname": "VmscalerHighCpu", "service": "web"}}

    def hook() -> None:
        answer = lab.api.post(f"{lab.url}generic-webhook-trigger/invoke", json=payload, headers=headers, timeout=60)
        assert answer.json()["jobs"]["autoscale-acme-web"]["triggered"]

    for number, (mode, stopped_at, result, description, steps) in enumerate(PROVEN, 1):
        (stub / "mode").write_text(mode)
        (stub / "log").write_text("")
        lab.close_gates()
        hook()
        if stopped_at:
            lab.open_gates(1)
            lab.console_has(f"{job}/{number}", "tick 2\n")
            lab.turn("autoscale-acme-web", number, 2)
            lab.call("POST", f"{job}/{number}/stop")
        lab.settled()
        build = lab.call("GET", f"{job}/{number}/api/json").json()
        assert (build["result"], build["description"]) == (result, description and description.format(n=number)), mode
        ran = [line.split()[2] for line in (stub / "log").read_text().splitlines() if "tick" not in line]
        assert " ".join(ran) == steps, mode
        assert "sample-gateway-secret" not in lab.console(f"{job}/{number}")
        log = lab.folder / "home" / "jobs" / "autoscale-acme-web" / "builds" / str(number) / "log"
        assert b"token=****" in log.read_bytes()
    (stub / "mode").write_text("accept")
    for _ in range(8):
        hook()
    lab.settled()
    builds = lab.call("GET", f"{job}/api/json?tree=builds[number,queueId,result]{{0,8}}").json()["builds"]
    assert [b["result"] for b in builds] == ["SUCCESS"] * 8
    assert [b["queueId"] for b in builds] == sorted((b["queueId"] for b in builds), reverse=True)
    lab.call("POST", f"{job}/build")
    lab.settled()
    assert "status= service= " in lab.console(f"{job}/lastBuild")  # by API: no hook variables


async def test_the_proven_job_runs_unmodified(lab: Lab) -> None:
    await asyncio.to_thread(run_proven, lab)


_STEP = """\
import os, signal, sys, time
terms = 0
def gone(*_):
    global terms
    terms += 1
    with open("terms", "a") as file: file.write("TERM\\n")
    if terms == 1:
        deadline = time.monotonic() + 60
        while terms < 2 and time.monotonic() < deadline: time.sleep(0.02)
        sys.exit(1)
signal.signal(signal.SIGTERM, gone)
open("pid", "w").write(str(os.getpid()))
print("ready", flush=True)
time.sleep(60)
"""


async def test_a_step_that_takes_its_time_gets_term_again_and_ends_before_rollback(lab: Lab) -> None:
    """proven/README.md section 6 (e11-py), at a fifth of the waits."""

    def work() -> None:
        (lab.folder / "step.py").write_text(_STEP)
        command = f"{sys.executable} -S {lab.folder}/step.py; echo never"
        body = f"steps {{ sh '{command}' }} }} }}\n post {{ aborted {{ sh 'cat terms; kill -0 $(cat pid) || echo no child' }} }}"
        lab.create("slow-step", job_xml(f"pipeline {{ agent any\n stages {{ stage('a') {{ {body} }}"))
        lab.call("POST", "job/slow-step/build")
        lab.console_has("job/slow-step/1", "ready\n")
        lab.call("POST", "job/slow-step/1/stop")
        lab.settled()
        console = lab.console("job/slow-step/1")
        assert console.splitlines().count("TERM") == 2, console
        assert "\nno child\n" in console, console

    await asyncio.to_thread(work)


async def test_while_post_runs_the_result_is_set_and_it_builds(lab: Lab) -> None:
    def work() -> None:
        script = "pipeline { agent any\n stages { stage('a') { steps { sh 'exit 7' } } }\n post { failure { sh 'sleep 20' } } }"
        lab.create("autoscale-acme-web", job_xml(script))
        lab.call("POST", "job/autoscale-acme-web/build")
        lab.console_has("job/autoscale-acme-web/1", "+ sleep 20")
        build = lab.call("GET", "job/autoscale-acme-web/1/api/json?tree=result,building").json()
        assert (build["result"], build["building"]) == ("FAILURE", True)
        lab.open_gates(1)
        lab.settled()

    await asyncio.to_thread(work)


async def test_a_shell_that_dies_as_a_whole_goes_unnoticed(lab: Lab) -> None:
    """proven/README.md section 7: the build stays `building`; stop ends it."""

    def work() -> None:
        script = "pipeline { agent any\n stages { stage('a') { steps { sh 'echo $PPID $$ >pids; kill -9 $PPID; kill -9 $$' } } } }"
        lab.create("lost", job_xml(script))
        lab.call("POST", "job/lost/build")
        lab.console_has("job/lost/1", "+ kill -9")
        for pid in (lab.folder / "home" / "workspace" / "lost" / "pids").read_text().split():
            lab.until(f"{pid} is dead", lambda pid=pid: not lives(int(pid)))  # type: ignore[misc]
        assert lab.call("GET", "job/lost/1/api/json?tree=building").json()["building"]
        lab.call("POST", "job/lost/1/stop")
        lab.settled()
        console = lab.console("job/lost/1")
        assert "After 5s process did not stop" in console
        assert console.endswith("Finished: ABORTED\n")

    await asyncio.to_thread(work)
