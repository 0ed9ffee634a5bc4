"""Where people's notifications end up: their webhook receivers point here, so that tests see that they still arrive.

Called by `lab.monitoring.host`.
"""

from __future__ import annotations

import collections
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from lab.control import BadRequest

_KEPT = 1000


class Sink:
    """The last notifications, numbered from 1."""

    def __init__(self) -> None:
        self._kept: collections.deque[dict[str, Any]] = collections.deque(maxlen=_KEPT)
        self._count = 0

    def since(self, number: int) -> list[dict[str, Any]]:
        """Those after `number`: {number, receiver (of the URL), body (Alertmanager's payload v4)}."""
        return [one for one in self._kept if one["number"] > number]

    @contextlib.asynccontextmanager
    async def serve(self, address: str) -> AsyncIterator[str]:
        """Take POST <url>/<receiver> while the context is open; gives the URL."""
        app = web.Application()
        app.router.add_post("/notify/{receiver}", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, address, 0).start()
            yield f"http://{address}:{runner.addresses[0][1]}/notify"
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        said = await request.json()
        # Numbered once it is whole: one that was slow to arrive would get into the list below the number that a client has read up to.
        self._count += 1
        self._kept.append({"number": self._count, "receiver": request.match_info["receiver"], "body": said})
        return web.Response()

    async def listed(self, request: web.Request) -> web.Response:
        """GET /notifications?since=N of the control port."""
        since = request.query.get("since", "0")
        if not since.isdecimal():
            raise BadRequest("since is a number")
        return web.json_response(self.since(int(since)))
