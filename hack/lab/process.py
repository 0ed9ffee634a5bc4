"""Parts of the lab as processes: the contract of README.md, both halves.

Called by every part's `__main__` (serve_part) and by `lab.datacentre` and the contract tests (Part).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]
_PR_SET_PDEATHSIG = 1
_KILLED = 60.0  # seconds for a killed process to be gone; more than any machine needs
HACK = Path(__file__).resolve().parent.parent


class PartError(RuntimeError):
    """A part did not start, or died; the message holds the end of its log."""


def die_with_parent(sig: int = signal.SIGTERM) -> None:
    """Ask Linux to send `sig` to this process when its parent thread dies (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, sig)


class Serving:
    """What a part gets from `serve_part`: announce readiness once, then wait for the end."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self._ready = False

    def ready(self, record: Json) -> None:
        """Write the ready record, one line of JSON, to stdout."""
        if self._ready:
            raise RuntimeError("a part is ready once")
        self._ready = True
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()

    async def until_stopped(self) -> None:
        """Return when stdin is closed, on SIGTERM or SIGINT."""
        await self.stop.wait()


def serve_part(main: Callable[[Json, Serving], Awaitable[None]], argv: Sequence[str] | None = None) -> None:
    """Run a part: `main(config, serving)` builds its servers, calls serving.ready(...), awaits serving.until_stopped(), cleans up."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True, help="a JSON file; see the module's docstring")
    config: Json = json.loads(parser.parse_args(argv).config.read_text())
    die_with_parent()

    async def run() -> None:
        serving = Serving()
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, serving.stop.set)
        loop.add_reader(0, lambda: _at_eof(loop, serving))
        await main(config, serving)

    asyncio.run(run())


def _at_eof(loop: asyncio.AbstractEventLoop, serving: Serving) -> None:
    if not os.read(0, 4096):
        loop.remove_reader(0)
        serving.stop.set()


class Part:
    """One part as a child process: start it, read its ready record, stop it. Use as an async context manager."""

    def __init__(
        self,
        name: str,
        config: Json,
        *,
        folder: Path,
        argv: Sequence[str] | None = None,
        env: dict[str, str] | None = None,
        deadline: float = 120.0,
    ) -> None:
        """`argv` replaces `python -m lab.<name>` (for the Go parts); `--config FILE` is appended. `deadline` is in seconds."""
        self.name = name
        self.config = config
        self.folder = folder
        self.log = folder / "logs" / f"{name}.log"
        self.record: Json = {}
        self._argv = list(argv) if argv is not None else [sys.executable, "-m", f"lab.{name}"]
        self._env = env
        self._deadline = deadline
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises PartError when it is not running."""
        if self._process is None:
            raise PartError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> Json:
        """Start and wait for the ready record. Raises PartError (with the end of the log) at the deadline or if it exits.

        Where it raises, cancelled or not, nothing runs."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        fd, path = tempfile.mkstemp(prefix=f"{self.name}-", suffix=".json", dir=self.folder)
        with os.fdopen(fd, "w") as file:
            json.dump(self.config, file)
        env = dict(os.environ if self._env is None else self._env)
        hack = str(HACK)
        env["PYTHONPATH"] = hack + (os.pathsep + env["PYTHONPATH"] if env.get("PYTHONPATH") else "")
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                "--config",
                path,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=env,
                limit=1 << 20,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(self._deadline):
                line = await self._process.stdout.readline()
            if not line.endswith(b"\n"):
                raise PartError(f"{self.name}: ended before it was ready; its log ends:\n{self.tail()}")
            self.record = json.loads(line)
        except TimeoutError:
            await self.stop(grace=0.5)
            raise PartError(f"{self.name}: not ready after {self._deadline:.0f} s; its log ends:\n{self.tail()}") from None
        except BaseException:
            await self.stop(grace=0.5)
            raise
        return self.record

    def tail(self, lines: int = 30) -> str:
        """The end of the part's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else "(no log)"

    async def stop(self, grace: float = 10.0) -> None:
        """Close stdin, then TERM, then KILL after `grace` seconds each."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        for sig, patience in ((None, grace), (signal.SIGTERM, grace), (signal.SIGKILL, _KILLED)):
            if sig is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(sig)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await process.wait()
                break
        self._process = None

    async def kill(self) -> None:
        """SIGKILL, at once; for tests of what a crash leaves."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None

    async def __aenter__(self) -> Part:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
