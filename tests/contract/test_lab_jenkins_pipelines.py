"""Pipelines in the lab's Jenkins: the trials of ../shared/recordings/jenkins/12.

12's pipelines run all at once, but for those that have a time limit: they run before, that what has to happen within it has a machine to itself.
Sleeps of the pipelines are a twentieth as long; the time limits that stand in the pipelines are theirs (and the sleeps that outlast such a limit,
or are ended by hand). Of Jenkins' own waits, the 20 s until a process is given up and the 60 s of grace after a time limit are 5 s, the 15 s until
the forced end is offered are 2 s; TERM is sent again after 60 s, not 5 s: on a machine that is busy a `sleep` may need a while to end by the first
one, and with the second the shell gets its first, and runs its trap.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.lab_jenkins_compare import console_differences
from tests.contract.lab_jenkins_replay import ADMIN, RECORDINGS, Lab, job_xml, trigger_xml, write_sleep

from lab.process import Part

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not RECORDINGS.exists(), reason="../shared/recordings is not beside this clone")]

# What the grammar does not know: the build fails, and the console names it.
REFUSED = {
    "e1-b #2": ("catchError", "a step around sh that hides its end; proven/README.md advises against it"),
    "e5-catch #1": ("catchError", "the same"),
    "e1-e #2": ("throw", "Groovy beyond the few lines that claim needs; a real one refuses it too, later, in the sandbox"),
    "e1-h #1": ("currentBuild.rawBuild", "a real one refuses it too, in the sandbox"),
    "e1-i #1": ("timestamps", "a plugin that the shape does without; a real one refuses it with the same words"),
    "e12-noresume #1": ("disableResume", "is about a restart"),
    "e12-perf #1": ("durabilityHint", "is about a restart"),
}
# What needs something else than a run from beginning to end.
ELSEWHERE = {
    "e12-rb #1": "recorded across a restart",
    "e11-py #1": "its Python script is not in the recordings; test_lab_jenkins_proven.py has one that does the same",
    "e4b #4": "the recording is cut in the middle of a value",
}
# (trial, pattern of the lines that differ, reason)
DIFFERENCES = [
    (
        "e4b #7",
        r"^(?: +.)+$",  # the last line is as long as the folder's name lets it be
        "the value holds JENKINS_HOME, which is another folder here, and od prints it letter by letter",
    ),
    ("e5-O #1", r"^\[\$\{UPL\}\].*$", "the same, with each letter moved by tr"),
    ("e5-ign #1", r"^After \d+s process did not stop$", "the wait is shorter"),
]
_HOOK = {"status": "firing", "commonLabels": {"service": "web"}}
_EVIL = {
    "e4b #1": "\x1b[31mred\x1b[0m\x07",
    "e4b #2": "${PATH} $HOME ${env.PATH} $status $service $$ $1",
    "e4b #3": "",
    "e4b #6": "😀 é",
    "e4b #7": "[${TOK}] [$TOK] [$BUILD_NUMBER] [$JOB_NAME] [${JENKINS_HOME}] [${WORKSPACE}] [$PLAIN] [${status}] [$$] [\\$status]",
}
_EVIL["e5-O #1"] = _EVIL["e4b #7"]
_OFFER = "Click here to forcibly terminate running steps\n"
# Their pipelines have `timeout`.
LIMITED = ("e5-L", "e5-M", "e5-timeout", "e5-timeout2", "e5-timeout3")
# The sleeps that show that all is under way.
_STOPPED_IN = {
    "e5-N": ["4734"],
    "e5-P": ["4733"],
    "e5-claimstop": ["4721"],
    "e5-ign": ["70"],
    "e5-setsid": ["4718", "4719", "4720"],
    "e5-stop": ["4712", "4713"],
    "e5-stop2": ["4715"],
    "e5-trap": ["4716"],
}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    gates = tmp_path / "gates"
    tools = write_sleep(tmp_path / "tools", gates, ["autoscale-acme-web"], 0.05, unscaled=("e5-L", "e5-timeout3", "e5-ign", "e5-stop2"))
    config = {
        "home": str(tmp_path / "home"),
        "users": [{"user": "admin", "password": "sample-password", "token": ADMIN[1]}],
        "executors": 50,
        "queue_scan": 0.2,
        "build_start": 0,
        "stop_again": 60,
        "stop_wait": 5,
        "offer_force": 2,
        "timeout_grace": 5,
        "path": [str(tools)],
        "path_map": {"/var/jenkins_home": str(tmp_path / "vjh")},
    }
    async with Part("jenkins", config, folder=tmp_path) as part:
        yield Lab(part.record["url"], tmp_path, gates)


def trials() -> list[dict[str, Any]]:
    """All of 12."""
    found: list[dict[str, Any]] = json.loads((RECORDINGS / "12-pipeline-behaviour.json").read_text())
    return found


def start(lab: Lab, name: str, number: int, pipeline: str) -> None:
    """Make the job (once), and the recorded build of it."""
    keys = (("status", "$.status"), ("service", "$.commonLabels.service"), ("evil", "$.evil"))
    lab.create(name, job_xml(pipeline, trigger=trigger_xml(token=f"sample-{name}", keys=keys)))
    evil = _EVIL.get(f"{name} #{number}")
    if evil is None:
        lab.call("POST", f"job/{name}/build")
    else:
        lab.call("POST", f"generic-webhook-trigger/invoke?token=sample-{name}", json=_HOOK | {"evil": evil})


def stop(lab: Lab, name: str) -> None:
    """As the recorder did: once, and for e5-stop2 again in the rollback."""
    for seconds in _STOPPED_IN[name]:
        lab.sleeps(name, seconds)
    lab.call("POST", f"job/{name}/1/stop")
    if name == "e5-stop2":
        lab.sleeps(name, "30")
        lab.call("POST", f"job/{name}/1/stop")


def recorded_as_first(trial: dict[str, Any]) -> tuple[str, str | None]:
    """Console and description, with the number of a second build as a first one's."""
    number = trial["build"]["number"]
    console, description = trial["consoleText"], trial["build"]["description"]
    if number == 2 and description:
        description = description.replace(", 2", ", 1")
    return (console.replace("left, 2", "left, 1") if number == 2 else console), description


def timeless(console: str) -> str:
    """Without the seconds since 1970 that the pipelines print."""
    return re.sub(r"\b1[78]\d{8}\b", "NOW", console)


def run_trials(lab: Lab) -> list[tuple[str, str]]:
    lab.credential("m-str", "S3cr3t-Tok/en+42=x")
    lab.credential("m-up", "P@ss w'rd\"$1`x`\\z", "svc-user")
    lab.credential("m-short", "ab")
    lab.credential("m-multi", "line-one-secret\nline-two-secret")
    lab.credential("m-dollar", "pa$$w-${JOB_NAME}-$status-\\-$1-x")
    found: list[tuple[str, str]] = []
    for limited in (True, False):
        wave = [trial for trial in trials() if trial["name"] not in ELSEWHERE and (trial["name"].split()[0] in LIMITED) is limited]
        assert all(("timeout(" in trial["pipeline"]) is limited for trial in wave)
        found += run_wave(lab, wave)
    return found


def run_wave(lab: Lab, wave: list[dict[str, Any]]) -> list[tuple[str, str]]:
    running = []
    for trial in wave:
        name = trial["name"].split()[0]
        name = f"{name}-{trial['build']['number']}" if name == "e4b" else name
        if name.startswith("e4b"):
            _EVIL.setdefault(f"{name} #1", _EVIL[trial["name"]])
        start(lab, name, 1, trial["pipeline"])
        running.append((trial, name))
    for _, name in running:
        if name in _STOPPED_IN:
            stop(lab, name)
    lab.settled()
    found: list[tuple[str, str]] = []
    for trial, name in running:
        found += [(trial["name"], text) for text in judge(lab, trial, name)]
    return found


def judge(lab: Lab, trial: dict[str, Any], name: str) -> list[str]:
    """What is different of one trial."""
    build = lab.call("GET", f"job/{name}/1/api/json").json()
    console = timeless(lab.normal(lab.console(f"job/{name}/1")))
    if refused := REFUSED.get(trial["name"]):
        assert build["result"] == "FAILURE", trial["name"]
        assert refused[0] in console, console
        assert "[Pipeline]" not in console  # not one step ran
        return []
    wanted, description = recorded_as_first(trial)
    wanted = timeless(wanted)
    if name.startswith("e4b"):
        wanted = wanted.replace("/workspace/e4b", f"/workspace/{name}")
        wanted = wanted.replace("[7] [e4b]", f"[1] [{name}]")
    if name == "e5-P":
        assert _OFFER in console
    # When it comes among the other lines, and whether a quicker stop still sees it, depends on how busy this machine is.
    wanted, console = (text.replace(_OFFER, "") for text in (wanted, console))
    for _, pattern, _ in (d for d in DIFFERENCES if d[0] == trial["name"]):
        lines = re.compile(pattern, re.MULTILINE)
        assert lines.findall(wanted) != lines.findall(console), f"{trial['name']}: listed, but the lab now does as recorded: {pattern}"
        wanted, console = (lines.sub("", text) for text in (wanted, console))
    found = [] if build["result"] == trial["build"]["result"] else [f"result: {trial['build']['result']} -> {build['result']}"]
    if build["description"] != description:
        found.append(f"description: {description} -> {build['description']}")
    return found + console_differences(wanted, console)


async def test_each_recorded_trial_ends_as_there(lab: Lab) -> None:
    found = await asyncio.to_thread(run_trials, lab)
    assert not found, "\n".join(f"{name}: {text[:500]}" for name, text in found)
    names = {trial["name"] for trial in trials()}
    assert names >= REFUSED.keys() | ELSEWHERE.keys()
