"""A part's control port: README.md point 5 (plain HTTP, JSON, loopback).

Called by the parts; the lab, its command line and the tests are the clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

Json = dict[str, Any]


class BadRequest(ValueError):
    """What the client asked for cannot be: answered with 400 and this text."""


class Faults:
    """The faults that are on. `known` maps each name to the values it takes, in words; `apply` makes the new set true.

    `apply` gets the whole new set and raises BadRequest (before any change) for a value that it does not know."""

    def __init__(self, known: Mapping[str, str], apply: Callable[[Json], Awaitable[None]]) -> None:
        self.known = dict(known)
        self.current: Json = {}
        self._apply = apply
        self._lock = asyncio.Lock()

    async def put(self, wanted: object) -> Json:
        """Replace the set. Raises BadRequest for what is not an object or names an unknown fault."""
        if not isinstance(wanted, dict):
            raise BadRequest("the whole set of faults as one object is needed")
        if unknown := sorted(set(wanted) - set(self.known)):
            raise BadRequest(f"no such fault: {', '.join(unknown)}")
        async with self._lock:
            await self._apply(wanted)
            self.current = wanted
        return self.current


@contextlib.asynccontextmanager
async def control_port(
    status: Callable[[], Json | Awaitable[Json]],
    faults: Faults,
    routes: Iterable[web.RouteDef] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[str]:
    """Serve GET /status, GET and PUT /faults and `routes` while the context is open; gives the port's URL."""

    async def get_status(_: web.Request) -> web.Response:
        found = status()
        return web.json_response(await found if inspect.isawaitable(found) else found)

    async def get_faults(_: web.Request) -> web.Response:
        return web.json_response(faults.current)

    async def put_faults(request: web.Request) -> web.Response:
        try:
            return web.json_response(await faults.put(await body(request)))
        except BadRequest as refusal:
            return web.json_response({"error": str(refusal), "known": faults.known}, status=400)

    app = web.Application(middlewares=[_refusals])
    app.add_routes([web.get("/status", get_status), web.get("/faults", get_faults), web.put("/faults", put_faults)])
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0]
        yield f"http://{bound[0]}:{bound[1]}"
    finally:
        await runner.cleanup()


async def body(request: web.Request) -> Any:
    """The request's JSON. Raises BadRequest if it is none."""
    try:
        return json.loads(await request.text())
    except ValueError as error:
        raise BadRequest(f"no JSON: {error}") from None


@web.middleware
async def _refusals(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadRequest as refusal:
        return web.json_response({"error": str(refusal)}, status=400)
