"""The cluster of the lab: the Go part hack/controlplane (etcd, kube-apiserver and three controllers), or one that exists.

    async with ControlPlane(folder, fsync=False) as cluster:
        await cluster.apply(Path("crds"))
        await cluster.kubectl("get", "sites")

Called by `lab.datacentre`, the demo, the bench and the tests. A cluster that exists is used only when its kubeconfig and its
context are both given by name (`existing_cluster`): what KUBECONFIG or ~/.kube/config point at may be production.

The part's config: {data (a folder to keep; "" = temporary), port (0 = that of the kept data, else any), fsync}. Its ready
record: {server, ca (PEM), adminToken, kubeconfig, version, data, fsync, control}. Its control port knows no faults: a broken
API server is one that is killed or stopped (`pid`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from lab.gobuild import build
from lab.gobuild_progress import Step
from lab.kubectl import kubectl
from lab.process import Part, PartError

SOURCE = Path(__file__).resolve().parents[1] / "controlplane"
_VERSION = "k8s.io/component-base/version"


def kubernetes_version(go_mod: str) -> str:
    """The version of Kubernetes that the text of a go.mod requires, e.g. "v1.36.3". Raises ValueError when none is."""
    found = re.search(r"^\s*(?:require\s+)?k8s\.io/kubernetes\s+(v\d+\.\d+\.\d+\S*)", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError("go.mod requires no k8s.io/kubernetes")
    return found[1]


async def binary(progress: Callable[[Step], None] | None = None) -> Path:
    """Build the control plane (minutes, once) or find it in the cache. Raises lab.gotoolchain.GoError."""
    version = kubernetes_version(await asyncio.to_thread((SOURCE / "go.mod").read_text))
    major, minor = version.removeprefix("v").split(".")[:2]
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}  # else clients see v0.0.0-master
    ldflags = [f"-X {_VERSION}.{name}={value}" for name, value in stamps.items()]
    return await build(SOURCE, name="controlplane", ldflags=ldflags, progress=progress)


class Cluster:
    """A Kubernetes API and the right to administer it. `kubeconfig` is a file (0600) of that one cluster and user."""

    def __init__(self, kubeconfig: Path, server: str, ca: str) -> None:
        """`ca` is PEM, and empty when the kubeconfig trusts the system's authorities."""
        self.kubeconfig = kubeconfig
        self.server = server
        self.ca = ca

    async def kubectl(self, *args: str, stdin: str | bytes | None = None, timeout: float = 200.0) -> str:
        """See `lab.kubectl.kubectl`, as the administrator."""
        return await kubectl(self.kubeconfig, *args, stdin=stdin, timeout=timeout)

    async def get(self, *args: str) -> dict[str, Any]:
        """`kubectl get ... -o json`. Raises KubectlError."""
        found: dict[str, Any] = json.loads(await self.kubectl("get", *args, "-o", "json"))
        return found

    async def apply(self, *paths: Path, server_side: bool = True) -> str:
        """Apply files, or folders with what lies directly in them. Raises KubectlError."""
        files = [argument for path in paths for argument in ("-f", str(path))]
        return await self.kubectl("apply", *(["--server-side"] if server_side else []), *files)

    async def apply_objects(self, *objects: dict[str, Any]) -> str:
        """Apply objects that are data already. Raises KubectlError."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return await self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(whole))

    async def account_kubeconfig(self, namespace: str, account: str, target: Path, *, lifetime: timedelta = timedelta(days=7)) -> Path:
        """Write a kubeconfig (0600) that acts as a ServiceAccount, with a token from the TokenRequest API.

        Raises KubectlError, also when there is no such account.
        """
        seconds = f"{int(lifetime.total_seconds())}s"
        token = (await self.kubectl("create", "token", account, "-n", namespace, f"--duration={seconds}")).strip()
        view = json.loads(await self.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        cluster = view["clusters"][0]["cluster"]  # with its CA, and whatever else it takes to reach it
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": account, "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": account, "namespace": namespace}}],
            "current-context": "lab",
        }
        await asyncio.to_thread(_write_private, target, json.dumps(config))  # JSON is YAML
        return target


class ControlPlane(Cluster):
    """Our own cluster, as long as the context lasts."""

    def __init__(
        self,
        folder: Path,
        *,
        data: Path | None = None,
        port: int = 0,
        fsync: bool = True,
        progress: Callable[[Step], None] | None = None,
        deadline: float = 120.0,
    ) -> None:
        """`folder` gets the log; `data` keeps objects, certificates and the port from run to run (default: nothing is).

        `deadline` is for the start (seconds), not for the build before it.
        """
        super().__init__(Path(), "", "")
        self.version = ""
        self._folder = folder
        self._config = {"data": str(data) if data is not None else "", "port": port, "fsync": fsync}
        self._progress = progress
        self._deadline = deadline
        self._part: Part | None = None

    @property
    def part(self) -> Part:
        """The process: `pid`, `log`, `record`, `kill()`. Raises PartError before start."""
        if self._part is None:
            raise PartError("the control plane was not started")
        return self._part

    async def start(self) -> ControlPlane:
        """Build if need be, start, wait until it is usable. Raises GoError, PartError."""
        argv = [str(await binary(self._progress))]
        self._part = Part("controlplane", self._config, folder=self._folder, argv=argv, deadline=self._deadline)
        record = await self._part.start()
        self.server, self.ca, self.version = record["server"], record["ca"], record["version"]
        self.kubeconfig = Path(record["kubeconfig"])
        return self

    async def stop(self) -> None:
        """Stop; a temporary data folder goes with it."""
        if self._part is not None:
            await self._part.stop()

    async def __aenter__(self) -> ControlPlane:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


async def existing_cluster(kubeconfig: Path, context: str, folder: Path) -> Cluster:
    """A cluster that somebody named explicitly. What of `kubeconfig` belongs to `context` is copied into `folder` (0600).

    Raises KubectlError for an unknown context, FileNotFoundError for a missing file, ValueError for an empty context.
    """
    if not context:
        raise ValueError("name the context: the file's current one may change under us")
    view = ("config", "view", "--raw", "--minify", "--flatten", f"--context={context}", "-o", "json")
    text = await kubectl(kubeconfig, *view)
    found = json.loads(text)["clusters"][0]["cluster"]
    target = folder / "existing.kubeconfig"
    await asyncio.to_thread(_write_private, target, text)
    return Cluster(target, found["server"], base64.b64decode(found.get("certificate-authority-data", "")).decode())


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
