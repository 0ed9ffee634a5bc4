"""Anything but a Jenkins on loopback, for what only the real adapter can get wrong: other servers' answers, and odd ones of Jenkins'."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from tests.contract.jenkins_bench import API_TOKEN
from tests.fakes.effects import DirectEffects

from vmscaler.adapters.jenkins import JenkinsClient

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Anything but Jenkins, on loopback, in clear."""

    def __init__(self, handler: Handler) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._handler = handler
        self.url = ""

    async def __aenter__(self) -> Server:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.raw_path, dict(request.headers)))
        return await self._handler(request)

    def client(self, **changes: float) -> JenkinsClient:
        return JenkinsClient(self.url, "operator", API_TOKEN, DirectEffects(), **changes)  # type: ignore[arg-type]


def answering(status: int, text: str = "", **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return handler


def by_path(answers: dict[tuple[str, str], tuple[int, str]], mark: str = "2.492.1") -> Handler:
    """Status and text by method and the path's end; Jenkins' own 404 for the rest."""

    async def handler(request: web.Request) -> web.Response:
        fitting = (said for (method, end), said in answers.items() if request.method == method and request.path.endswith(end))
        status, text = next(fitting, (404, "Oops! Not Found"))
        return web.Response(status=status, text=text, headers={"X-Jenkins": mark, "Location": "../"})

    return handler
