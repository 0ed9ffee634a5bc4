"""A part of the lab as a process: whatever happens while it starts, nothing is left running."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from lab.process import Part, PartError

pytestmark = pytest.mark.lab
LIMIT_S = 60


def part(folder: Path, program: str, deadline: float = LIMIT_S) -> Part:
    return Part("sample", {}, folder=folder, argv=[sys.executable, "-c", program], deadline=deadline)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    "program", ["import sys; sys.stdin.read()", "import sys; sys.stdout.write('{'); sys.stdout.flush(); sys.stdin.read()"]
)
async def test_one_whose_start_is_cancelled_is_ended(tmp_path: Path, program: str) -> None:
    sample = part(tmp_path, program)
    starting = asyncio.create_task(sample.start())
    async with asyncio.timeout(LIMIT_S):
        while not sample.running:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0)
        pid = sample.pid
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    assert not lives(pid) and not sample.running


@pytest.mark.parametrize("said", ["", '{\\"cut\\": '])
async def test_one_that_ends_before_it_is_ready_is_told_with_its_log(tmp_path: Path, said: str) -> None:
    sample = part(tmp_path, f'import sys; sys.stderr.write("no such disk\\n"); sys.stdout.write("{said}")')
    with pytest.raises(PartError, match="ended before it was ready; its log ends:\nno such disk"):
        await sample.start()
    assert not sample.running


async def test_one_that_is_never_ready_is_ended_at_the_deadline(tmp_path: Path) -> None:
    sample = part(tmp_path, "import sys; sys.stdin.read()", deadline=0.01)
    with pytest.raises(PartError, match="not ready after 0 s"):
        await sample.start()
    assert not sample.running


async def test_one_that_heeds_neither_its_stdin_nor_a_term_is_killed(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); time.sleep(600)"
    sample = part(tmp_path, deaf)
    await sample.start()
    pid = sample.pid
    await sample.stop(grace=0.05)
    assert not lives(pid) and not sample.running
