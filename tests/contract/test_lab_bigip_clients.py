"""Two clients that we did not write, f5-sdk and bigrest, drive the lab BIG-IP over verified TLS.

Both are old: f5-sdk's imports and regular expressions warn (hence the filters), and it has no CA option that works, so
its session is given the file (facts/bigip.md, "How two independent public clients talk"). Both are synchronous: threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.contract.bigip_bench import PASSWORD, USER, Backend, Bigip, backend, bench

from lab.pki import Authority

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:distutils:UserWarning"),
]


@pytest.fixture
async def server() -> AsyncIterator[Backend]:
    async with backend("127.0.0.1") as running:
        yield running


@pytest.fixture
async def bigip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Backend) -> AsyncIterator[Bigip]:
    config = {
        "monitors": [{"name": "http_web", "path": "/healthz", "interval": 0.1, "timeout": 31}],
        "pools": [{"name": "web", "monitor": "http_web", "members": ["127.0.0.21:9"]}],
        "virtualServers": [{"name": "vs-web", "destination": "192.0.2.10:443", "pool": "web"}],
    }
    async with bench(tmp_path, **config) as running:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.ca))
        yield running


@pytest.fixture
def sessions() -> Iterator[list[requests.Session]]:
    """What the clients leave open."""
    opened: list[requests.Session] = []
    yield opened
    for session in opened:
        session.close()


def f5(bigip: Bigip, sessions: list[requests.Session], **options: Any) -> Any:
    from f5.bigip import ManagementRoot

    host, port = bigip.host.split(":")
    root = ManagementRoot(host, USER, PASSWORD, port=port, **{"verify": str(bigip.ca), **options})
    sessions.append(root.icrs.session)
    return root


async def test_f5_sdk_through_a_members_life(bigip: Bigip, server: Backend, sessions: list[requests.Session]) -> None:
    root = await asyncio.to_thread(f5, bigip, sessions, token=True)
    assert root.tmos_version == "16.1.4" and root.icrs.session.auth.token
    ltm = root.tm.ltm

    def join() -> Any:
        pool = ltm.pools.pool.load(name="web", partition="Common")
        assert pool.monitor == "/Common/http_web"
        member = pool.members_s.members.create(name=server.name, partition="Common", address="127.0.0.1", session="user-disabled")
        assert pool.members_s.members.exists(name=server.name, partition="Common")
        assert not pool.members_s.members.exists(name="127.0.0.9:80", partition="Common")
        assert [m.name for m in pool.members_s.get_collection()] == ["127.0.0.21:9", server.name]
        return member

    member = await asyncio.to_thread(join)
    assert member.session == "user-disabled"
    await bigip.until(server.name, state="up", session="user-disabled")

    def enable_change_and_read() -> None:
        member.modify(session="user-enabled", state="user-up")
        assert (member.session, member.state) == ("monitor-enabled", "up")
        member.update(description="made by a test", ratio=3)
        member.refresh()
        assert (member.description, member.ratio, member.session) == ("made by a test", 3, "monitor-enabled")
        (entry,) = member.stats.load().entries.values()
        values = entry["nestedStats"]["entries"]
        assert values["status.availabilityState"]["description"] == "available"
        assert values["serverside.curConns"]["value"] == 0
        member.modify(session="user-disabled", state="user-down")
        assert (member.session, member.state) == ("user-disabled", "user-down")

    await asyncio.to_thread(enable_change_and_read)

    def leave() -> None:
        from icontrol.exceptions import iControlUnexpectedHTTPError

        node = ltm.nodes.node.load(name="127.0.0.1", partition="Common")
        with pytest.raises(iControlUnexpectedHTTPError, match="01070110:3: Node address"):
            node.delete()
        member.delete()
        ltm.nodes.node.load(name="127.0.0.1", partition="Common").delete()
        assert not ltm.nodes.node.exists(name="127.0.0.1", partition="Common")
        (virtual,) = ltm.virtuals.get_collection()
        assert (virtual.destination, virtual.pool) == ("/Common/192.0.2.10:443", "/Common/web")
        assert [p.name for p in virtual.profiles_s.get_collection()] == ["http", "tcp"]
        assert root.tm.cm.devices.get_collection()[0].failoverState == "active"
        assert "sync-status" in root.tm.cm.sync_status.load().selfLink
        root.tm.sys.config.exec_cmd("save")

    await asyncio.to_thread(leave)
    status = await bigip.status()
    assert list(status["pools"]["/Common/web"]["members"]) == ["/Common/127.0.0.21:9"] and status["saved"]


async def test_f5_sdk_with_basic_credentials_and_a_transaction(bigip: Bigip, sessions: list[requests.Session]) -> None:
    def work() -> None:
        from f5.bigip.contexts import TransactionContextManager
        from f5.sdk_exception import TransactionSubmitException

        root = f5(bigip, sessions)
        pool = root.tm.ltm.pools.pool.create(name="other", partition="Common")
        with TransactionContextManager(root.tm.transactions.transaction):
            pool.members_s.members.create(name="10.0.0.5:80", partition="Common")
            pool.members_s.members.create(name="10.0.0.6:80", partition="Common")
            assert pool.members_s.get_collection() == []
        assert len(pool.members_s.get_collection()) == 2
        with (
            pytest.raises(TransactionSubmitException, match="transaction failed:01020066:3"),
            TransactionContextManager(root.tm.transactions.transaction),
        ):
            pool.members_s.members.create(name="10.0.0.7:80", partition="Common")
            pool.members_s.members.create(name="10.0.0.5:80", partition="Common")
        assert len(pool.members_s.get_collection()) == 2
        pool.delete()
        assert root.tm.ltm.nodes.node.exists(name="10.0.0.5", partition="Common")

    await asyncio.to_thread(work)


@pytest.mark.parametrize("token", [True, False])
async def test_bigrest_through_a_members_life(bigip: Bigip, server: Backend, token: bool, sessions: list[requests.Session]) -> None:
    from bigrest.bigip import BIGIP

    members = "/mgmt/tm/ltm/pool/~Common~web/members"
    path = f"{members}/~Common~{server.name}"
    device = await asyncio.to_thread(BIGIP, bigip.host, USER, PASSWORD, request_token=token, session_verify=str(bigip.ca))
    sessions.append(device.session)

    def join() -> None:
        data = {"name": server.name, "partition": "Common", "address": "127.0.0.1", "session": "user-disabled"}
        assert device.create(members, data).properties["session"] == "user-disabled"
        assert device.exist(path) and not device.exist(f"{members}/~Common~127.0.0.9:80")
        assert len(device.load(members)) == 2

    await asyncio.to_thread(join)
    await bigip.until(server.name, state="up", session="user-disabled")

    def work_and_leave() -> None:
        enabled = device.modify(path, {"session": "user-enabled", "state": "user-up"})
        assert enabled.properties["session"] == "monitor-enabled"
        pool = device.load("/mgmt/tm/ltm/pool/~Common~web")
        pool.properties["description"] = "saved whole"
        assert device.save(pool).properties["description"] == "saved whole"
        assert device.show(path).properties["monitorStatus"] == {"description": "up"}
        assert [m.properties["port"]["value"] for m in device.show(members)] == [9, int(server.name.split(":")[1])]
        with device as transaction:
            assert transaction.properties["state"] == "STARTED"
            device.modify(path, {"session": "user-disabled", "state": "user-down"})
            assert device.load(path).properties["session"] == "monitor-enabled"
        assert device.load(path).properties["state"] == "user-down"
        device.delete(path)
        device.delete("/mgmt/tm/ltm/node/~Common~127.0.0.1")
        assert not device.exist(path)
        device.create("/mgmt/tm/sys/config", {"command": "save"})

    await asyncio.to_thread(work_and_leave)
    assert [(w["method"], w["status"]) for w in (await bigip.status())["audit"] if "transaction" not in w["path"]] == [
        ("POST", 200),
        ("PATCH", 200),
        ("PUT", 200),
        ("PATCH", 200),
        ("DELETE", 200),
        ("DELETE", 200),
        ("POST", 200),
    ]


async def test_both_refuse_another_ca(
    bigip: Bigip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sessions: list[requests.Session]
) -> None:
    from bigrest.bigip import BIGIP

    wrong = str(Authority.wrong().write(tmp_path / "wrong.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", wrong)
    with pytest.raises(requests.exceptions.SSLError):
        await asyncio.to_thread(BIGIP, bigip.host, USER, PASSWORD, request_token=True)
    with pytest.raises(requests.exceptions.SSLError):
        await asyncio.to_thread(f5, bigip, sessions, token=True, verify=wrong)
