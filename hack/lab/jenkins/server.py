"""Puts the parts together: one aiohttp application behind HTTP or HTTPS, the agent, and the control port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from typing import Any

from aiohttp import web

from lab.jenkins.agent_link import AgentLink
from lab.jenkins.auth import Auth
from lab.jenkins.config import Config
from lab.jenkins.credentials import Credentials
from lab.jenkins.faults import Faults
from lab.jenkins.hook import Hook
from lab.jenkins.jobs import Jobs
from lab.jenkins.root import Root
from lab.jenkins.runner import Runner
from lab.jenkins.runs import Runs
from lab.ports import hold_port
from lab.process import Json, Serving

_BODY_LIMIT = 64 << 20  # hooks of 12 MB are answered (recordings/jenkins/05)


async def main(raw: Json, serving: Serving) -> None:
    """Serve until stopped. `raw` is a Config in JSON; see config.py."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    config = Config.from_json(raw)
    config.home.mkdir(parents=True, exist_ok=True)
    config.workspace.mkdir(parents=True, exist_ok=True)
    async with AgentLink(config) as agent:
        jenkins = Jenkins(config, agent)
        await jenkins.start()
        try:
            serving.ready(jenkins.ready_record())
            await serving.until_stopped()
        finally:
            await jenkins.stop()


class Jenkins:
    """The whole controller."""

    def __init__(self, config: Config, agent: AgentLink) -> None:
        self.config = config
        self.agent = agent
        self.auth = Auth(config.users)
        self.credentials = Credentials()
        self.faults = Faults()
        self.runner = Runner(config, agent, self.credentials)
        self.jobs = Jobs(self.runner, config.home, "")
        self.hook = Hook(self.jobs, self.runner.queue, self.credentials)
        self._port = config.port or hold_port(config.host)
        self._control_port = 0
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        self._control = web.AppRunner(self._control_application(), access_log=None, shutdown_timeout=1.0)
        self._site: web.TCPSite | None = None
        self._switching = asyncio.Lock()
        self._scanner: asyncio.Task[None] | None = None

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self.faults.middleware, self.auth.middleware], client_max_size=_BODY_LIMIT)
        root, runs = Root(self.config, self.jobs, self.runner), Runs(self.jobs, self.runner)
        for routes in (self.auth, self.credentials, self.hook, root, self.jobs, runs):
            app.add_routes(routes.routes())
        return app

    def _control_application(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/status", self._status),
                web.get("/faults", self._get_faults),
                web.put("/faults", self._put_faults),
            ]
        )
        return app

    def ready_record(self) -> dict[str, Any]:
        """What the part writes when it serves."""
        users = [{"user": u.name, "password": u.password, "token": u.token} for u in self.config.users]
        control = f"http://127.0.0.1:{self._control_port}"
        return {"url": self.jobs.root_url, "port": self._port, "users": users, "control": control, "agent_pid": self.agent.pid}

    async def start(self) -> None:
        """Listen; the port that was given or found is kept while the part lives."""
        await self._runner.setup()
        await self._control.setup()
        await self._listen()
        scheme = "https" if self.config.cert else "http"
        self.jobs.root_url = self.config.url or f"{scheme}://{self.config.host}:{self._port}/"
        control = web.TCPSite(self._control, "127.0.0.1", 0)
        await control.start()
        self._control_port = _port_of(control)
        self._scanner = asyncio.create_task(self.runner.queue.run())

    async def _listen(self) -> None:
        tls = None
        if self.config.cert:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(self.config.cert, self.config.key)
        self._site = web.TCPSite(self._runner, self.config.host, self._port, ssl_context=tls, reuse_address=True)
        await self._site.start()

    async def stop(self) -> None:
        """End builds and listeners."""
        self.faults.replace({})
        if self._scanner is not None:
            self._scanner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._scanner
        await self.runner.close(self.jobs.all())
        await self._runner.cleanup()
        await self._control.cleanup()

    async def apply_faults(self) -> None:
        """Make the parts act as the faults say."""
        self.auth.refuse_all = bool(self.faults.get("bad_login"))
        self.hook.lost = bool(self.faults.get("hook_lost"))
        self.runner.queue.lossy = bool(self.faults.get("lose_queue"))
        if self.runner.queue.lossy:
            self.runner.queue.lose()
        async with self._switching:  # one switch at a time: the last one decides, not the slowest
            await self._open_or_close()

    async def _open_or_close(self) -> None:
        if self.faults.get("down") and self._site is not None:
            site, self._site = self._site, None
            await site.stop()
            if self._runner.server is not None:
                await self._runner.server.shutdown(0.1)  # connections that are open end too
        elif not self.faults.get("down") and self._site is None:
            await self._listen()

    async def _get_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self.faults.active)

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            if not isinstance(wanted, dict):
                raise ValueError("an object is wanted")
            self.faults.replace(wanted)
        except (ValueError, json.JSONDecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        await self.apply_faults()
        return web.json_response(self.faults.active)

    async def _status(self, _request: web.Request) -> web.Response:
        jobs = []
        for job in self.jobs.all():
            builds = [
                {
                    "number": b.number,
                    "result": b.result,
                    "building": b.building,
                    "description": b.description,
                    "stage": b.context.environment().get("STAGE_NAME") if b.context else None,
                    "duration_ms": b.duration,
                    "log": str(b.log),
                    "url": b.url,
                }
                for b in job.newest_first[:10]
            ]
            jobs.append({"name": job.name, "buildable": job.buildable, "color": job.color, "builds": builds})
        queue = [{"id": i.id, "job": i.job.name if i.job else None, "state": i.state} for i in self.runner.queue.items.values()]
        return web.json_response({"jobs": jobs, "queue": queue, "busy_executors": len(self.runner.queue.busy)})


def _port_of(site: web.TCPSite) -> int:
    server: Any = site._server
    return int(server.sockets[0].getsockname()[1])
