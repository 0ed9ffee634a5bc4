"""A lab Jenkins over TLS for the contract suites of the Jenkins port, the adapter and the product's pipeline."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from tests.fakes.effects import DirectEffects

from lab.pki import Authority
from lab.process import Part
from vmscaler.adapters.jenkins import JenkinsClient
from vmscaler.ports.effects import Effects
from vmscaler.ports.jenkins import BuildState

T = TypeVar("T")

USER, PASSWORD, API_TOKEN = "operator", "sample-password", "sample-api-token-0123456789abcdef"
DEADLINE = 60.0


@dataclass(frozen=True)
class LabJenkins:
    """A running lab Jenkins: its URL, control port and CA."""

    url: str
    control: str
    authority: Authority

    def client(self, effects: Effects | None = None, **changes: Any) -> JenkinsClient:
        """The real adapter on it."""
        values: dict[str, Any] = {
            "url": self.url,
            "username": USER,
            "token": API_TOKEN,
            "ca": self.authority.pem,
            "login_rest": 0.0,
            **changes,
        }
        return JenkinsClient(effects=effects or DirectEffects(), **values)

    async def faults(self, **faults: object) -> None:
        """The whole set; none heals."""
        async with aiohttp.ClientSession() as session, session.put(f"{self.control}/faults", json=faults) as response:
            assert response.status == 200, await response.text()

    async def hook(self, token: str, **payload: object) -> dict[str, Any]:
        """Alertmanager's call; the jobs of the answer."""
        url = f"{self.url}generic-webhook-trigger/invoke"
        headers = {"Authorization": f"Bearer {token}"}
        body = {"status": "firing", "commonLabels": {"alertname": "VmscalerHighCpu"}, **payload}
        tls = ssl.create_default_context(cadata=self.authority.pem)
        async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers, ssl=tls) as response:
            jobs: dict[str, Any] = (await response.json())["jobs"] or {}
            return jobs


@contextlib.asynccontextmanager
async def lab_jenkins(folder: Path) -> AsyncIterator[LabJenkins]:
    """Start one with short waits of its queue; stopped at the end."""
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(folder, "jenkins")
    config = {
        "home": str(folder / "home"),
        "users": [{"user": USER, "password": PASSWORD, "token": API_TOKEN}],
        "cert": str(certificate),
        "key": str(key),
        "quiet_period": 0.0,
        "queue_scan": 0.05,
    }
    async with Part("jenkins", config, folder=folder) as part:
        yield LabJenkins(part.record["url"], part.record["control"], authority)


async def until(condition: Callable[[], Awaitable[T]]) -> T:
    """The first true answer. Raises TimeoutError at the deadline."""
    async with asyncio.timeout(DEADLINE):
        while True:
            if found := await condition():
                return found
            await asyncio.sleep(0.05)


async def until_ended(client: JenkinsClient, job: str, number: int) -> BuildState:
    """The build when it has ended (its post section too)."""

    async def ended() -> BuildState | None:
        build = await client.build(job, number)
        return build if build is not None and not build.building and build.result is not None else None

    found = await until(ended)
    assert found is not None
    return found
