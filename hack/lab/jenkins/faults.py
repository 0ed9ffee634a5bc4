"""What can be made to go wrong; switched at the control port.

down        true: connections are refused (the listener is closed)
starting    true: 500, 500, then 503 ("getting ready") until it is healed (recordings/jenkins/13)
http_500    true: every request is answered with 500
latency_s   seconds that every answer takes longer
hang        true: requests are taken and not answered
bad_login   true: every basic login is wrong (401)
lose_queue  true: what waits in the queue is lost as by a hard stop, and what is queued from now on too; hooks still answer 200
hook_lost   true: hooks answer 200 with a queue id, nothing is queued
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from lab.jenkins import pages
from lab.jenkins.auth import Handler

KNOWN = ("bad_login", "down", "hang", "hook_lost", "http_500", "latency_s", "lose_queue", "starting")


class Faults:
    """The set that is on."""

    def __init__(self) -> None:
        self.active: dict[str, Any] = {}
        self._starting_answers = 0
        self._answering = asyncio.Event()
        self._answering.set()

    def get(self, name: str) -> Any:
        """The value of a fault; None when it is off."""
        return self.active.get(name)

    def replace(self, wanted: dict[str, Any]) -> None:
        """The whole set anew. Raises ValueError that lists the known names."""
        if unknown := sorted(set(wanted) - set(KNOWN)):
            raise ValueError(f"unknown fault {unknown[0]!r}; known: {', '.join(KNOWN)}")
        latency = wanted.get("latency_s", 0)
        if not isinstance(latency, int | float) or isinstance(latency, bool) or latency < 0:
            raise ValueError("latency_s is a number of seconds")
        self._starting_answers = 0
        self.active = {name: value for name, value in wanted.items() if value}
        if self.active.get("hang"):
            self._answering.clear()
        else:
            self._answering.set()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Before everything else."""
        if self.get("down") and request.transport is not None:
            request.transport.abort()  # it was connecting when the listener was closed
            return web.Response()
        await self._answering.wait()
        if self.get("latency_s"):
            await asyncio.sleep(float(self.get("latency_s")))
        if self.get("starting"):
            self._starting_answers += 1
            if self._starting_answers <= 2:
                return pages.container_error(500, "java.lang.IllegalStateException", request.path)
            return pages.page(503, "Starting Jenkins", "Please wait while Jenkins is getting ready to work ...")
        if self.get("http_500"):
            return pages.oops()
        return await handler(request)
