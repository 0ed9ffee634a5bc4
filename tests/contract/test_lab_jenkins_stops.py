"""The lab's Jenkins never loses a stop: in whatever moment of a build's or a shell's start it comes, the build ends by it, not by its time limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.contract.lab_jenkins_replay import job_xml

import lab
from lab.jenkins.agent_link import AgentLink
from lab.jenkins.builds import Cause
from lab.jenkins.config import Config
from lab.jenkins.credentials import Credentials
from lab.jenkins.items import Job
from lab.jenkins.runner import Runner

pytestmark = pytest.mark.lab
SLOW = "pipeline { agent any\n stages { stage('one') { steps { sh 'sleep 600' } } } }"
TICKS = 25  # of the event loop, one more with each build
LIMIT_S = 60


@pytest.fixture(autouse=True)
def _the_agent_finds_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(lab.__file__).parents[1]))


@asynccontextmanager
async def a_runner(home: Path) -> AsyncIterator[tuple[Runner, AgentLink]]:
    config = Config(home, home / "workspace", (), quiet_period=0, build_start=0, stop_wait=600)
    async with AgentLink(config) as agent:
        yield Runner(config, agent, Credentials()), agent


@pytest.mark.parametrize("reached", ["", "[Pipeline] sh"])
async def test_a_build_that_is_stopped_while_it_starts_ends_at_once(tmp_path: Path, reached: str) -> None:
    async with a_runner(tmp_path) as (runner, _):
        job = Job("web", job_xml(SLOW), tmp_path, "http://127.0.0.1/")
        for ticks in range(TICKS):
            item = runner.queue.schedule(job, Cause("a test"), None)
            build = item.executable
            assert build is not None
            log = build.log.read_text()
            while reached not in log:
                await asyncio.sleep(0)
                log = build.log.read_text()
            for _ in range(ticks):
                await asyncio.sleep(0)
            assert await runner.stop_all(job, "admin"), f"stopped {ticks} ticks after {reached or 'its start'}, the build goes on"
            assert build.result == "ABORTED"
        assert sorted(runner.queue.free) == [0, 1], "an executor was given to a build that was stopped, and not given back"


async def test_a_shell_that_is_ended_before_it_has_a_process_ends(tmp_path: Path) -> None:
    async with a_runner(tmp_path) as (_, agent):
        workspace = str(tmp_path / "workspace" / "web")
        await agent.file("prepare", workspace)
        shell = agent.sh(workspace, "sleep 600", {}, lambda _: None, stdout=False)
        agent.term(shell)
        async with asyncio.timeout(LIMIT_S):
            code, _ = await shell.ended
        assert code == 128 + 15


async def test_a_shell_that_cannot_be_started_says_so(tmp_path: Path) -> None:
    async with a_runner(tmp_path) as (_, agent):
        (tmp_path / "workspace").write_text("a file where the folder should be")
        shell = agent.sh(str(tmp_path / "workspace" / "web"), "true", {}, lambda _: None, stdout=False)
        async with asyncio.timeout(LIMIT_S):
            with pytest.raises(Exception, match=r"java.io.IOException: .*Not a directory"):
                await shell.ended
