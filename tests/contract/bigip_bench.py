"""A lab BIG-IP and web servers behind it, inside the test's own event loop (the part's `main`, without a process).

Used by test_lab_bigip_*.py and by whoever tests a client of the BIG-IP: `async with bench(tmp_path) as bigip: ...`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from lab.bigip.__main__ import main
from lab.pki import Authority
from lab.process import Json, Serving

USER, PASSWORD = "svc-scaler", "sample-password"
POOL = "/mgmt/tm/ltm/pool/~Common~web"
MEMBERS = f"{POOL}/members"


def new(name: str = "10.0.0.5:80", **more: Any) -> Json:
    """The body of a POST to MEMBERS."""
    return {"name": name, "partition": "Common", "address": name.rsplit(":", 1)[0], **more}


def config_error(status: int, message: str, api_error: int = 3) -> tuple[int, Json]:
    """Status and body of an answer with which the configuration's service refuses."""
    return status, {"code": status, "message": message, "errorStack": [], "apiError": api_error}


@dataclass
class Bigip:
    """A running lab BIG-IP. `ca` is a PEM file; `host` is HOST:PORT of the API."""

    record: Json
    authority: Authority
    ca: Path
    session: aiohttp.ClientSession
    token: str = ""

    @property
    def host(self) -> str:
        return str(self.record["url"]).removeprefix("https://")

    @property
    def vip(self) -> str:
        """URL of the only virtual server."""
        (listener,) = self.record["virtualServers"].values()
        return f"http://{listener['address']}:{listener['port']}"

    async def log_in(self) -> Json:
        _, body = await self.raw(
            "POST",
            "/mgmt/shared/authn/login",
            {"username": USER, "password": PASSWORD, "loginProviderName": "tmos"},
            token="",
        )
        self.token = body["token"]["token"]
        return body

    async def raw(self, method: str, path: str, body: Json | None = None, *, token: str | None = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded body (text where it is no JSON, "" where it is empty)."""
        send = {key.replace("_", "-"): value for key, value in headers.items()}
        if token if token is not None else self.token:
            send["X-F5-Auth-Token"] = self.token if token is None else token
        url = aiohttp.client.URL(self.record["url"] + path, encoded=True)
        async with self.session.request(method, url, json=body, headers=send) as response:
            text = await response.text()
            return response.status, await response.json() if text and "json" in response.content_type else text

    async def ok(self, method: str, path: str, body: Json | None = None, **headers: str) -> Any:
        """The body of an answer that must be 200."""
        status, answer = await self.raw(method, path, body, **headers)
        assert status == 200, answer
        return answer

    async def faults(self, **spec: Any) -> Json:
        async with self.session.put(self.record["control"] + "/faults", json=spec) as response:
            answer: Json = await response.json()
            assert response.status == 200, answer
            return answer

    async def status(self) -> Json:
        async with self.session.get(self.record["control"] + "/status") as response:
            answer: Json = await response.json()
            return answer

    async def member(self, name: str) -> Json:
        """What /status says of a member of /Common/web, {} if it is not there."""
        found: Json = (await self.status())["pools"]["/Common/web"]["members"].get(f"/Common/{name}", {})
        return found

    async def until(self, name: str, **wanted: Any) -> Json:
        """Wait until /status shows this of a member."""

        async def seen() -> Json | None:
            found = await self.member(name)
            return found if wanted.items() <= found.items() else None

        return await eventually(seen, f"{name} {wanted}")


async def eventually(look: Callable[[], Awaitable[Any]], what: str, deadline: float = 60.0) -> Any:
    """The first true answer of `look`."""
    end = time.monotonic() + deadline
    while True:
        if found := await look():
            return found
        assert time.monotonic() < end, f"not seen in {deadline} s: {what}"
        await asyncio.sleep(0.02)


class _Here(Serving):
    """A part's Serving whose ready record is awaited instead of printed."""

    def __init__(self) -> None:
        super().__init__()
        self.record: asyncio.Future[Json] = asyncio.get_running_loop().create_future()

    def ready(self, record: Json) -> None:
        self.record.set_result(record)


@contextlib.asynccontextmanager
async def bench(folder: Path, **config: Any) -> AsyncIterator[Bigip]:
    """A BIG-IP with the config of `lab.bigip` (certificate, users and an empty pool /Common/web are there already)."""
    authority = Authority()
    issued = authority.issue("127.0.0.1", "localhost")
    serving = _Here()
    whole = {
        "certificate": issued.certificate,
        "key": issued.key,
        "users": [{"name": USER, "password": PASSWORD}],
        "pools": [{"name": "web"}],
        **config,
    }
    task = asyncio.create_task(main(whole, serving))
    await asyncio.wait({task, serving.record}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
    if task.done():
        await task
    ca = authority.write(folder / "ca.pem")
    tls = aiohttp.TCPConnector(ssl=_trusting(ca))
    async with aiohttp.ClientSession(connector=tls, timeout=aiohttp.ClientTimeout(total=60)) as session:
        try:
            yield Bigip(await serving.record, authority, ca, session)
        finally:
            serving.stop.set()
            await task


def _trusting(ca: Path) -> Any:
    import ssl

    return ssl.create_default_context(cafile=str(ca))


@dataclass
class Backend:
    """A web server: `healthy` decides what /healthz answers; `/slow` waits for `release`."""

    name: str
    healthy: bool = True
    requests: int = 0
    probes: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def health(self, _: web.Request) -> web.Response:
        self.probes += 1
        return web.Response(status=200 if self.healthy else 503)

    async def root(self, _: web.Request) -> web.Response:
        self.requests += 1
        return web.Response(text=self.name)

    async def slow(self, _: web.Request) -> web.Response:
        await self.release.wait()
        return web.Response(text=self.name)


@contextlib.asynccontextmanager
async def backend(address: str) -> AsyncIterator[Backend]:
    """A web server on a free port of `address`."""
    served = Backend("")
    app = web.Application()
    app.add_routes([web.get("/healthz", served.health), web.get("/", served.root), web.get("/slow", served.slow)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, 0).start()
        served.name = f"{address}:{runner.addresses[0][1]}"
        yield served
    finally:
        await runner.cleanup()
