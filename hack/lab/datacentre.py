"""The whole data centre: starts and stops every part, says what runs where. Called by the demo (`python -m lab`) and the e2e tests.

control plane, monitoring host   ─┐
vCenter ── guests ── BIG-IP       ├─ CRDs, RBAC, Secrets, Site, template ── operator ── policy ── load
Jenkins (with the step client)   ─┘
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets as random
import shutil
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from lab import resources, vcenter
from lab.controlplane import Cluster, ControlPlane
from lab.gobuild_progress import Step
from lab.operator import OperatorProcess
from lab.pki import Authority
from lab.process import Json, Part, PartError
from lab.subnet import Subnet

ROOT = Path(__file__).resolve().parents[2]
WEB, METRICS = 8080, 9100
Say = Callable[[str], None]


class DataCentre:
    """One run. `cluster` may be an existing one (then its objects are not cleaned up here). After `monitor_timeout` seconds without an answer a member
    of the pool is down."""

    def __init__(
        self,
        folder: Path,
        *,
        cluster: Cluster | None = None,
        capacity: float = 50.0,
        boot_seconds: float = 2.0,
        monitor_timeout: float = 3.1,
        fsync: bool = False,
        say: Say = lambda text: None,
        build_progress: Callable[[Step], None] | None = None,
    ) -> None:
        self.folder = folder
        self.say = say
        self.parts: dict[str, Part] = {}
        self.subnet = Subnet.take((WEB, METRICS))
        self.ca = Authority()
        self._given = cluster
        self._control_plane: ControlPlane | None = None
        self._capacity, self._boot_seconds, self._monitor_timeout, self._fsync = capacity, boot_seconds, monitor_timeout, fsync
        self._build_progress = build_progress
        self._http: aiohttp.ClientSession | None = None
        self._passwords = {name: random.token_urlsafe(18) for name in ("vcenter", "bigip", "jenkins", "jenkins-token")}
        self.operator: OperatorProcess | None = None
        self.run: resources.Run | None = None

    @property
    def cluster(self) -> Cluster:
        """The cluster. Raises PartError before start."""
        found = self._given or self._control_plane
        if found is None:
            raise PartError("the data centre was not started")
        return found

    @property
    def control_plane(self) -> ControlPlane | None:
        """Our own cluster's process; None on a cluster that was given."""
        return self._control_plane

    @property
    def vip_url(self) -> str:
        """What the users call."""
        return f"http://{self.subnet.vip}:{WEB}/"

    async def start(self) -> None:
        """Start all parts (side by side where they can) and the API's objects; the operator and the policy come after. Raises PartError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120))
        results = await asyncio.gather(
            self._timed("Kubernetes", self._start_cluster()),
            self._timed("vCenter, VMs and BIG-IP", self._start_servers()),
            self._timed("monitoring host", self._start_monitoring()),
            self._timed("Jenkins", self._start_jenkins()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                await self.stop()
                raise result
        self.run = resources.Run(
            ca=self.ca.pem,
            hook_ca_file=str(self._ca_file()),
            step_command=str(self._step_command()),
            vcenter_url=self.parts["vcenter"].record["url"],
            bigip_url=self.parts["bigip"].record["url"],
            jenkins_url=self.parts["jenkins"].record["url"],
            monitoring=self.parts["monitoring"].record,
            subnet=self.subnet,
            users=await self._users(),
        )
        await self._timed("CRDs, RBAC, Secrets", self._apply_base())

    async def start_operator(self, *, lease_seconds: int = 15) -> OperatorProcess:
        """The operator as a host process under its ServiceAccount."""
        kubeconfig = await self.cluster.account_kubeconfig(
            resources.OPERATOR_NAMESPACE, "vmscaler-operator", self.folder / "operator.kubeconfig"
        )
        self.operator = OperatorProcess(kubeconfig, self.folder, lease_seconds=lease_seconds)
        await self._timed("operator", self.operator.start())
        return self.operator

    async def apply_site(self) -> None:
        """Site and VmTemplate."""
        await self.cluster.apply_objects(resources.site(self._ran()), resources.template())

    async def apply_policy(self, **changes: Any) -> None:
        """The policy of the service; `changes` are merged into its spec, one level deep."""
        document = resources.policy(self._ran())
        for key, value in changes.items():
            old = document["spec"].get(key)
            document["spec"][key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        await self.cluster.apply_objects(document)

    def _ran(self) -> resources.Run:
        if self.run is None:
            raise PartError("the data centre was not started")
        return self.run

    async def _timed(self, what: str, work: Awaitable[None]) -> None:
        began = time.monotonic()
        await work
        self.say(f"{what} ready after {time.monotonic() - began:.1f} s")

    async def _start_cluster(self) -> None:
        if self._given is None:
            self._control_plane = ControlPlane(self.folder, fsync=self._fsync, progress=self._build_progress)
            await self._control_plane.start()

    async def _start(self, part: Part) -> Json:
        self.parts[part.name] = part
        return await part.start()

    async def _start_servers(self) -> None:
        issued = self.ca.issue("127.0.0.1", "localhost")
        vms = list(zip(("web-1", "web-2"), self.subnet.vms, strict=True))
        datastores = self.folder / "vcenter"
        datastores.mkdir(exist_ok=True)
        config = {
            **vcenter.inventory(vms),
            "tempFolder": str(datastores),
            "username": "svc-vmscaler@vsphere.local",
            "password": self._passwords["vcenter"],
            "certificate": issued.certificate,
            "privateKey": issued.key,
            "guests": {"external": True},
        }
        record = await self._start(await vcenter.vcenter(config, folder=self.folder))
        guests = {
            "vcenter": record["control"],
            "bootSeconds": self._boot_seconds,
            "capacity": self._capacity,
            "webPort": WEB,
            "metricsPort": METRICS,
        }
        await self._start(Part("guests", guests, folder=self.folder))
        bigip = {
            "certificate": issued.certificate,
            "key": issued.key,
            "users": [{"name": "svc-vmscaler", "password": self._passwords["bigip"]}],
            "monitors": [{"name": "http_web", "path": "/healthz", "interval": 1, "timeout": self._monitor_timeout}],
            "pools": [{"name": "pool-web", "monitor": "/Common/http_web", "members": [f"{a}:{WEB}" for a in self.subnet.vms]}],
            "virtualServers": [{"name": "vs-web", "destination": f"{self.subnet.vip}:{WEB}", "pool": "pool-web"}],
        }
        await self._start(Part("bigip", bigip, folder=self.folder))
        await self._start(Part("load", {"url": self.vip_url, "rate": 0}, folder=self.folder))

    async def _start_monitoring(self) -> None:
        config = {"folder": str(self.folder), "vms": list(self.subnet.vms)}
        await self._start(Part("monitoring", config, folder=self.folder, deadline=300.0))
        self.ca.write(self._ca_file())

    def _ca_file(self) -> Path:
        """Where Alertmanager finds the CA of Jenkins; the lab's hosts share one file system."""
        return self.folder / "monitoring-ca.pem"

    def _step_command(self) -> Path:
        return self.folder / "agent" / "bin" / "vmscaler-step"

    async def _start_jenkins(self) -> None:
        issued = self.ca.issue("127.0.0.1", "localhost")
        certificate, key = issued.write(self.folder / "pki", "jenkins")
        step = self._step_command()
        step.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "jenkins" / "vmscaler-step", step)
        config = {
            "home": str(self.folder / "jenkins"),
            "users": [{"user": "svc-vmscaler", "password": self._passwords["jenkins"], "token": self._passwords["jenkins-token"]}],
            "cert": str(certificate),
            "key": str(key),
            "executors": 4,
            "queue_scan": 0.2,
        }
        await self._start(Part("jenkins", config, folder=self.folder))

    async def _users(self) -> dict[str, dict[str, str]]:
        key = await asyncio.to_thread(Path(self.parts["monitoring"].record["ssh"]["privateKeyPath"]).read_text)
        return {
            "vcenter-credentials": {"username": "svc-vmscaler@vsphere.local", "password": self._passwords["vcenter"]},
            "bigip-credentials": {"username": "svc-vmscaler", "password": self._passwords["bigip"]},
            "jenkins-credentials": {"username": "svc-vmscaler", "token": self._passwords["jenkins-token"]},
            "monitoring-ssh": {"privateKey": key},
        }

    async def _apply_base(self) -> None:
        cluster = self.cluster
        await cluster.apply(ROOT / "crds")
        await cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=90s", timeout=120)
        await cluster.apply(ROOT / "deploy" / "namespace.yaml", ROOT / "deploy" / "samples" / "namespace.yaml")
        await cluster.apply(ROOT / "deploy" / "rbac.yaml", ROOT / "deploy" / "tenant-roles.yaml")
        await cluster.apply_objects(*resources.secrets(self._ran()))

    def jenkins_login(self) -> dict[str, str]:
        """Headers with the API token of the lab's Jenkins, for what a person does there."""
        return {"Authorization": aiohttp.encode_basic_auth("svc-vmscaler", self._passwords["jenkins-token"])}

    def client_context(self) -> ssl.SSLContext:
        """TLS that trusts the CA of this run alone."""
        return ssl.create_default_context(cadata=self.ca.pem)

    async def control(self, part: str, method: str, path: str, body: Any = None) -> Any:
        """Call a part's control port. Raises PartError with its answer."""
        if self._http is None:
            raise PartError("the data centre was not started")
        url = self.parts[part].record["control"].rstrip("/") + path
        async with self._http.request(method, url, json=body) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise PartError(f"{part} {method} {path}: {answer.status} {text[:500]}")
            return await answer.json(content_type=None) if text else None

    async def faults(self, part: str, faults: Json) -> None:
        """Replace the part's faults; `{}` heals it."""
        await self.control(part, "PUT", "/faults", faults)

    async def rate(self, requests_per_second: float) -> None:
        """Set the load."""
        await self.control("load", "PUT", "/rate", {"rate": requests_per_second})

    async def stop(self) -> None:
        """Stop everything, the operator first."""
        if self.operator is not None:
            await self.operator.stop()
        for name in ("load", "jenkins", "bigip", "guests", "vcenter", "monitoring"):
            if name in self.parts:
                await self.parts[name].stop()
        if self._control_plane is not None:
            await self._control_plane.stop()
        if self._http is not None:
            await self._http.close()
        self.subnet.release()

    async def __aenter__(self) -> DataCentre:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(PartError):
            await self.stop()
