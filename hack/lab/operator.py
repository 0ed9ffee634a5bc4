"""The operator as a host process of the lab, under the ServiceAccount and RBAC of deploy/. Called by `lab.datacentre` and the tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import aiohttp

from lab.ports import hold_port
from lab.process import PartError

HACK = Path(__file__).resolve().parents[1]


class OperatorProcess:
    """Start, kill and start again; the same ports and kubeconfig each time."""

    def __init__(
        self, kubeconfig: Path, folder: Path, *, address: str = "127.0.0.1", namespace: str = "vmscaler-system", lease_seconds: int = 15
    ) -> None:
        """One that cannot renew its Lease for two thirds of `lease_seconds` ends itself, and nobody here starts it again."""
        self.folder = folder
        self.log = folder / "logs" / "operator.log"
        self.journal = folder / "operator-writes.jsonl"
        self.gateway_port, self.health_port = hold_port(address), hold_port(address)
        self.health = f"http://{address}:{self.health_port}"
        self.gateway = f"https://{address}:{self.gateway_port}"
        # What its Kubernetes client keeps in temporary files goes with the run, also where a test kills it.
        self._temporary = folder / "operator-tmp"
        self._environment = {
            "VMSCALER_KUBECONFIG": str(kubeconfig),
            "VMSCALER_NAMESPACE": namespace,
            "VMSCALER_GATEWAY_URL": self.gateway,
            "VMSCALER_GATEWAY_BIND": address,
            "VMSCALER_GATEWAY_PORT": str(self.gateway_port),
            "VMSCALER_HEALTH_BIND": address,
            "VMSCALER_HEALTH_PORT": str(self.health_port),
            "VMSCALER_RESYNC_SECONDS": "5",
            "VMSCALER_POLL_SECONDS": "0.5",
            "VMSCALER_LEASE_SECONDS": str(lease_seconds),
            "VMSCALER_LOG_LEVEL": "info",
        }
        self._process: asyncio.subprocess.Process | None = None

    def environment(self) -> dict[str, str]:
        """What it is started with: its settings and nothing of the user's but PATH and the like."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._temporary.mkdir(parents=True, exist_ok=True)
        kept["TMPDIR"] = str(self._temporary)
        return kept | self._environment | {"PYTHONPATH": str(HACK), "LAB_JOURNAL": str(self.journal), "PYTHONUNBUFFERED": "1"}

    @property
    def pid(self) -> int:
        """Its process id; raises PartError when it was never started."""
        if self._process is None:
            raise PartError("the operator was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.returncode is None

    async def start(self, *, crash: str = "", ready: bool = True, deadline: float = 120.0) -> None:
        """Start it; `crash` as `lab.operatord` has it. With `ready`, return when /readyz says so. Raises PartError at the deadline (s)."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        environment = self.environment() | ({"LAB_CRASH": crash} if crash else {})
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "lab.operatord", env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        if ready:
            await self.until_ready(deadline)

    async def until_ready(self, deadline: float) -> None:
        """Wait for /readyz. Raises PartError with the end of the log."""
        end = asyncio.get_running_loop().time() + deadline
        async with aiohttp.ClientSession() as http:
            while asyncio.get_running_loop().time() < end:
                if not self.running:
                    raise PartError(f"the operator ended; its log ends:\n{self.tail()}")
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(f"{self.health}/readyz", timeout=aiohttp.ClientTimeout(total=2)) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)
        raise PartError(f"the operator was not ready after {deadline:.0f} s; its log ends:\n{self.tail()}")

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else "(no log)"

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None and self.running:
            self._process.kill()
            await self._process.wait()

    async def wait(self, deadline: float = 60.0) -> int:
        """Wait for its end; the exit status."""
        if self._process is None:
            raise PartError("the operator was not started")
        async with asyncio.timeout(deadline):
            return await self._process.wait()

    async def stop(self, grace: float = 15.0) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds."""
        if self._process is None or not self.running:
            return
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._process.wait()
        await self.kill()


class ForkServer:
    """Operators one after another, each a process of its own that is born in a moment; for tests that kill it at each write."""

    def __init__(self, operator: OperatorProcess) -> None:
        """With the settings, ports and journal of `operator`, which must not run meanwhile."""
        self._operator = operator
        self._server: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> ForkServer:
        pipe = asyncio.subprocess.PIPE
        with self._operator.log.open("ab") as log:
            self._server = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "lab.operatord",
                "--fork-server",
                env=self._operator.environment(),
                stdin=pipe,
                stdout=pipe,
                stderr=log,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            if self._server.stdin is not None:
                self._server.stdin.close()
            self._server.kill()
            await self._server.wait()

    async def born(self, crash: str) -> int:
        """Start the next one; its pid."""
        if self._server is None or self._server.stdin is None:
            raise PartError("the fork server was not started")
        self._server.stdin.write(crash.encode() + b"\n")
        await self._server.stdin.drain()
        return int(await self._line())

    async def dead(self) -> int:
        """Wait for its end: the exit status, negative for a signal."""
        return int(await self._line())

    async def _line(self) -> bytes:
        if self._server is None or self._server.stdout is None:
            raise PartError("the fork server was not started")
        line = await self._server.stdout.readline()
        if not line:
            raise PartError(f"the fork server ended; the log ends:\n{self._operator.tail()}")
        return line
