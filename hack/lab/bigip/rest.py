"""iControl REST over aiohttp: faults, identity, the audit log, and then the device (facts/bigip.md).

One catch-all handler, because the device decodes paths in its own way (`lab.bigip.routing`).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from dataclasses import dataclass, field

from aiohttp import web

from .authn import handle_tokens, identify, log_in
from .device import Device
from .errors import ApiError, Json, config_error, framework_error, not_registered, restarting
from .routing import segments

log = logging.getLogger("lab.bigip.rest")
COORDINATION = "X-F5-REST-Coordination-Id"
_TRANSACTION = ("tm", "transaction")


class _LostError(Exception):
    """The answer is not to be sent."""


@dataclass
class Audit:
    """Every write below /mgmt/tm that was answered (or whose answer was lost), and how busy it was."""

    writes: deque[Json] = field(default_factory=lambda: deque(maxlen=10_000))
    requests: int = 0
    logins: int = 0
    busy: int = 0
    most_busy: int = 0

    def write(self, request: web.Request, user: str, body: Json, status: int) -> None:
        """Note one write. No body below /mgmt/tm holds a secret."""
        self.writes.append(
            {
                "n": self.writes[-1]["n"] + 1 if self.writes else 1,
                "method": request.method,
                "path": request.rel_url.raw_path,
                "user": user,
                "status": status,
                "body": body,
                "transaction": request.headers.get(COORDINATION),
            }
        )


class Rest:
    """The HTTP face of a device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.audit = Audit()

    def app(self) -> web.Application:
        """The application to serve over TLS."""
        app = web.Application(client_max_size=16 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        audit = self.audit
        audit.requests += 1
        audit.busy += 1
        audit.most_busy = max(audit.most_busy, audit.busy)
        try:
            answer = await self._answer(request)
            text = "" if answer is None else json.dumps(answer)
            return web.Response(text=text, content_type="application/json", charset="utf-8")
        except ApiError as error:
            log.info("%s %s: %s %s", request.method, request.rel_url.raw_path, error.status, error.message)
            return web.Response(
                status=error.status,
                reason=error.reason,
                text=error.body,
                content_type=error.content_type,
                charset="utf-8",
            )
        except _LostError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        finally:
            audit.busy -= 1

    async def _answer(self, request: web.Request) -> Json | None:
        method, path = request.method, segments(request.rel_url.raw_path)
        await self._strike_all(method, request.path)
        if not path:
            raise not_registered()
        body = await _body(request)
        if path == ("shared", "authn", "login") and method == "POST":
            self.audit.logins += 1
            return log_in(self.device.tokens, body, request.remote or "")
        user = identify(self.device.tokens, self.device.faults, request)
        if path[:3] == ("shared", "authz", "tokens"):
            return handle_tokens(self.device.tokens, method, path[3:], body)
        self._strike_tm(path, method, request.path)
        if method == "GET":
            return self._read(path, request)
        if path[0] != "tm":
            raise not_registered()
        return self._write(request, method, path, body, user)

    def _read(self, path: tuple[str, ...], request: web.Request) -> Json | None:
        if path[:2] == _TRANSACTION:
            return self.device.transactions.handle("GET", path[2:], {})
        return self.device.read(path, dict(request.query))

    def _write(self, request: web.Request, method: str, path: tuple[str, ...], body: Json, user: str) -> Json | None:
        device = self.device
        number = request.headers.get(COORDINATION)
        status = 500
        try:
            if device.faults.strike("refuse_writes", method, request.path):
                raise framework_error(403, f"Authorization failed: user={user} resource={request.path} verb={method}")
            if path[:2] == _TRANSACTION:
                answer = device.transactions.handle(method, path[2:], body)
            elif number is not None and path[:2] == ("tm", "ltm"):
                url = f"https://localhost{request.rel_url.raw_path}"
                answer = device.transactions.queue(number, method, path, url, body)
            else:
                answer = device.write(method, path, dict(request.query), body)
            status = 200
        except ApiError as error:
            status = error.status
            raise
        finally:
            self.audit.write(request, user, body, status)
        if device.faults.strike("lost_answer", method, request.path):
            raise _LostError
        return answer

    async def _strike_all(self, method: str, path: str) -> None:
        """Faults that strike whatever was asked, before anybody looks who asks."""
        faults = self.device.faults
        if fault := faults.strike("latency_s", method, path):
            await asyncio.sleep(float(fault.value))
        if fault := faults.strike("hang", method, path):
            await faults.until_changed(fault)
            raise _LostError
        if faults.get("restart") or faults.strike("http_503", method, path):
            raise restarting()

    def _strike_tm(self, segments_: tuple[str, ...], method: str, path: str) -> None:
        """Faults of what is behind the REST framework."""
        if segments_[0] != "tm":
            return
        faults = self.device.faults
        if faults.strike("unregistered_404", method, path):
            raise not_registered()
        if faults.strike("mcpd_500", method, path):
            raise config_error(500, "The connection to mcpd has been lost, try again.")
        if faults.strike("async_task_503", method, path):
            raise config_error(503, "There is an active asynchronous task executing.")


async def _body(request: web.Request) -> Json:
    """The request's JSON object; {} where there is none. Raises ApiError 400."""
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise framework_error(400, f"Found invalid JSON body in the request. Error: {error}") from error
    if not isinstance(body, dict):
        raise framework_error(400, "Found invalid JSON body in the request.")
    return body
