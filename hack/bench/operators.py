"""The operators that are compared, as processes: started, watched for CPU and memory, stopped. Called by `bench.reconcile` and `bench.steady`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab.ports import hold_port

NAMESPACE = "vmscaler-system"


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far, and resident memory in MiB."""

    cpu: float
    rss: float


def usage(pid: int, *, children: bool = False) -> Usage:
    """Of a process (and of what it started)."""
    process = psutil.Process(pid)
    cpu, rss = 0.0, 0
    for one in [process, *(process.children(recursive=True) if children else [])]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            cpu, rss = cpu + times.user + times.system, rss + one.memory_info().rss
    return Usage(cpu, rss / 2**20)


class OperatorProcess:
    """One `python -m <module>`; use as an async context manager."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self._module, self._log = module, log
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH") if name in os.environ}
        self._environment = inherited | environment
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Raises RuntimeError with the end of its log when it does not run."""
        if self._process is None or self._process.returncode is not None:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:]) if self._log.exists() else ""
            raise RuntimeError(f"{self._module} does not run; its log ends:\n{tail}")
        return self._process.pid

    async def __aenter__(self) -> OperatorProcess:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, env=self._environment, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def kopf_noop(kubeconfig: Path, folder: Path) -> OperatorProcess:
    """The base."""
    return OperatorProcess("bench.kopf_noop", {"KUBECONFIG": str(kubeconfig)}, folder / "kopf-noop.log")


def vmscaler(kubeconfig: Path, folder: Path, *, pools: int, resync_seconds: float, splicing: bool = False) -> OperatorProcess:
    """The product with its usual settings but for the resync's period."""
    port = hold_port("127.0.0.1")
    environment = {
        "VMSCALER_KUBECONFIG": str(kubeconfig),
        "VMSCALER_NAMESPACE": NAMESPACE,
        "VMSCALER_GATEWAY_URL": f"https://127.0.0.1:{port}",
        "VMSCALER_GATEWAY_BIND": "127.0.0.1",
        "VMSCALER_GATEWAY_PORT": str(port),
        "VMSCALER_HEALTH_BIND": "127.0.0.1",
        "VMSCALER_HEALTH_PORT": str(hold_port("127.0.0.1")),
        "VMSCALER_RESYNC_SECONDS": str(resync_seconds),
        "BENCH_POOLS": str(pools),
        "BENCH_SPLICING": "1" if splicing else "0",
    }
    return OperatorProcess("bench.vmscaler_faked", environment, folder / "vmscaler.log")
