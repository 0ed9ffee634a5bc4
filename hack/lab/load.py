"""The users: an open-loop load on the virtual server, and what they feel each second.

`python -m lab.load --config FILE`, or `Load` in a program of one's own. Open loop: requests start at the rate that is
set, however slow the answers are, as users do who know nothing of each other. Each request has a connection of its own
(or one of every few, see `requestsPerConnection`), because a balancer chooses a member per connection.

Config: `url`; optional: `rate` (requests/s, 0), `timeout` (seconds, 2), `maxInFlight` (500), `requestsPerConnection`
(1), `seconds` (how long at most, 7200), `printSeconds` (true: each second as a line of JSON on the log).

Ready record: url, control. Control port: GET /status; PUT /rate {"rate": 120}; GET /seconds?since=T (those whose `t` is
greater; the last hour at most); GET and PUT /faults (none: its faults are those of what it calls).
"""

from __future__ import annotations

import asyncio
import collections
import ipaddress
import json
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from lab.control import BadRequest, Faults, body, control_port
from lab.process import Json, Serving, serve_part

MAX_RATE = 2000.0
_TICK = 0.01
_CATCH_UP = 0.25  # how much of a stall of our own is made up for, in seconds: more would be a burst that no user made
_KEPT_SECONDS = 3600


class _Tally:
    """One second's figures while they are gathered."""

    def __init__(self) -> None:
        self.sent = 0
        self.errors: collections.Counter[str] = collections.Counter()
        self.answered = 0
        self.waits: list[float] = []

    def record(self, t: int, rate: float, in_flight: int) -> Json:
        """The second as it is shown: see Load.seconds."""
        self.waits.sort()
        errors = sum(self.errors.values())
        return {
            "t": t,
            "rate": rate,
            "sent": self.sent,
            "requests": self.answered + errors,
            "errors": errors,
            "errorKinds": dict(self.errors),
            "p50": _percentile(self.waits, 0.50),
            "p95": _percentile(self.waits, 0.95),
            "inFlight": in_flight,
        }


class Pace:
    """How many requests are due, at any rate and however late one asks. Time is an argument, in seconds of one monotonic clock."""

    def __init__(self, now: float) -> None:
        self._last = now
        self._part = 0.0

    def due(self, now: float, rate: float) -> int:
        """Those since one asked last; of a stall of our own only the last quarter of a second."""
        self._part += rate * min(now - self._last, _CATCH_UP)
        self._last = now
        whole = int(self._part)
        self._part -= whole
        return whole


class Load:
    """Start it, set `rate`, read `seconds`, stop it."""

    def __init__(
        self,
        url: str,
        *,
        rate: float = 0.0,
        timeout: float = 2.0,
        max_in_flight: int = 500,
        requests_per_connection: int = 1,
        limit: float = 7200.0,
        tell: Callable[[Json], None] | None = None,
    ) -> None:
        """`timeout` and `limit` (after which the rate is 0 for good) in seconds; `tell` gets each second as it ends.

        Raises ValueError for a URL that is not plain HTTP at a literal 127/8 address: users of the lab are in the lab."""
        self.url = URL(url)
        try:
            inside = ipaddress.IPv4Address(self.url.host or "").is_loopback
        except ValueError:
            inside = False
        if not inside or self.url.scheme != "http":
            raise ValueError(f"{url} is not http://127.x.y.z...: load is only for the lab's own servers")
        self._timeout, self._max_in_flight, self._per_connection = timeout, max_in_flight, max(1, requests_per_connection)
        self._limit, self._tell = limit, tell
        self._tally = _Tally()
        self._kept: collections.deque[Json] = collections.deque(maxlen=_KEPT_SECONDS)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._rate = 0.0
        self._totals: collections.Counter[str] = collections.Counter()
        self.rate = rate

    @property
    def rate(self) -> float:
        """Requests that start per second. Setting it raises ValueError outside 0-2000."""
        return self._rate

    @rate.setter
    def rate(self, value: float) -> None:
        if not 0 <= value <= MAX_RATE:  # also false for NaN
            raise ValueError(f"rate must be 0 to {MAX_RATE:.0f} requests per second")
        self._rate = float(value)

    async def start(self) -> None:
        """Begin."""
        alone = self._per_connection == 1
        connector = aiohttp.TCPConnector(limit=0, force_close=alone, keepalive_timeout=None if alone else 1.0)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._close_seconds())]

    async def stop(self) -> None:
        """End; requests under way are dropped."""
        for task in [*self._tasks, *self._in_flight]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._in_flight, return_exceptions=True)
        await self._session.close()

    def seconds(self, since: float = 0) -> list[Json]:
        """The seconds that ended, oldest first, with `t` (epoch) greater than `since`.

        Each: t, rate (as set), sent (started), requests (ended), errors, errorKinds (timeout, connection, overload,
        http-NNN), p50 and p95 (ms of all that got an answer or waited out the time limit; null if none), inFlight."""
        return [one for one in self._kept if one["t"] > since]

    def status(self) -> Json:
        """For GET /status."""
        return {"url": str(self.url), "rate": self._rate, "inFlight": len(self._in_flight), "totals": dict(self._totals)}

    async def _send(self) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        pace = Pace(began)
        while True:
            await asyncio.sleep(_TICK)
            now = clock()
            if now - began > self._limit:
                self._rate = 0.0
            for _ in range(pace.due(now, self._rate)):
                self._begin()

    def _begin(self) -> None:
        self._tally.sent += 1
        self._totals["sent"] += 1
        if len(self._in_flight) >= self._max_in_flight:
            self._failed("overload")
            return
        task = asyncio.create_task(self._request())
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _request(self) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        # With several requests per connection, each may be its connection's last with probability 1/N: N on average,
        # and no two users in step.
        last = random.random() < 1 / self._per_connection  # no secret
        try:
            async with self._session.get(self.url, headers={"Connection": "close"} if last else None, allow_redirects=False) as answer:
                await answer.read()
        except TimeoutError:
            self._tally.waits.append(clock() - began)
            self._failed("timeout")
            return
        except (aiohttp.ClientError, OSError):
            self._failed("connection")
            return
        self._tally.waits.append(clock() - began)
        if answer.status >= 400:
            self._failed(f"http-{answer.status}")
        else:
            self._tally.answered += 1
            self._totals["answered"] += 1

    def _failed(self, kind: str) -> None:
        self._tally.errors[kind] += 1
        self._totals["errors"] += 1

    async def _close_seconds(self) -> None:
        while True:
            second = math.floor(_now())
            while math.floor(now := _now()) == second:  # noqa: ASYNC110 - the loop's clock is another, and may be early by this one
                await asyncio.sleep(second + 1 - now)
            tally, self._tally = self._tally, _Tally()
            record = tally.record(second, self._rate, len(self._in_flight))
            self._kept.append(record)
            if self._tell is not None:
                self._tell(record)


def _now() -> float:
    return time.time()  # noqa: TID251 (people compare these seconds with their own clock)


def _percentile(waits: Sequence[float], part: float) -> float | None:
    """Nearest rank, in ms; None of nothing. `waits` is sorted, in seconds."""
    if not waits:
        return None
    return round(1000 * waits[max(0, math.ceil(part * len(waits)) - 1)], 1)


async def _main(config: Json, serving: Serving) -> None:
    load = Load(
        config["url"],
        rate=config.get("rate", 0),
        timeout=config.get("timeout", 2.0),
        max_in_flight=config.get("maxInFlight", 500),
        requests_per_connection=config.get("requestsPerConnection", 1),
        limit=config.get("seconds", 7200),
        tell=_print if config.get("printSeconds", True) else None,
    )

    async def put_rate(request: web.Request) -> web.Response:
        asked: Any = await body(request)
        rate = asked.get("rate") if isinstance(asked, dict) else None
        if not isinstance(rate, int | float) or isinstance(rate, bool):
            raise BadRequest("rate is needed, a number")
        try:
            load.rate = rate
        except ValueError as error:
            raise BadRequest(str(error)) from None
        return web.json_response({"rate": load.rate})

    async def get_seconds(request: web.Request) -> web.Response:
        try:
            since = float(request.query.get("since", "0"))
        except ValueError:
            raise BadRequest("since is a number of seconds") from None
        return web.json_response(load.seconds(since))

    async def no_faults(_: Json) -> None:
        """The set is empty: the names were checked before."""

    routes = [web.put("/rate", put_rate), web.get("/seconds", get_seconds)]
    async with control_port(load.status, Faults({}, no_faults), routes) as control:
        await load.start()
        try:
            serving.ready({"url": str(load.url), "control": control})
            await serving.until_stopped()
        finally:
            await load.stop()


def _print(record: Json) -> None:
    print(json.dumps(record), file=sys.stderr, flush=True)


if __name__ == "__main__":
    serve_part(_main)
