"""The lab's Jenkins never loses a stop: in whatever moment of a build's or a shell's start it comes, the build ends by it, not by its time limit.

Nor does it lose what else comes in such a moment: a kill, a forced end, a hook while the job is deleted, the agent's death.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.contract.lab_jenkins_replay import job_xml

import lab
from lab.jenkins import family
from lab.jenkins.agent_link import AgentLink, Shell
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


async def until(holds: Callable[[], object]) -> None:
    """Look in each tick of the loop."""
    while not holds():  # noqa: ASYNC110 - no event comes from a file or another process
        await asyncio.sleep(0)


@pytest.mark.parametrize("reached", ["", "[Pipeline] sh"])
async def test_a_build_that_is_stopped_while_it_starts_ends_at_once(tmp_path: Path, reached: str) -> None:
    async with a_runner(tmp_path) as (runner, _):
        for ticks in range(TICKS):
            job = Job(f"web-{ticks}", job_xml(SLOW), tmp_path, "http://127.0.0.1/")
            item = runner.queue.schedule(job, Cause("a test"), None)
            build = item.executable
            assert build is not None
            log = build.log
            await until(lambda log=log: reached in log.read_text())  # type: ignore[misc]
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


async def test_a_build_that_is_killed_while_it_starts_keeps_no_executor(tmp_path: Path) -> None:
    async with a_runner(tmp_path) as (runner, _):
        job = Job("web", job_xml(SLOW), tmp_path, "http://127.0.0.1/")
        for ticks in range(TICKS):
            build = runner.queue.schedule(job, Cause("a test"), None).executable
            assert build is not None
            for _ in range(ticks):
                await asyncio.sleep(0)
            runner.kill(build)
            async with asyncio.timeout(LIMIT_S):
                await build.ended.wait()
            assert (build.result, sorted(runner.queue.free), runner.queue.items) == ("ABORTED", [0, 1], {}), f"killed after {ticks} ticks"


async def test_what_a_killed_build_still_prints_harms_no_other(tmp_path: Path) -> None:
    """Its log is closed, its shell goes on."""
    async with a_runner(tmp_path) as (runner, _):
        chatter = Job(
            "chatter", job_xml(SLOW.replace("sleep 600", "while :; do echo more; sleep 0.01; done")), tmp_path, "http://127.0.0.1/"
        )
        build = runner.queue.schedule(chatter, Cause("a test"), None).executable
        assert build is not None
        log = build.log
        async with asyncio.timeout(LIMIT_S):
            await until(lambda: "more" in log.read_text())
            runner.kill(build)
            await build.ended.wait()
            for _ in range(3):
                other = Job("web", job_xml(SLOW.replace("sleep 600", "sleep 0.1")), tmp_path, "http://127.0.0.1/")
                build = runner.queue.schedule(other, Cause("a test"), None).executable
                assert build is not None
                await build.ended.wait()
                assert build.result == "SUCCESS"


async def test_a_forced_end_that_comes_with_the_shells_own_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_runner(tmp_path) as (runner, agent):
        plain = agent.sh

        def sh(*args: Any, **more: Any) -> Shell:
            shell = plain(*args, **more)
            shell.ended.add_done_callback(lambda _: runner.term(build))
            return shell

        monkeypatch.setattr(agent, "sh", sh)
        job = Job("web", job_xml(SLOW.replace("sh 'sleep 600'", "sh 'true'; echo 'went on'")), tmp_path, "http://127.0.0.1/")
        found = runner.queue.schedule(job, Cause("a test"), None).executable
        assert found is not None
        build = found
        async with asyncio.timeout(LIMIT_S):
            await build.ended.wait()
        assert build.result == "ABORTED" and "went on" not in build.log.read_text()


async def test_a_job_that_is_being_deleted_takes_no_new_build(tmp_path: Path) -> None:
    """One that was queued while the running one was stopped began as that one ended: the deletion was refused."""
    async with a_runner(tmp_path) as (runner, _):
        for ticks in range(5):
            job = Job("web", job_xml(SLOW), tmp_path, "http://127.0.0.1/")
            runner.queue.schedule(job, Cause("a test"), None)
            deleting = asyncio.create_task(runner.stop_all(job, "admin"))
            for _ in range(ticks):
                await asyncio.sleep(0)
            late = runner.queue.schedule(job, Cause("a hook"), [], hooked=True)
            assert await deleting, f"a hook {ticks} ticks after the deletion began"
            assert (job.running, runner.queue.items) == ([], {}) and (late.executable is None or ticks == 0)


async def test_no_build_begins_while_the_part_ends(tmp_path: Path) -> None:
    async with a_runner(tmp_path) as (runner, _):
        job = Job("web", job_xml(SLOW), tmp_path, "http://127.0.0.1/")
        for _ in range(3):
            runner.queue.schedule(job, Cause("a test"), None, hooked=True)
        await runner.close([job])
        assert list(job.builds) == [1] and not job.running


async def test_an_agent_that_dies_leaves_nobody_waiting(tmp_path: Path) -> None:
    async with a_runner(tmp_path) as (_, agent):
        await agent.file("prepare", str(tmp_path / "workspace"))
        assert agent.pid is not None
        os.kill(agent.pid, signal.SIGKILL)
        asked = []
        async with asyncio.timeout(LIMIT_S):
            while not (asked and asked[-1].done()):
                asked.append(asyncio.create_task(agent.file("read", str(tmp_path), "none")))
                await asyncio.sleep(0)
            answers = await asyncio.gather(*asked, return_exceptions=True)
        assert str(answers[-1]) == "hudson.remoting.ChannelClosedException: the agent is gone"


async def test_a_shell_that_is_slow_to_leave_gets_no_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command was ended; a TERM would run its trap, as no recorded one ran."""
    looks, plain = 0, family._state

    def state(pid: int) -> str:
        nonlocal looks
        looks += 1
        return plain(pid)

    monkeypatch.setattr(family, "_state", state)
    script = 'trap "while ! [ -e gone ]; do :; done" EXIT; trap "echo trapped" TERM; echo ready; sleep 600'
    pipe = asyncio.subprocess.PIPE
    shell = await asyncio.create_subprocess_exec("/bin/sh", "-ec", script, cwd=tmp_path, stdout=pipe, start_new_session=True)
    assert shell.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            await shell.stdout.readline()
            await until(lambda: family._children().get(shell.pid))
            ending = asyncio.create_task(family.term_tree(shell.pid, LIMIT_S))
            await until(lambda: not family._children().get(shell.pid))
            looks = 0
            await until(lambda: looks >= 100)  # it looks again and again, and waits on
            (tmp_path / "gone").touch()
            await ending
            assert await shell.stdout.read() == b""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        await shell.wait()
