"""The controller's end of the agent process: starts it, sends steps, hands out what they print."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lab.jenkins.config import Config

_LINE_LIMIT = 1 << 27
_NOT_FOR_STEPS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
_GONE = "hudson.remoting.ChannelClosedException: the agent is gone"
log = logging.getLogger("lab.jenkins.agent")


class AgentError(Exception):
    """A step could not be run; the message is what Jenkins' console says."""


@dataclass
class Shell:
    """One running `sh`."""

    id: int
    print: Callable[[str], None]
    ended: asyncio.Future[tuple[int, str]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class AgentLink:
    """One agent process; use as an async context manager."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ids = itertools.count(1)
        self._shells: dict[int, Shell] = {}
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._gone = False
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The agent's process id."""
        return self._process.pid if self._process else None

    async def __aenter__(self) -> AgentLink:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "lab.jenkins.agent",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        self._send({"path_map": self._config.path_map, "stop_again": self._config.stop_again})
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None and self._process.stdin is not None and self._reader is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 35)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    def base_environment(self) -> dict[str, str]:
        """The agent's own environment, as every sh inherits it."""
        env = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_STEPS}
        env["PATH"] = os.pathsep.join([*self._config.path, env.get("PATH", "/usr/bin:/bin")])
        return env | self._config.env

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process is not None and self._process.stdin is not None
        if self._gone or self._process.returncode is not None:
            raise AgentError(_GONE)
        self._process.stdin.write(json.dumps(message).encode() + b"\n")

    def sh(self, workspace: str, script: str, env: dict[str, str], write: Callable[[str], None], *, stdout: bool) -> Shell:
        """Start a shell; await `shell.ended` for (exit code, stdout), which raises AgentError when it cannot be started. `forget` it at the end."""
        shell = Shell(next(self._ids), write)
        full = self.base_environment() | env
        try:
            self._send({"id": shell.id, "op": "sh", "workspace": workspace, "script": script, "env": full, "stdout": stdout})
        except AgentError as error:
            shell.ended.set_exception(error)
        else:
            self._shells[shell.id] = shell
        return shell

    def term(self, shell: Shell) -> None:
        """TERM to everything that the shell started."""
        with contextlib.suppress(AgentError):
            self._send({"id": shell.id, "op": "term"})

    def forget(self, shell: Shell) -> None:
        """What it prints or returns from now on is of no interest; the processes go on."""
        self._shells.pop(shell.id, None)

    async def file(self, op: str, workspace: str, file: str = "", text: str = "") -> str:
        """`prepare` a workspace, `read` or `write` a file of it. Raises AgentError."""
        number = next(self._ids)
        self._send({"id": number, "op": op, "workspace": workspace, "file": file, "text": text})
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        return await answer

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            number = message["id"]
            if answer := self._answers.pop(number, None):
                self._settle(answer, message, message.get("text"))
            elif shell := self._shells.get(number):
                if "out" in message:
                    shell.print(message["out"])
                else:
                    del self._shells[number]
                    self._settle(shell.ended, message, (message.get("exit"), message.get("stdout", "")))
        log.info("the agent is gone")
        self._gone, gone = (
            True,
            AgentError(_GONE),
        )  # who asks from here on is told at once; that the process has ended is known a little later
        futures: list[asyncio.Future[Any]] = [*self._answers.values(), *(s.ended for s in self._shells.values())]
        for future in futures:
            if not future.done():
                future.set_exception(gone)

    @staticmethod
    def _settle(future: asyncio.Future[Any], message: dict[str, Any], value: Any) -> None:
        if future.done():
            return
        if "failed" in message:
            future.set_exception(AgentError(message["failed"]))
        else:
            future.set_result(value)
