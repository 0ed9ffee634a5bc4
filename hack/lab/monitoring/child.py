"""A real program as a child of the part: started, stopped, hung, and dead when the part is dead.

Called by `lab.monitoring.host`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import psutil

from lab.process import PartError, die_with_parent

_POLL = 0.05


class Child:
    """One program. `ready` tells whether it serves; `log` gets what it prints."""

    def __init__(
        self,
        name: str,
        log: Path,
        ready: Callable[[], Awaitable[bool]],
        *,
        environment: dict[str, str] | None = None,
        folder: str | None = None,
    ) -> None:
        """`environment` is added to ours; `folder` is where it is started (ours if None)."""
        self.name = name
        self._log = log
        self._ready = ready
        self._environment = environment or {}
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._hung = False

    @property
    def state(self) -> str:
        """running, hung, down (stopped by us), or exited (by itself)."""
        if self._process is None:
            return "down"
        if self._process.returncode is not None:
            return "exited"
        return "hung" if self._hung else "running"

    @property
    def pid(self) -> int | None:
        """Its process id while it is there."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self, argv: Sequence[str], *, deadline: float = 60.0) -> None:
        """Start, and return when it serves. Raises PartError (with the end of its log) at the deadline or if it exits."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, **self._environment},
                # KILL and not TERM: a child that a fault has hung must go too.
                preexec_fn=lambda: die_with_parent(signal.SIGKILL),
            )
        try:
            async with asyncio.timeout(deadline):
                while not await self._ready():
                    if self._process.returncode is not None:
                        raise PartError(f"{self.name} exited ({self._process.returncode}); its log ends:\n{self.tail()}")
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            await self.stop()
            raise PartError(f"{self.name}: not ready after {deadline:.0f} s; its log ends:\n{self.tail()}") from None

    async def stop(self, grace: float = 5.0) -> None:
        """End it and every process under it (an sshd's sessions outlive it otherwise): TERM, then KILL after `grace` s."""
        process, self._process, self._hung = self._process, None, False
        if process is None:
            return
        below: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            below = psutil.Process(process.pid).children(recursive=True)
        for sig in (signal.SIGTERM, signal.SIGKILL):
            for one in below:
                with contextlib.suppress(psutil.Error):
                    one.send_signal(sig)
                    one.send_signal(signal.SIGCONT)
            # os.kill and not process.send_signal: that one would reap the child behind the event loop's back.
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, sig)
                    os.kill(process.pid, signal.SIGCONT)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await process.wait()
                async with asyncio.timeout(grace):
                    while below := [one for one in below if _alive(one)]:  # noqa: ASYNC110 - no event comes from a child's child
                        await asyncio.sleep(_POLL)
                return

    async def hang(self) -> None:
        """Stop it in its tracks (SIGSTOP): connections are accepted by the kernel and never answered. Returns when every thread of it stands.

        Until then one of them may still answer: the signal takes effect when some thread of the process gets a processor.
        """
        self._hung = True
        while not all(map(_stands, self._signal(signal.SIGSTOP))):  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(_POLL / 10)

    def resume(self) -> None:
        """Undo `hang`."""
        self._signal(signal.SIGCONT)
        self._hung = False

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:]) if self._log.exists() else ""

    def _signal(self, sig: signal.Signals) -> list[psutil.Process]:
        """Send it to the program and all below it; gives those."""
        found: list[psutil.Process] = []
        if self.pid is not None:
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(self.pid)
                found = [root, *root.children(recursive=True)]
        for one in found:
            with contextlib.suppress(psutil.Error):  # a session that has ended meanwhile
                one.send_signal(sig)
        return found


def _stands(process: psutil.Process) -> bool:
    """Whether each thread is stopped (proc(5), stat: T), or the process gone."""
    states = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                states.append((thread / "stat").read_text().rpartition(")")[2].split()[0])
    return all(state in "TtZX" for state in states)


def _alive(process: psutil.Process) -> bool:
    """False for a zombie too: reaping it is for its new parent, and that of a container may take its time."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
