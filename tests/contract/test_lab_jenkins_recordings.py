"""The lab's Jenkins against recordings of a real one (../shared/recordings/jenkins 01 to 07): each request again, status, headers and body compared.

What happened between the recorded requests (jobs made, builds awaited) stands in lab_jenkins_between.BEFORE. Every difference stands in DIFFERENCES with its reason: an
unlisted one fails, and so does a listed one that no longer occurs. Time is shortened by a `sleep` of our own on the agent's PATH.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.lab_jenkins_between import BEFORE, RENUMBER, recording
from tests.contract.lab_jenkins_compare import differences, shape
from tests.contract.lab_jenkins_replay import ADMIN, RECORDINGS, Lab, write_sleep

from lab.process import Part

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not RECORDINGS.exists(), reason="../shared/recordings is not beside this clone")]

# (file, index, pattern of the difference, reason)
DIFFERENCES: list[tuple[str, int, str, str]] = [
    ("03", 18, r"executors\[\d\]\.number: ", "the lab lists executors by number, a real one as they were last used"),
    ("05", 6, r"^(header|title)", "a page that is nowhere: a real one answers this path below a build with a bare 404"),
    ("06", 29, r"<string>DRY</string>", "declarative's own list of parameter names is a set there, with no order"),
    (
        "06",
        36,
        r"^\.items\[0\]\.(_class|blocked|buildable|why): ",
        "recorded in the moment in which Jenkins thought the build dead and withdrew its node; usually it waits as buildable, saying why",
    ),
]
# Taken while builds went on: keys and types are compared, not how far they were.
WHILE_RUNNING = {
    ("05", 48): "the lab needs less time for a build than the recorded machine: more or fewer of them are done",
    ("05", 49): "the same: more or fewer of them still wait",
}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    gates = tmp_path / "gates"
    gated = ["rec-slow", "q-a", "q-b", "autoscale-acme-web"]
    tools = write_sleep(tmp_path / "tools", gates, gated, 0.05)
    config = {
        "home": str(tmp_path / "home"),
        "users": [
            {"user": "admin", "password": "sample-password", "token": ADMIN[1]},
            {"user": "reader", "password": "sample-password-2", "token": "sample-api-token-2"},
        ],
        "executors": 4,
        "queue_scan": 0.2,
        "path": [str(tools)],
        "path_map": {"/var/jenkins_home": str(tmp_path / "vjh")},
    }
    async with Part("jenkins", config, folder=tmp_path) as part:
        yield Lab(part.record["url"], tmp_path, gates)


def replay(lab: Lab, number: str) -> list[tuple[str, int, str]]:
    """Each request of one file; what is different."""
    found = []
    for index, entry in enumerate(recording(number)):
        if prepare := BEFORE.get((number, index)):
            prepare(lab)
        path, recorded = entry["request"]["path"], entry["response"]
        for theirs, ours in RENUMBER.get((number, index), {}).items():
            path = path.replace(f"/{theirs}/", f"/{ours}/")
            recorded = recorded | {"body": re.sub(rf"\b{theirs}\b", ours, recorded["body"])}
        answer = lab.send(entry["request"], path)
        lab.learn(recorded, answer)
        if (number, index) in WHILE_RUNNING:
            texts = shape(json.loads(recorded["body"]), answer.json())
        else:
            texts = differences(recorded, answer, lab)
        found += [(number, index, text) for text in texts]
    return found


async def test_every_recorded_exchange_again(lab: Lab) -> None:
    found: list[tuple[str, int, str]] = []
    for number in ("01", "02", "03", "04", "05", "06", "07"):
        found += await asyncio.to_thread(replay, lab, number)
    unlisted = [f for f in found if not any(d[:2] == f[:2] and re.search(d[2], f[2]) for d in DIFFERENCES)]
    assert not unlisted, "\n".join(f"{n}#{i} {text[:600]}" for n, i, text in unlisted)
    stale = [d for d in DIFFERENCES if not any(d[:2] == f[:2] and re.search(d[2], f[2]) for f in found)]
    assert not stale, f"listed, but the lab now does as recorded: {stale}"
