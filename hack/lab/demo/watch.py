"""Looks at every system of the lab twice a second, as a person with its URLs would, and keeps what it saw. Called by `lab.demo.play`.

A system that does not answer leaves its last picture standing and is named in the snapshot's `trouble`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import aiohttp

from lab.attached import Attached
from lab.demo.snapshot import Build, Rule, Snapshot, Vm
from lab.demo.summary import Sample
from lab.kubectl import KubectlError
from lab.process import Json, PartError

SITE, NAMESPACE, POLICY, SERVICE, POOL = "default", "acme", "web", "web", "/Common/pool-web"
JOB = f"autoscale-{NAMESPACE}-{SERVICE}"
EVERY = 0.5
_STAGE = re.compile(r"^\[Pipeline\] \{ \((.+)\)\s*$", re.MULTILINE)


def wall() -> float:
    """Epoch seconds: every system of the lab records times of the same clock."""
    return time.time()  # noqa: TID251


class Watch:
    """Use as an async context manager; `now` is the last look, `samples` all looks at CPUs, `seconds` all of the load's."""

    def __init__(self, lab: Attached) -> None:
        self._lab = lab
        self._seen: dict[str, Any] = {}
        self._consoles: dict[int, str] = {}
        self.seconds: list[Json] = []
        self.samples: list[Sample] = []
        self.now = Snapshot(wall())
        self.first_event = False
        """Whether the story is of the first event; else it is of the newest."""
        self._looked = asyncio.Event()
        self._began = wall()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def next(self) -> Snapshot:
        """The next look. Raises what ended the looking, if something did."""
        assert self._task is not None
        looked = asyncio.ensure_future(self._looked.wait())
        await asyncio.wait({looked, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            looked.cancel()
            self._task.result()
        return self.now

    async def _loop(self) -> None:
        turn = 0
        while True:
            began = time.monotonic()
            looks = {"load": self._load, "VMs": self._vms, "BIG-IP": self._pool, "Prometheus": self._rule, "Alertmanager": self._alert}
            if turn % 2 == 0:
                looks |= {"Jenkins": self._builds, "Kubernetes": self._objects}
            turn += 1
            trouble = [one for one in await asyncio.gather(*(self._try(name, look) for name, look in looks.items())) if one]
            self.now = self._snapshot(trouble)
            self.samples.append(
                Sample(self.now.at, {vm.name: vm.cpu for vm in self.now.vms if vm.in_service}, sum(vm.in_service for vm in self.now.vms))
            )
            looked, self._looked = self._looked, asyncio.Event()
            looked.set()
            await asyncio.sleep(max(0.05, EVERY - (time.monotonic() - began)))

    async def _try(self, name: str, look: Callable[[], Awaitable[Any]]) -> str:
        try:
            async with asyncio.timeout(10):
                self._seen[name] = await look()
        except (PartError, KubectlError, aiohttp.ClientError, TimeoutError, ValueError) as error:
            return f"{name}: {error or 'no answer'}"
        return ""

    def _snapshot(self, trouble: list[str]) -> Snapshot:
        members = self._seen.get("BIG-IP", {})
        vms = []
        for vm in self._seen.get("VMs", []):
            member = members.get(vm["address"], {}) if vm["address"] else {}
            vms.append(
                Vm(
                    vm["name"],
                    vm["address"],
                    vm["phase"],
                    vm.get("cpu", 0.0),
                    vm.get("served", 0),
                    member.get("session", ""),
                    member.get("state", ""),
                )
            )
        objects: list[Json] = self._seen.get("Kubernetes", [])
        events = [o for o in objects if o["kind"] == "ScaleOutEvent" and o["spec"]["policyRef"]["name"] == POLICY]
        events.sort(key=lambda event: int(event["spec"]["sequence"]))
        return Snapshot(
            at=wall(),
            rate=self._seen.get("load", 0.0),
            seconds=tuple(self.seconds[-120:]),
            vms=tuple(vms),
            rule=self._seen.get("Prometheus", Rule()),
            alert_since=self._seen.get("Alertmanager"),
            builds=tuple(self._seen.get("Jenkins", ())),
            event=events[0 if self.first_event else -1] if events else None,
            instances=tuple(o for o in objects if o["kind"] == "VmInstance"),
            trouble=tuple(trouble),
        )

    async def _load(self) -> float:
        since = self.seconds[-1]["t"] if self.seconds else self._began - 1
        self.seconds += await self._lab.control("load", "GET", f"/seconds?since={since}")
        status: Json = await self._lab.control("load", "GET", "/status")
        return float(status["rate"])

    async def _vms(self) -> list[Json]:
        found: list[Json] = (await self._lab.control("guests", "GET", "/status"))["vms"]
        return found

    async def _pool(self) -> dict[str, Json]:
        status = await self._lab.control("bigip", "GET", "/status")
        pool: dict[str, Json] = status["pools"].get(POOL, {}).get("members", {})
        return {member["address"]: member for member in pool.values()}

    async def _rule(self) -> Rule:
        url = self._lab.state["monitoring"]["prometheus"]["url"]
        alerts = (await self._lab.get_json(f"{url}/api/v1/alerts"))["data"]["alerts"]
        own = {"vmscaler_policy": f"{NAMESPACE}/{POLICY}", "vmscaler_site": SITE}  # people's alerts on our VMs have no site
        ours = [alert for alert in alerts if own.items() <= alert["labels"].items()]
        if not ours:
            return Rule()
        first = ours[0]
        return Rule(first["state"], _epoch(first["activeAt"]), float(first["value"]))

    async def _alert(self) -> float | None:
        url = self._lab.state["monitoring"]["alertmanager"]["url"]
        query = f'filter=vmscaler_policy="{NAMESPACE}/{POLICY}"&filter=vmscaler_site="{SITE}"&active=true'
        alerts = await self._lab.get_json(f"{url}/api/v2/alerts?{query}")
        return min((_epoch(alert["startsAt"]) for alert in alerts), default=None)

    async def _builds(self) -> list[Build]:
        tree = "builds[number,result,timestamp,description]"
        job = await self._lab.jenkins(f"job/{JOB}/api/json?tree={tree}")
        builds = []
        for build in (job or {}).get("builds", [])[:10]:
            number, result = build["number"], build["result"]
            if result is None or number not in self._consoles:
                text = await self._lab.jenkins(f"job/{JOB}/{number}/consoleText") or ""
                self._consoles[number] = (_STAGE.findall(text) or ["queued"])[-1]
            builds.append(Build(number, build["timestamp"] / 1000, result, self._consoles[number], build.get("description") or ""))
        return builds

    async def _objects(self) -> list[Json]:
        return await self._lab.objects("scaleoutevents,vminstances", NAMESPACE)


def _epoch(text: str) -> float:
    """Of Go's RFC 3339, whose fractions may have nine digits: more than Python 3.11 reads from some of them."""
    whole = re.sub(r"(\.\d{6})\d+", r"\1", text)
    return datetime.fromisoformat(whole).timestamp()
