"""The BIG-IP adapter on the wire: tokens, connections, names, route domains. A pair, faults and other servers: test_bigip_adapter_*.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.contract.bigip_adapter_bench import Gate, client_of, writes
from tests.contract.bigip_bench import MEMBERS, POOL, USER, Bigip, bench, eventually, new

from vmscaler.adapters.bigip import login as login_module
from vmscaler.adapters.bigip.answers import Reply
from vmscaler.adapters.bigip.wire import CONNECTIONS, Wire
from vmscaler.adapters.tls import pinned_context
from vmscaler.ports.bigip import SYSTEM, VirtualServer
from vmscaler.ports.errors import Rejected, Retryable, Untrusted

WEB = "/Common/web"
GROUP = "/Common/failover"


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Bigip]:
    async with bench(tmp_path) as running:
        yield running


async def test_one_token_is_used_and_given_back(lab: Bigip) -> None:
    await lab.log_in()  # somebody else's, of the same user
    async with client_of(lab) as client:
        await asyncio.gather(*(client.pool(WEB) for _ in range(10)))
        await client.add_member(WEB, "10.9.0.5", 80)
        status = await lab.status()
        assert (status["logins"], status["tokens"]) == (2, {USER: 2})
        await client.close()
        assert (await lab.status())["tokens"] == {USER: 1}
        with pytest.raises(Retryable) as raised:
            await client.pool(WEB)
        assert raised.value.reason == "Closed"
    assert (await lab.raw("GET", "/mgmt/tm/ltm/pool"))[0] == 200
    assert (await lab.status())["logins"] == 2


async def test_a_token_is_renewed_early_and_the_old_one_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_module, "EARLY", 0.0005)  # of 1200 s
    async with bench(tmp_path) as lab, client_of(lab) as client:
        await client.pool(WEB)

        async def renewed() -> bool:
            await client.pool(WEB)
            return bool((await lab.status())["logins"] > 1)

        await eventually(renewed, "a second log-in")
        status = await lab.status()
        assert status["tokens"] == {USER: 1}
        assert status["logins"] < 5


@pytest.mark.parametrize("end", ["fails", "is cancelled"])
async def test_no_token_is_left_behind_where_a_renewal(lab: Bigip, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(login_module, "EARLY", 0.0)  # each call is one

    async def renewing() -> bool:
        return bool((await lab.status())["busy"])

    async with client_of(lab) as client:
        await client.pool(WEB)
        await lab.faults(**{"http_503" if end == "fails" else "hang": {"path": "/login"}})
        asked = asyncio.create_task(client.pool(WEB))
        if end == "is cancelled":
            await eventually(renewing, "the log-in at the device")
            asked.cancel()
        with pytest.raises((Retryable, asyncio.CancelledError)):
            await asked
        await lab.faults()
        await client.pool(WEB)
        assert (await lab.status())["tokens"] == {USER: 1}


async def test_an_expired_token_is_renewed_once_for_all_who_wait(lab: Bigip) -> None:
    async with client_of(lab) as client:
        await client.pool(WEB)
        await lab.faults(token_expired={"count": 1})
        await asyncio.gather(*(client.pool(WEB) for _ in range(6)))
        status = await lab.status()
        assert (status["logins"], status["tokens"]) == (2, {USER: 1})
        await lab.faults(token_expired={"count": 1, "methods": ["POST"]})
        await client.add_member(WEB, "10.9.0.5", 80)
        assert await writes(lab, "POST") == [("POST", MEMBERS, 200), ("POST", "/mgmt/tm/sys/config", 200)]
        await lab.faults(restart={"for_s": 0.05})  # forgets all tokens

        async def back() -> bool:
            with contextlib.suppress(Retryable):
                return bool((await client.pool(WEB)).members)
            return False

        await eventually(back, "the end of the restart")


async def test_a_user_without_rights_leaves_no_tokens_behind(lab: Bigip) -> None:
    async with client_of(lab) as client:
        await lab.faults(token_expired=True)
        for _ in range(3):
            with pytest.raises(Untrusted) as raised:
                await client.pool(WEB)
            assert raised.value.reason == "LoginRefused" and "credentialsSecretRef" in raised.value.message
        await lab.faults()
        assert (await lab.status())["tokens"].get(USER, 0) <= 1


async def test_a_refused_login_is_not_hammered(lab: Bigip) -> None:
    async with client_of(lab, password="another-sample-password", login_pause=3600) as client:
        for _ in range(5):
            with pytest.raises(Untrusted) as raised:
                await client.pool(WEB)
            assert raised.value.reason == "LoginRefused"
            assert "Authentication failed." in raised.value.message and "another-sample" not in raised.value.message
            assert 3000 < raised.value.after <= 3600
        assert (await lab.status())["logins"] == 1


async def test_a_refused_login_is_tried_again_after_the_pause(lab: Bigip) -> None:
    async with client_of(lab, password="another-sample-password", login_pause=0.1) as client:

        async def again() -> bool:
            with pytest.raises(Untrusted) as raised:
                await client.pool(WEB)
            assert 0 < raised.value.after <= 0.1
            return bool((await lab.status())["logins"] > 1)

        await eventually(again, "another try after the pause")


async def test_too_many_tokens_are_told_and_left_alone(lab: Bigip) -> None:
    for _ in range(100):
        await lab.log_in()
    async with client_of(lab) as client:
        with pytest.raises(Retryable) as raised:
            await client.pool(WEB)
        assert raised.value.reason == "TooManyTokens"
    assert (await lab.status())["tokens"] == {USER: 100}


async def test_two_connections_at_most_and_one_write_at_a_time(lab: Bigip) -> None:
    effects = Gate()
    async with client_of(lab, effects=effects) as client:
        await client.pool(WEB)
        await lab.faults(latency_s=0.02)
        reads = [client.pool(WEB) for _ in range(20)]
        added = [client.add_member(WEB, f"10.9.0.{n}", 80) for n in range(1, 4)]
        await asyncio.gather(*reads, *added)
        status = await lab.status()
    assert status["mostBusy"] == 2
    assert effects.most_busy == 1
    assert effects.operations == ["member.create", "config.save"] * 3


async def test_waiting_for_ones_turn_is_not_timed(lab: Bigip, kept_waiting: Callable[[], None]) -> None:
    await lab.log_in()
    wire = Wire(lab.record["url"], pinned_context(lab.ca.read_text(), SYSTEM, "the CA"), connect_timeout=60, timeout=60)

    def ask(timeout: float | None = None) -> asyncio.Task[Reply]:
        return asyncio.create_task(wire.exchange("GET", POOL, "the pool", token=lab.token, timeout=timeout))

    async def all_taken() -> bool:
        return bool((await lab.status())["busy"] == CONNECTIONS)

    await lab.faults(hang={"count": CONNECTIONS})
    served = [ask(timeout=7200) for _ in range(CONNECTIONS)]
    await eventually(all_taken, "requests on all connections")
    waiting = ask()
    await asyncio.sleep(0)  # it stands in line
    kept_waiting()
    await lab.faults()
    for one in served:
        with pytest.raises(Retryable, match="broke off"):
            await one
    assert (await waiting).status == 200
    await wire.close()


async def test_route_domains_are_followed(tmp_path: Path) -> None:
    pool = {"name": "web", "members": ["10.9.0.1%1:80", "10.9.0.2%1:80"]}
    virtuals = [{"name": "vs-web", "destination": "192.0.2.10%1:443", "pool": "web"}]
    async with bench(tmp_path, pools=[pool], virtualServers=virtuals) as lab, client_of(lab) as client:
        assert [(m.name, m.address, m.port) for m in (await client.pool(WEB)).members] == [
            ("10.9.0.1%1:80", "10.9.0.1", 80),
            ("10.9.0.2%1:80", "10.9.0.2", 80),
        ]
        assert await client.virtual_servers(WEB) == [VirtualServer("/Common/vs-web", "192.0.2.10", 443, WEB)]
        assert await client.member(WEB, "10.9.0.5:80") is None
        added = await client.add_member(WEB, "10.9.0.5", 80)
        assert (added.name, added.address) == ("10.9.0.5%1:80", "10.9.0.5")
        assert await client.member(WEB, "10.9.0.5:80") == await client.member(WEB, "10.9.0.5%1:80") == added
        assert await client.add_member(WEB, "10.9.0.5", 80) == added
        await client.set_member(WEB, "10.9.0.5:80", session="user-enabled", state="user-up")
        assert await client.current_connections(WEB, "10.9.0.5:80") == 0
        await client.remove_member(WEB, "10.9.0.5:80")
        await client.remove_node(WEB, "10.9.0.5")
        assert sorted((await lab.status())["nodes"]) == ["/Common/10.9.0.1%1", "/Common/10.9.0.2%1"]
        assert [path for _, path, _ in await writes(lab, "PATCH", "DELETE")] == [
            f"{MEMBERS}/~Common~10.9.0.5%251:80",
            f"{MEMBERS}/~Common~10.9.0.5%251:80",
            "/mgmt/tm/ltm/node/~Common~10.9.0.5%251",
        ]


async def test_a_member_joins_the_priority_group_that_serves(lab: Bigip) -> None:
    """Else it would be up and enabled, and get nothing where the pool activates by priority."""
    await lab.log_in()
    await lab.ok("POST", MEMBERS, new("10.9.0.1:80", priorityGroup=10))
    await lab.ok("POST", MEMBERS, new("10.9.0.2:80", priorityGroup=5))
    await lab.ok("POST", MEMBERS, new("10.9.0.3:80", priorityGroup=20, session="user-disabled"))
    async with client_of(lab) as client:
        added = await client.add_member(WEB, "10.9.0.5", 80)
        assert added.priority_group == 10
        assert await client.member(WEB, added.name) == added


async def test_it_is_not_guessed_which_route_domain_is_meant(tmp_path: Path) -> None:
    pool = {"name": "web", "members": ["10.9.0.1%1:80", "10.9.0.1%2:80", "10.9.0.1%2:81", "10.9.0.2%1:80", "10.9.0.2:80"]}
    async with bench(tmp_path, pools=[pool]) as lab, client_of(lab) as client:
        with pytest.raises(Rejected) as raised:
            await client.member(WEB, "10.9.0.1:80")
        assert raised.value.reason == "MemberAmbiguous"
        found = await client.member(WEB, "10.9.0.1:81")
        assert found is not None and found.name == "10.9.0.1%2:81"
        assert (await client.add_member(WEB, "10.9.0.2", 80)).name == "10.9.0.2:80", "the one of this very name"
        assert (await client.add_member(WEB, "10.9.0.9", 80)).name == "10.9.0.9:80"


async def test_names_are_escaped_and_old_answers_read(tmp_path: Path) -> None:
    odd = "/acme/my app/we%b?a=1#x&y"
    pools = [{"name": "web"}, {"name": odd, "monitor": "/Common/http"}]
    async with bench(tmp_path, pools=pools, partitions=["acme"], monitorTrailingSpace=True) as lab, client_of(lab) as client:
        pool = await client.pool(odd)
        assert (pool.full_path, pool.monitor) == (odd, "/Common/http")
        assert (await client.add_member(odd, "10.9.0.5", 80)).state == "checking"
        assert (await lab.status())["pools"][odd]["members"].keys() == {"/acme/10.9.0.5:80"}
        for name in ("/Common/../web", "/Common//web", "/Common/a\nb", "/web"):
            with pytest.raises(Rejected) as raised:
                await client.member(name, "10.9.0.5:80")
            assert raised.value.reason == "NotAName"
        with pytest.raises(Rejected):
            await client.member(odd, "10.9.0.5:80/../../web")
