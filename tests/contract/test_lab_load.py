"""The load generator against a server that counts, is slow, or refuses: what it reports is what happened."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.contract.monitoring_bench import eventually

from lab import load as load_module
from lab.load import Load, Pace, _percentile
from lab.process import Json, Part

pytestmark = pytest.mark.lab


@dataclass
class Counting:
    """A web server that answers with `status` after `delay` seconds."""

    url: str = ""
    requests: int = 0
    connections: int = 0
    goodbyes: int = 0
    """Requests that were announced as their connection's last."""
    status: int = 200
    delay: float = 0.0


@pytest.fixture
async def server() -> AsyncIterator[Counting]:
    counting = Counting()

    async def answer(request: web.Request) -> web.Response:
        counting.requests += 1
        counting.goodbyes += request.headers.get("Connection") == "close"
        await asyncio.sleep(counting.delay)
        return web.Response(text="served", status=counting.status)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    factory = runner.server
    assert factory is not None

    def connected() -> asyncio.BaseProtocol:
        counting.connections += 1
        return factory()

    listener = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0)
    counting.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
    yield counting
    listener.close()
    await runner.cleanup()


@contextlib.asynccontextmanager
async def running(url: str, **options: Any) -> AsyncIterator[Load]:
    load = Load(url, **options)
    await load.start()
    try:
        yield load
    finally:
        await load.stop()


def whole_seconds(load: Load, count: int = 1) -> Callable[[], Awaitable[list[Json]]]:
    """Seconds from the second on (the first one began in the middle) in which somebody was answered: what a stall of ours leaves of one may
    be too short for that."""

    async def look() -> list[Json]:
        found = [second for second in load.seconds()[1:] if second["requests"]]
        return found if len(found) >= count else []

    return look


async def all_answered(load: Load) -> None:
    """Let no request begin any more, and wait for those under way."""
    load.rate = 0

    async def idle() -> bool:
        return load.status()["inFlight"] == 0

    await eventually(idle, "the last answer")


async def test_each_request_is_counted_and_has_its_own_connection(server: Counting) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    async with running(server.url, rate=100, timeout=60) as load:
        seconds = await eventually(whole_seconds(load, 2), "two seconds")
        await all_answered(load)
        totals, sent_in = load.status()["totals"], clock() - began
    assert 0 < totals["sent"] <= 100 * sent_in
    assert totals == {"sent": server.requests, "answered": server.requests}
    assert server.connections == server.requests
    assert sum(second["sent"] for second in seconds) <= totals["sent"]
    assert all(second["rate"] == 100 and second["errors"] == 0 for second in seconds)
    assert all(0 < second["p50"] <= second["p95"] for second in seconds)


async def test_each_second_is_told_once_though_the_loops_clock_is_early(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = iter([1000.999, 1000.999, 1000.9999, 1001.0001, 1001.999, 1001.999, 1002.0])
    monkeypatch.setattr(load_module, "_now", lambda: next(shown, 1002.0))
    async with running("http://127.0.0.1:9/") as load:

        async def two() -> bool:
            return len(load.seconds()) >= 2

        await eventually(two, "two seconds")
    assert [second["t"] for second in load.seconds()] == [1000, 1001]


async def test_a_connection_serves_a_few_requests_and_not_more(server: Counting) -> None:
    # One at a time, so that a second connection is a sign of the first one's end.
    async with running(server.url, rate=400, requests_per_connection=5, max_in_flight=1, timeout=60) as load:

        async def many() -> bool:
            return server.requests >= 200

        await eventually(many, "200 requests")
        await all_answered(load)
    # A fifth, drawn for each: 40 of 200 on average, and fewer than 10 or more than 100 in one of ten million runs.
    assert server.requests / 20 < server.goodbyes < server.requests / 2
    assert server.goodbyes <= server.connections < server.requests / 2


async def test_slow_answers_time_out_as_errors(server: Counting) -> None:
    server.delay = 600
    async with running(server.url, rate=50, timeout=0.3) as load:
        await eventually(with_requests(load), "a second with errors")
        await all_answered(load)
        seconds = await eventually(told(load), "all of them told")
        sent = load.status()["totals"]["sent"]
    assert sum(second["errors"] for second in seconds) == sum(second["errorKinds"].get("timeout", 0) for second in seconds) == sent > 0
    assert all(second["p50"] is None or second["p50"] >= 300 for second in seconds)


def told(load: Load) -> Callable[[], Awaitable[list[Json]]]:
    """All seconds, when every request is in one of them."""

    async def look() -> list[Json]:
        found = load.seconds()
        return found if sum(second["requests"] for second in found) == load.status()["totals"]["sent"] else []

    return look


async def test_users_begin_while_nobody_is_answered_and_what_is_under_way_is_bounded(server: Counting) -> None:
    server.delay = 600
    async with running(server.url, rate=100, timeout=600, max_in_flight=10) as load:

        async def over() -> list[Json]:
            return [second for second in load.seconds() if second["errors"]]

        (second, *_) = await eventually(over, "a second with one too many")
    assert second["inFlight"] == 10 >= server.requests
    assert second["errorKinds"].keys() == {"overload"}


async def test_bad_answers_and_refused_connections_are_errors(server: Counting) -> None:
    server.status = 503
    async with running(server.url, rate=50, timeout=60) as load:
        (second, *_) = await eventually(with_requests(load), "a second with answers")
    assert second["errors"] == second["errorKinds"]["http-503"] == second["requests"] > 0
    async with running("http://127.0.0.1:9/", rate=50, timeout=60) as load:
        (second, *_) = await eventually(with_requests(load), "a second with errors")
    assert second["errors"] == second["errorKinds"]["connection"] > 0
    assert second["p95"] is None  # nobody waited for an answer


def with_requests(load: Load) -> Callable[[], Awaitable[list[Json]]]:
    """Seconds in which a request ended."""

    async def look() -> list[Json]:
        return [second for second in load.seconds() if second["requests"]]

    return look


async def test_it_ends_by_itself(server: Counting) -> None:
    async with running(server.url, rate=100, limit=0.2) as load:

        async def idle() -> bool:
            return load.rate == 0

        await eventually(idle, "the limit of time")
        assert server.requests <= 60  # 0.2 s, and at most a quarter of a second that is made up for


@pytest.mark.parametrize(
    ("asked", "due"),
    [
        ([0.01] * 100, 100),
        ([0.004] * 250, 100),  # parts of a request add up
        ([0.003, 0.2, 0.107, 0.19] * 2, 100),  # however unevenly one asks
        ([5.0], 25),  # a stall is not made up for
        ([0.25, 0.0, 5.0, 0.25], 75),
    ],
)
def test_the_rate_is_kept(asked: list[float], due: int) -> None:
    now = 1000.0
    pace, begun = Pace(now), 0
    for seconds in asked:
        now += seconds
        begun += pace.due(now, 100)
    assert due - 1 <= begun <= due  # the last may be due a rounding error later


async def test_as_a_part_its_rate_is_set_and_its_seconds_are_read(server: Counting, tmp_path: Path) -> None:
    part = Part("load", {"url": server.url}, folder=tmp_path)
    async with part, aiohttp.ClientSession() as session:

        async def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
            async with session.request(method, part.record["control"] + path, json=body) as answer:
                return answer.status, await answer.json()

        assert (await ask("GET", "/status"))[1]["rate"] == 0
        assert server.requests == 0
        assert await ask("PUT", "/rate", {"rate": 40}) == (200, {"rate": 40.0})
        for wrong in ({"rate": -1}, {"rate": 1e9}, {"rate": True}, {"rate": "40"}, {}, [40]):
            assert (await ask("PUT", "/rate", wrong))[0] == 400
        assert (await ask("GET", "/seconds?since=now"))[0] == 400
        assert (await ask("PUT", "/faults", {"any": 1}))[0] == 400

        async def served() -> list[Json]:
            return [second for second in (await ask("GET", "/seconds"))[1] if second["requests"]]

        (first, *_) = await eventually(served, "a second with answers")
        assert (await ask("GET", f"/seconds?since={first['t']}"))[1][:1] != [first]
    told = [json.loads(line) for line in part.tail().splitlines() if line.startswith("{")]
    assert first in told


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "http://localhost:8080/", "https://127.0.0.1/", "127.0.0.1:80", ""])
def test_only_the_labs_own_servers(url: str) -> None:
    with pytest.raises(ValueError, match="only for the lab's own servers"):
        Load(url)


@pytest.mark.parametrize(
    ("waits", "part", "milliseconds"),
    [([], 0.95, None), ([0.01], 0.5, 10.0), ([n / 1000 for n in range(1, 101)], 0.95, 95.0), ([0.001, 0.002], 0.5, 1.0)],
)
def test_percentiles_are_by_nearest_rank(waits: list[float], part: float, milliseconds: float | None) -> None:
    assert _percentile(waits, part) == milliseconds
