"""The whole monitoring host: sshd, Prometheus, Alertmanager, their files, and what can be made to go wrong.

Called by `lab.monitoring.__main__`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from lab.control import BadRequest, Json, body
from lab.monitoring.child import Child
from lab.monitoring.files import Files
from lab.monitoring.sink import Sink
from lab.monitoring.sshd import SshServer
from lab.ports import hold_port
from lab.process import PartError
from lab.programs import MonitoringPrograms, say

# Each fault and the values it takes. "hangs": connections are accepted and never answered.
FAULTS = {
    "sshd": ("down", "hangs", "hostKeyChanged"),
    "prometheus": ("down", "hangs", "noReload"),
    "alertmanager": ("down", "hangs"),
    "promtool": ("missing", "fails"),
    "amtool": ("missing", "fails"),
}
_HERE = ("down", "hangs")  # what `_become` does without a start of another kind
_LAB_FLAGS = (
    # Enough for a day of the lab; the smallest segments that Prometheus takes.
    "--storage.tsdb.retention.time=1d",
    "--storage.tsdb.wal-segment-size=10MB",
    # For up to 5 s after a start or a reload Prometheus knows no Alertmanager, and what fires then is sent again after
    # this time only (1m is the default).
    "--rules.alert.resend-delay=2s",
)


@dataclass(frozen=True)
class Settings:
    """The part's config; see `lab.monitoring.__main__`."""

    folder: Path
    vms: tuple[str, str]
    address: str = "127.0.0.1"
    scrape_interval: str = "1s"
    evaluation_interval: str = "1s"
    group_wait: str = "1s"
    group_interval: str = "5s"


class Host:
    """Start it, switch its faults, stop it."""

    def __init__(self, settings: Settings, programs: MonitoringPrograms, sink: Sink) -> None:
        self.files = Files(settings.folder)
        self.sink = sink
        self._settings, self._programs = settings, programs
        self._prometheus_port, self._alertmanager_port = hold_port(settings.address), hold_port(settings.address)
        self._faults: Json = {}
        self._prometheus = Child("prometheus", self.files.log("prometheus"), self._answers(self.prometheus_url))
        self._alertmanager = Child(
            "alertmanager",
            self.files.log("alertmanager"),
            self._answers(self.alertmanager_url),
            folder=programs.alertmanager_folder,
        )
        self._lock = asyncio.Lock()

    @property
    def prometheus_url(self) -> str:
        """Without a slash at the end."""
        return f"http://{self._settings.address}:{self._prometheus_port}"

    @property
    def alertmanager_url(self) -> str:
        """Without a slash at the end."""
        return f"http://{self._settings.address}:{self._alertmanager_port}"

    async def start(self, sink_url: str) -> None:
        """Lay out the files and start all three side by side. Raises PartError."""
        settings, address = self._settings, self._settings.address
        self.files.write_people(
            {
                "prometheus": f"{address}:{self._prometheus_port}",
                "alertmanager": f"{address}:{self._alertmanager_port}",
                "first_vm": f"{settings.vms[0]}:9100",
                "second_vm": f"{settings.vms[1]}:9100",
                "nothing": f"{address}:9",  # discard: refused at once on any machine of today
                "sink": sink_url,
                "scrape_interval": settings.scrape_interval,
                "evaluation_interval": settings.evaluation_interval,
                "group_wait": settings.group_wait,
                "group_interval": settings.group_interval,
            }
        )
        for name in ("promtool", "amtool"):
            self.files.set_program(name, getattr(self._programs, name), None)
        self._ssh = SshServer(self.files.state / "ssh", self.files.log("sshd"), address, hold_port(address))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ssh.choose())
                group.create_task(self._start_prometheus())
                group.create_task(self._start_alertmanager())
        except* PartError as failed:
            raise failed.exceptions[0] from None
        say(f"monitoring: prometheus {self._programs.prometheus_version} at {self.prometheus_url}")
        say(f"monitoring: alertmanager {self._programs.alertmanager_version} at {self.alertmanager_url}")

    async def stop(self) -> None:
        """End all of it."""
        children = [self._prometheus, self._alertmanager]
        if ssh := getattr(self, "_ssh", None):
            children.append(ssh.child)
        await asyncio.gather(*(child.stop() for child in children))

    def record(self) -> Json:
        """The ready record, less `control`."""
        files = self.files
        return {
            "ssh": {
                "host": self._ssh.address,
                "port": self._ssh.port,
                "user": self._ssh.user,
                "hostKeys": self._ssh.host_keys(),
                "privateKeyPath": str(self._ssh.private_key),
                "kind": self._ssh.kind,
            },
            "prometheus": {
                "url": self.prometheus_url,
                "reloadUrl": f"{self.prometheus_url}/-/reload",
                "configFile": str(files.prometheus),
                "rulesDir": str(files.rules),
                "targetsDir": str(files.targets),
                "promtool": str(files.program("promtool")),
            },
            "alertmanager": {
                "url": self.alertmanager_url,
                "reloadUrl": f"{self.alertmanager_url}/-/reload",
                "configFile": str(files.alertmanager),
                "tokensDir": str(files.tokens),
                "amtool": str(files.program("amtool")),
            },
            "versions": {
                "prometheus": self._programs.prometheus_version,
                "alertmanager": self._programs.alertmanager_version,
                "sshd": self._ssh.kind,
            },
        }

    def status(self) -> Json:
        """For GET /status: state is running, hung, down or exited."""
        return {
            "sshd": {
                **self._ssh.status(),
                "hostKeys": self._ssh.host_keys(pinned=self._faults.get("sshd") != "hostKeyChanged"),
            },
            "prometheus": {"state": self._prometheus.state, "pid": self._prometheus.pid},
            "alertmanager": {"state": self._alertmanager.state, "pid": self._alertmanager.pid},
            "versions": self.record()["versions"],
        }

    async def apply(self, wanted: Json) -> None:
        """Make this set of faults true. Raises BadRequest, before any change, for a value that a fault does not take."""
        for name, value in wanted.items():
            if value not in FAULTS[name]:
                raise BadRequest(f"{name} takes one of: {', '.join(FAULTS[name])}")
        async with self._lock:
            for name in FAULTS:
                before, after = self._faults.get(name), wanted.get(name)
                if before == after:
                    continue
                if name in ("promtool", "amtool"):
                    self.files.set_program(name, getattr(self._programs, name), after)
                else:
                    await self._become(name, before, after)
                self._faults = {key: value for key, value in {**self._faults, name: after}.items() if value}

    async def restart(self, name: object) -> None:
        """Stop and start one of the three; a fault of it stays on. Raises BadRequest for another name."""
        if name not in ("sshd", "prometheus", "alertmanager"):
            raise BadRequest("name is sshd, prometheus or alertmanager")
        async with self._lock:
            fault = self._faults.get(str(name))
            child, start = self._parts(str(name))
            await child.stop()
            if fault != "down":
                await start(fault)
            if fault == "hangs":
                await child.hang()

    def routes(self) -> list[web.RouteDef]:
        """What the control port has beside the usual: POST /restart, POST /people-edit, GET /notifications."""

        async def restart(request: web.Request) -> web.Response:
            await self.restart(_field(await body(request), "name"))
            return web.json_response(self.status())

        async def people_edit(request: web.Request) -> web.Response:
            asked = await body(request)
            path = self.files.append_comment(_field(asked, "file"), _field(asked, "comment"))
            return web.json_response({"path": str(path)})

        return [
            web.post("/restart", restart),
            web.post("/people-edit", people_edit),
            web.get("/notifications", self.sink.listed),
        ]

    async def _become(self, name: str, before: str | None, after: str | None) -> None:
        child, start = self._parts(name)
        if before == "hangs":
            child.resume()
            before = None
        restarts = before != after and (before not in (None, *_HERE) or after not in (None, *_HERE))
        if after == "down" or restarts:
            await child.stop()
        if after != "down" and child.state in ("down", "exited"):
            await start(after)
        if after == "hangs":
            await child.hang()

    def _parts(self, name: str) -> tuple[Child, Callable[[str | None], Awaitable[None]]]:
        if name == "prometheus":
            return self._prometheus, self._start_prometheus
        if name == "alertmanager":
            return self._alertmanager, self._start_alertmanager
        return self._ssh.child, lambda fault: self._ssh.start(pinned=fault != "hostKeyChanged")

    async def _start_prometheus(self, fault: str | None = None) -> None:
        await self._prometheus.start(
            [
                self._programs.prometheus,
                f"--config.file={self.files.prometheus}",
                f"--storage.tsdb.path={self.files.state / 'prometheus'}",
                f"--web.listen-address={self._settings.address}:{self._prometheus_port}",
                *_LAB_FLAGS,
                *([] if fault == "noReload" else ["--web.enable-lifecycle"]),
            ]
        )

    async def _start_alertmanager(self, fault: str | None = None) -> None:
        await self._alertmanager.start(
            [
                self._programs.alertmanager,
                f"--config.file={self.files.alertmanager}",
                f"--storage.path={self.files.state / 'alertmanager'}",
                f"--web.listen-address={self._settings.address}:{self._alertmanager_port}",
                "--cluster.listen-address=",  # alone: no gossip port
            ]
        )

    @staticmethod
    def _answers(url: str) -> Callable[[], Awaitable[bool]]:
        async def ready() -> bool:
            try:
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                    session.get(f"{url}/-/ready") as answer,
                ):
                    return answer.status == 200
            except (aiohttp.ClientError, TimeoutError):
                return False

        return ready


def _field(asked: Any, name: str) -> str:
    value = asked.get(name) if isinstance(asked, dict) else None
    if not isinstance(value, str):
        raise BadRequest(f"{name} is needed, a string")
    return value
