"""Monitors, balancing and drain of the lab BIG-IP, judged by real web servers and real connections."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.contract.bigip_bench import MEMBERS, Backend, Bigip, backend, bench, eventually

# A member is down when nothing that fits came for `timeout` seconds: so long may a busy machine keep this process waiting.
MONITOR = {"name": "http_web", "path": "/healthz", "interval": 0.1, "timeout": 2}


@pytest.fixture
async def servers() -> AsyncIterator[tuple[Backend, Backend]]:
    async with backend("127.0.0.20") as first, backend("127.0.0.21") as second:
        yield first, second


@contextlib.asynccontextmanager
async def running(folder: Path, *members: Any, monitor: dict[str, Any] | None = None, **pool: Any) -> Any:
    """A BIG-IP with one virtual server on a free port, logged in."""
    config = {
        "monitors": [MONITOR if monitor is None else monitor],
        "pools": [{"name": "web", "monitor": "http_web", "members": list(members), **pool}],
        "virtualServers": [{"name": "vs-web", "destination": "127.0.0.10:0", "pool": "web"}],
    }
    async with bench(folder, **config) as bigip:
        await bigip.log_in()
        yield bigip


async def get(bigip: Bigip, path: str = "/") -> str:
    """One request on a connection of its own. Raises aiohttp.ClientError."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        session.get(bigip.vip + path, timeout=aiohttp.ClientTimeout(total=60)) as response,
    ):
        return await response.text()


async def answers(bigip: Bigip, n: int) -> Counter[str]:
    return Counter([await get(bigip) for _ in range(n)])


async def patch(bigip: Bigip, server: Backend, session: str, state: str = "user-up") -> Any:
    return await bigip.ok("PATCH", f"{MEMBERS}/~Common~{server.name}", {"session": session, "state": state})


async def test_round_robin_over_members_that_are_up(tmp_path: Path, servers: tuple[Backend, Backend]) -> None:
    first, second = servers
    async with running(tmp_path, first.name, second.name) as bigip:
        await bigip.until(first.name, session="monitor-enabled", state="up")
        await bigip.until(second.name, state="up")
        assert await answers(bigip, 10) == {first.name: 5, second.name: 5}
        second.healthy = False
        await bigip.until(second.name, session="monitor-enabled", state="down")
        assert await answers(bigip, 6) == {first.name: 6}
        second.healthy = True
        await bigip.until(second.name, state="up")
        assert await answers(bigip, 4) == {first.name: 2, second.name: 2}
        assert (await bigip.member(first.name))["totConns"] == first.requests == 13


async def test_a_new_member_gets_traffic_before_its_first_probe_unless_it_joins_disabled(
    tmp_path: Path, servers: tuple[Backend, Backend]
) -> None:
    first, second = servers
    slow = {"name": "http_web", "send": "GET /slow HTTP/1.0\\r\\n\\r\\n", "interval": 30, "timeout": 61}
    async with running(tmp_path, monitor=slow) as bigip:
        for server, session in ((first, "user-enabled"), (second, "user-disabled")):
            body = {"name": server.name, "partition": "Common", "session": session}
            assert (await bigip.ok("POST", MEMBERS, body))["state"] == "checking"
        assert await answers(bigip, 3) == {first.name: 3}
        await patch(bigip, second, "user-enabled")
        assert await answers(bigip, 4) == {first.name: 2, second.name: 2}


async def test_a_member_that_joined_disabled_comes_up_and_is_then_enabled(tmp_path: Path, servers: tuple[Backend, Backend]) -> None:
    first, second = servers
    async with running(tmp_path, first.name) as bigip:
        await bigip.ok("POST", MEMBERS, {"name": second.name, "partition": "Common", "session": "user-disabled"})
        await bigip.until(second.name, session="user-disabled", state="up")
        assert second.probes and not second.requests
        assert (await patch(bigip, second, "user-enabled"))["state"] == "up"
        assert (await answers(bigip, 4))[second.name] == 2


async def test_a_drain(tmp_path: Path, servers: tuple[Backend, Backend]) -> None:
    first, second = servers
    async with running(tmp_path, first.name, second.name) as bigip:
        await bigip.until(first.name, state="up")
        await bigip.until(second.name, state="up")
        await patch(bigip, first, "user-disabled")
        asked = asyncio.create_task(get(bigip, "/slow"))
        await bigip.until(second.name, curConns=1)
        await patch(bigip, first, "user-enabled")
        await patch(bigip, second, "user-disabled")
        assert await answers(bigip, 4) == {first.name: 4}
        stats = await bigip.ok("GET", f"{MEMBERS}/~Common~{second.name}/stats")
        (entry,) = stats["entries"].values()
        values = entry["nestedStats"]["entries"]
        assert values["serverside.curConns"] == {"value": 1}
        assert values["status.enabledState"] == {"description": "disabled"}
        assert values["status.availabilityState"] == {"description": "available"}
        second.release.set()
        assert await asked == second.name
        await bigip.until(second.name, curConns=0)
        await bigip.ok("DELETE", f"{MEMBERS}/~Common~{second.name}")
        await bigip.ok("DELETE", "/mgmt/tm/ltm/node/~Common~127.0.0.21")
        assert list((await bigip.status())["nodes"]) == ["/Common/127.0.0.20"]


@pytest.mark.parametrize("end", ["forced offline", "deleted"])
async def test_connections_that_did_not_drain_are_reset(tmp_path: Path, end: str) -> None:
    async with backend("127.0.0.20") as server, running(tmp_path, server.name) as bigip:
        asked = asyncio.create_task(get(bigip, "/slow"))
        await bigip.until(server.name, curConns=1)
        if end == "deleted":
            await bigip.ok("DELETE", f"{MEMBERS}/~Common~{server.name}")
        else:
            await patch(bigip, server, "user-disabled", "user-down")
        with pytest.raises(aiohttp.ClientError):
            await asked
        server.release.set()


async def test_with_the_devices_default_a_forced_offline_member_keeps_its_connections(tmp_path: Path) -> None:
    async with backend("127.0.0.20") as server, running(tmp_path, server.name, serviceDownAction="none") as bigip:
        asked = asyncio.create_task(get(bigip, "/slow"))
        await bigip.until(server.name, curConns=1)
        await patch(bigip, server, "user-disabled", "user-down")
        with pytest.raises(aiohttp.ClientError):
            await get(bigip)
        server.release.set()
        assert await asked == server.name


async def test_nobody_to_choose_is_a_reset(tmp_path: Path) -> None:
    async with running(tmp_path) as bigip:
        address, port = bigip.vip.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(address, int(port))
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        (virtual,) = (await bigip.status())["virtualServers"].values()
        assert (virtual["refused"], virtual["listening"]) == (1, True)


async def test_a_member_without_a_monitor_is_unchecked_and_takes_traffic(tmp_path: Path) -> None:
    async with backend("127.0.0.20") as server, running(tmp_path, server.name, monitor=None) as bigip:
        await bigip.until(server.name, state="up")
        await bigip.ok("PATCH", "/mgmt/tm/ltm/pool/~Common~web", {"monitor": "none"})
        server.healthy = False
        member = await bigip.ok("GET", f"{MEMBERS}/~Common~{server.name}")
        assert (member["session"], member["state"]) == ("user-enabled", "unchecked")
        assert await answers(bigip, 2) == {server.name: 2}


async def test_forced_offline_and_back_is_checking_until_probed(tmp_path: Path) -> None:
    async with backend("127.0.0.20") as server, running(tmp_path, server.name, monitor={**MONITOR, "timeout": 600}) as bigip:
        await bigip.until(server.name, state="up")
        assert (await patch(bigip, server, "user-disabled", "user-down"))["state"] == "user-down"
        with pytest.raises(aiohttp.ClientError):
            await get(bigip)
        server.healthy = False
        expected = {"session": "monitor-enabled", "state": "checking"}
        assert expected.items() <= (await patch(bigip, server, "user-enabled", "user-up")).items()
        assert expected.items() <= (await bigip.member(server.name)).items()
        await bigip.ok("PATCH", "/mgmt/tm/ltm/monitor/http/~Common~http_web", {"timeout": 1})
        await bigip.until(server.name, state="down")
        server.healthy = True
        await bigip.until(server.name, state="up", session="monitor-enabled")
        assert await get(bigip) == server.name


async def test_a_stuck_member_never_becomes_up(tmp_path: Path) -> None:
    async with backend("127.0.0.20") as server, running(tmp_path, monitor={**MONITOR, "timeout": 0.35}) as bigip:
        await bigip.faults(member_stuck=server.name)
        await bigip.ok("POST", MEMBERS, {"name": server.name, "partition": "Common", "session": "user-disabled"})
        await bigip.until(server.name, state="down")
        await eventually(lambda: _true(server.probes > 5), "probes go on")
        assert (await bigip.member(server.name))["state"] == "down"
        await bigip.faults()
        await bigip.until(server.name, state="up")


async def _true(value: bool) -> bool:
    return value


async def test_kept_alive_connections_stay_with_their_member_and_large_bodies_pass(tmp_path: Path) -> None:
    async with backend("127.0.0.20") as server, running(tmp_path, server.name) as bigip:
        async with aiohttp.ClientSession() as session:
            for _ in range(5):
                async with session.get(bigip.vip) as response:
                    assert await response.text() == server.name
            member = await bigip.member(server.name)
            assert (member["totConns"], member["curConns"]) == (1, 1)
            async with session.post(bigip.vip, data=io.BytesIO(b"x" * 3_000_000)) as response:
                assert response.status == 405
        await bigip.until(server.name, curConns=0)


async def test_virtual_servers_follow_the_api(tmp_path: Path) -> None:
    async with backend("127.0.0.20") as server, running(tmp_path, server.name) as bigip:
        path = "/mgmt/tm/ltm/virtual/~Common~vs-web"
        virtual = await bigip.ok("GET", path)
        port = bigip.vip.rsplit(":", 1)[1]
        assert (virtual["destination"], virtual["pool"]) == (f"/Common/127.0.0.10:{port}", "/Common/web")
        assert (virtual["translateAddress"], virtual["mask"]) == ("enabled", "255.255.255.255")
        status, answer = await bigip.raw("DELETE", "/mgmt/tm/ltm/pool/~Common~web")
        assert status == 400 and answer["message"].startswith("01070265:3: The Pool (/Common/web) cannot be deleted")
        await bigip.ok("PATCH", path, {"pool": "none"})
        assert "pool" not in await bigip.ok("GET", path)
        with pytest.raises(aiohttp.ClientError):
            await get(bigip)
        await bigip.ok("PATCH", path, {"pool": "/Common/web"})
        assert await get(bigip) == server.name
        await bigip.ok("DELETE", path)
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(bigip)
