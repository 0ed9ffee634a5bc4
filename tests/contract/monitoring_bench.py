# ruff: noqa: ASYNC240 - small files, and nothing else runs on a test's loop
"""The lab's monitoring host for tests: its ready record, a pinned log-in, and calls to its control port.

Used through the fixture `lab_monitoring` (one host for the whole run): put back what you edit, heal what you break.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncssh

from lab.process import Json, Part

VMS = ("127.0.0.20", "127.0.0.21")


@dataclass
class Monitoring:
    """A running monitoring host."""

    record: Json
    folder: Path
    session: aiohttp.ClientSession

    @property
    def prometheus(self) -> str:
        return str(self.record["prometheus"]["url"])

    @property
    def alertmanager(self) -> str:
        return str(self.record["alertmanager"]["url"])

    async def get(self, url: str) -> Any:
        """The JSON of a GET (None of what is not there to answer)."""
        try:
            async with self.session.get(url) as answer:
                return await answer.json(content_type=None)
        except aiohttp.ClientError:
            return None

    async def status_of(self, method: str, url: str, seconds: float = 60) -> int | str:
        """The status of an answer, or "refused" or "hangs" (no answer in `seconds`)."""
        try:
            async with self.session.request(method, url, timeout=aiohttp.ClientTimeout(total=seconds)) as answer:
                await answer.read()
                return answer.status
        except TimeoutError:
            return "hangs"
        except aiohttp.ClientError:
            return "refused"

    async def control(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """A call to the control port: status and JSON."""
        async with self.session.request(method, self.record["control"] + path, json=body) as answer:
            return answer.status, await answer.json()

    async def faults(self, **wanted: str) -> None:
        """Make this the whole set of faults."""
        status, answer = await self.control("PUT", "/faults", wanted)
        assert status == 200, answer

    async def reload(self) -> None:
        """Have Prometheus read its files again."""
        assert await self.status_of("POST", self.record["prometheus"]["reloadUrl"]) == 200

    @contextlib.asynccontextmanager
    async def ssh(self, host_key: str | None = None, **options: Any) -> AsyncIterator[asyncssh.SSHClientConnection]:
        """A log-in that accepts one host key (the record's if None)."""
        async with log_in(self.record["ssh"], host_key, **options) as connection:
            yield connection

    async def run(self, *argv: str) -> tuple[int | None, str]:
        """A command over SSH: exit status, and both outputs as one text."""
        async with self.ssh() as connection:
            done = await connection.run(shlex.join(argv) + " 2>&1")
            return done.exit_status, str(done.stdout)

    @contextlib.asynccontextmanager
    async def file(self, path: Path, text: str) -> AsyncIterator[Path]:
        """A file of people's that is there for a while; Prometheus reads its files again at both ends."""
        assert not path.exists()
        path.write_text(text)
        try:
            await self.reload()
            yield path
        finally:
            path.unlink()
            await self.reload()


@contextlib.asynccontextmanager
async def log_in(ssh: Json, host_key: str | None = None, **options: Any) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A log-in to `ssh` of a ready record that accepts one host key (the record's if None)."""
    pin = f"[{ssh['host']}]:{ssh['port']} {host_key or ssh['hostKeys'][0]}\n"
    settings: dict[str, Any] = {
        "username": ssh["user"],
        "client_keys": [ssh["privateKeyPath"]],
        "known_hosts": asyncssh.import_known_hosts(pin),
        "config": None,
        "agent_path": None,
        "login_timeout": 60,
    }
    async with asyncssh.connect(ssh["host"], ssh["port"], **{**settings, **options}) as connection:
        yield connection


@contextlib.asynccontextmanager
async def monitoring_bench(folder: Path, **config: Any) -> AsyncIterator[Monitoring]:
    """A host of one's own in `folder`."""
    async with (
        Part("monitoring", {"folder": str(folder), "vms": list(VMS), **config}, folder=folder, deadline=300) as part,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session,
    ):
        yield Monitoring(part.record, folder, session)


async def eventually(look: Callable[[], Awaitable[Any]], what: str, deadline: float = 90.0) -> Any:
    """What `look` gives as soon as it is true. Fails with `what` and the last look."""
    last: object = None
    try:
        async with asyncio.timeout(deadline):
            while True:
                if last := await look():
                    return last
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {deadline:.0f} s: {what}; at last: {last!r}") from None
