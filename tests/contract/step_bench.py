"""A gateway on loopback that answers as a test scripts it, and the step client as a process beside it."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from lab.pki import Authority
from lab.ports import hold_port

STEP_CLIENT = Path(__file__).resolve().parents[2] / "jenkins" / "vmscaler-step"
TOKEN = "sample-step-token-0123456789"
DEADLINE = 60.0
Json = dict[str, Any]
Reply = web.Response | Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(state: str, *, status: int = 200, **more: Any) -> web.Response:
    """What the gateway sends; a state that is left out of the protocol goes out as it is."""
    body = {"state": state, "event": None, "reason": "", "message": "", "progress": [], "next": 0, **more}
    return web.json_response(body, status=status)


@dataclass
class Gateway:
    """Answers one scripted reply for each question (of `by_build` first, for clients side by side), then `last` for ever."""

    authority: Authority = field(default_factory=Authority)
    replies: list[Reply] = field(default_factory=list)
    last: Reply | None = None
    by_build: dict[int, list[Reply]] = field(default_factory=dict)
    questions: list[tuple[str, dict[str, str], Json]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _runner: web.AppRunner | None = None

    async def start(self, issuer: Authority | None = None, name: str = "127.0.0.1") -> None:
        """Serve, on the same port each time."""
        self.port = self.port or hold_port("127.0.0.1")
        issued = (issuer or self.authority).issue(name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        folder = Path(os.environ["STEP_BENCH_FOLDER"])
        certificate, key = issued.write(folder, "gateway")
        context.load_cert_chain(certificate, key)
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=context, reuse_address=True)
        await site.start()

    async def stop(self) -> None:
        """Close the port and cut what is under way."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.questions.append((request.path, dict(request.headers), await request.json()))
        self.asked.set()
        replies = self.by_build.get(self.questions[-1][2]["build"]) or self.replies
        reply = replies.pop(0) if replies else self.last
        assert reply is not None, "the test scripted no further answer"
        return reply if isinstance(reply, web.Response) else await reply(request)


@dataclass
class Ended:
    """How a client ended."""

    code: int
    out: str
    folder: Path


class Client:
    """The step client as Jenkins starts it: by its path, with an environment, in a workspace."""

    def __init__(self, gateway: Gateway, folder: Path) -> None:
        self.folder = folder
        self.env = {
            "PATH": os.environ["PATH"],
            "PYTHONWARNINGS": "error",
            "JOB_NAME": "autoscale-acme-web",
            "BUILD_NUMBER": "7",
            "BUILD_URL": "http://127.0.0.1:8080/job/autoscale-acme-web/7/",
            "VMSCALER_GATEWAY_URL": f"https://127.0.0.1:{gateway.port}",
            "VMSCALER_GATEWAY_CA": base64.b64encode(gateway.authority.pem.encode()).decode(),
            "VMSCALER_STEP_TOKEN": TOKEN,
            "VMSCALER_JOB_GENERATION": "sample-generation-1",
            "am_status": "firing",
            "am_alertname": "VmscalerHighCpu",
        }
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, step: str) -> asyncio.subprocess.Process:
        """Start it; its two outputs are one."""
        self.process = await asyncio.create_subprocess_exec(
            STEP_CLIENT, step, cwd=self.folder, env=self.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        return self.process

    async def line(self) -> str:
        """The next line that it printed."""
        assert self.process is not None and self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), DEADLINE)).decode().rstrip("\n")

    async def ended(self) -> Ended:
        """Wait for the end."""
        assert self.process is not None
        out, _ = await asyncio.wait_for(self.process.communicate(), DEADLINE)
        assert self.process.returncode is not None
        return Ended(self.process.returncode, out.decode(), self.folder)

    async def run(self, step: str) -> Ended:
        """Start it and wait."""
        await self.start(step)
        ended = await self.ended()
        assert TOKEN not in ended.out
        return ended

    @classmethod
    async def side_by_side(cls, gateway: Gateway, folder: Path, step: str, scripts: list[list[Reply]]) -> list[Ended]:
        """One client for each script, as builds 1, 2, ..., at the same time: most of a client's life is Python's start and waiting."""
        gateway.by_build = dict(enumerate(scripts, start=1))
        clients = []
        for number in gateway.by_build:
            workspace = folder / f"build-{number}"
            workspace.mkdir()
            clients.append(cls(gateway, workspace))
            clients[-1].env["BUILD_NUMBER"] = str(number)
        try:
            return list(await asyncio.gather(*(client.run(step) for client in clients)))
        finally:
            for client in clients:
                await client.kill()

    async def kill(self) -> None:
        """Clean up after a test that failed half way."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
