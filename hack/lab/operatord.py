"""`python -m lab.operatord`: `vmscaler run` as a host process of the lab: it dies with its parent, and can be made to die at a write.

LAB_CRASH names the fault: `N:before` or `N:after` the Nth external write (counted from 1) ends the process with SIGKILL;
`N:each` by turns, before a write's first try and after its second, as the journal (LAB_JOURNAL) counts them. The wrapper goes
round the product's effects seam from outside; the product knows nothing of it. Each write is told on stderr by the product itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from lab.process import die_with_parent
from vmscaler import settings
from vmscaler.bootstrap import Wrappers
from vmscaler.entry.logs import configure_logs
from vmscaler.entry.run import run
from vmscaler.ports.effects import Effects

T = TypeVar("T")


class Crashing:
    """An Effects that passes everything on, keeps a journal of what passes, and dies where it is told to."""

    def __init__(self, inner: Effects, at: int, when: str, journal: Path | None) -> None:
        self._inner, self._at, self._when, self._journal = inner, at, when, journal
        self._count = 0

    async def write(self, system: str, operation: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        """Count, perhaps die, pass on, perhaps die."""
        self._count += 1
        number = self._count
        if 0 < self._at < number:
            # The process dies as soon as the answer to the write before is there: one that other tasks get through meanwhile would be lost unseen.
            await asyncio.Event().wait()
        self._note(number, system, operation, target)
        when = self._when
        if when == "each":
            when = "before" if self._times(system, operation, target) % 2 else "after"
        if number == self._at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await self._inner.write(system, operation, target, call)
        if number == self._at and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    def _times(self, system: str, operation: str, target: str) -> int:
        """How often this write was tried so far, by all processes that kept this journal, this try among them."""
        lines = self._journal.read_text().splitlines() if self._journal is not None else []
        return sum(1 for line in lines if json.loads(line)[1:] == [system, operation, target])

    def _note(self, number: int, system: str, operation: str, target: str) -> None:
        if self._journal is not None:
            with self._journal.open("a") as file:
                file.write(json.dumps([number, system, operation, target]) + "\n")


def main() -> None:
    """Run until stopped; or with `--fork-server`, start one process for each line of stdin."""
    die_with_parent()
    if sys.argv[1:] == ["--fork-server"]:
        fork_server()
    else:
        operate()


def fork_server() -> None:
    """For each line of stdin (a LAB_CRASH, or empty) one operator in a process of its own: writes its pid, then, when it is dead, its status.

    Everything is imported once: a test that kills the operator a hundred times need not start an interpreter as often.
    """
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            die_with_parent()
            os.environ["LAB_CRASH"] = line.strip()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            operate()
            os._exit(0)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def operate() -> None:
    """Be the operator."""
    chosen = settings.from_environment()
    configure_logs(chosen.log_level, chosen.log_format)
    number, _, when = os.environ.get("LAB_CRASH", "").partition(":")
    journal = os.environ.get("LAB_JOURNAL")
    wrappers = Wrappers(effects=lambda inner: Crashing(inner, int(number or 0), when, Path(journal) if journal else None))
    try:
        asyncio.run(_run(chosen, wrappers))
    except KeyboardInterrupt:
        sys.exit(130)


async def _run(chosen: settings.Settings, wrappers: Wrappers) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell_tasks)
    await run(chosen, wrappers)


def _tell_tasks() -> None:
    """SIGUSR1: what each task waits for, to stderr; for a test that sees nothing happen."""
    for task in asyncio.all_tasks():
        print(f"-- {task.get_name()}", file=sys.stderr)
        task.print_stack(limit=6, file=sys.stderr)
        inner: Any = task.get_coro()
        while inner is not None and (inner := getattr(inner, "cr_await", None)) is not None:
            frame = getattr(inner, "cr_frame", None)
            where = f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" if frame else repr(inner)
            print(f"     awaits {where}", file=sys.stderr)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
