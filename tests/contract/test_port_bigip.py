"""The port BigIp: one suite on the fake and on the real adapter against the lab's BIG-IP. What only the wire can do wrong: test_bigip_adapter*.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from tests.contract.bigip_adapter_bench import Gate, client_of
from tests.contract.bigip_bench import backend, bench, eventually
from tests.fakes.bigip import FakeBigIp

from vmscaler.ports.bigip import BigIp, Member, VirtualServer
from vmscaler.ports.errors import NotFound, Rejected, Retryable

WEB, PLAIN, TENANT = "/Common/web", "/Common/plain", "/acme/app/web"
PEOPLE = "127.0.0.31"
NEW = "127.0.0.32"


@dataclass
class World:
    """A BIG-IP behind the port: pool /Common/web (monitored, one member of people's, up), /Common/plain (unmonitored), /acme/app/web."""

    bigip: BigIp
    effects: Gate
    people_port: int
    port: int
    """Where a healthy service listens on NEW."""
    nodes: Callable[[], Awaitable[list[str]]]
    busy: Callable[[], AbstractAsyncContextManager[None]]
    """One connection of a user, held to a member of /Common/web that is enabled beside people's."""
    virtual: VirtualServer

    @property
    def changes(self) -> list[tuple[str, str]]:
        """(operation, target) of the writes that change members and nodes; saving left out."""
        return [(operation, target) for _, operation, target in self.effects.calls if not operation.startswith("config.")]

    @property
    def name(self) -> str:
        return f"{NEW}:{self.port}"

    async def reads(self, **wanted: str) -> Member:
        """The new member, as soon as it reads so."""

        async def seen() -> Member | None:
            member = await self.bigip.member(WEB, self.name)
            return member if member is not None and all(getattr(member, key) == value for key, value in wanted.items()) else None

        member: Member = await eventually(seen, f"{self.name} {wanted}")
        return member

    async def join(self) -> None:
        await self.bigip.add_member(WEB, NEW, self.port)
        await self.reads(state="up")
        await self.bigip.set_member(WEB, self.name, session="user-enabled", state="user-up")


@contextlib.asynccontextmanager
async def fake_world(_: Path) -> AsyncIterator[World]:
    effects = Gate()
    bigip = FakeBigIp(effects)
    bigip.put_pool(WEB, monitor="/Common/http_web", members=[(PEOPLE, 8001)])
    bigip.put_pool(PLAIN, monitor="", members=[(PEOPLE, 8001)])
    bigip.put_pool(TENANT, monitor="/Common/http_web")
    virtual = VirtualServer("/Common/vs-web", "127.0.0.1", 8080, WEB)
    bigip.put_virtual(virtual.name, virtual.address, virtual.port, virtual.pool)
    bigip.put_virtual("/Common/vs-other", "192.0.2.11", 443, PLAIN)
    bigip.health[f"{NEW}:8002"] = "up"

    async def nodes() -> list[str]:
        return sorted(bigip.nodes)

    @contextlib.asynccontextmanager
    async def busy() -> AsyncIterator[None]:
        bigip.connections[f"{NEW}:8002"] = 1
        yield
        bigip.connections.clear()

    yield World(bigip, effects, 8001, 8002, nodes, busy, virtual)


@contextlib.asynccontextmanager
async def lab_world(folder: Path) -> AsyncIterator[World]:
    effects = Gate()
    async with backend(PEOPLE) as people, backend(NEW) as new:
        old, port = int(people.name.rpartition(":")[2]), int(new.name.rpartition(":")[2])
        config = {
            "partitions": ["Common", "acme"],
            "monitors": [{"name": "http_web", "path": "/healthz", "interval": 0.05, "timeout": 31}],
            "pools": [
                {"name": "web", "monitor": "http_web", "members": [people.name]},
                {"name": "plain", "members": [people.name]},
                {"name": TENANT, "monitor": "/Common/http_web"},
            ],
            "virtualServers": [
                {"name": "vs-web", "destination": "127.0.0.1:0", "pool": "web"},
                {"name": "vs-other", "destination": "192.0.2.11:443", "pool": "plain"},
            ],
        }
        async with bench(folder, **config) as lab, client_of(lab, effects=effects) as bigip:
            await lab.until(people.name, state="up")
            (listener,) = (v for v in lab.record["virtualServers"].values() if v["address"] == "127.0.0.1")

            async def nodes() -> list[str]:
                return sorted((await lab.status())["nodes"])

            @contextlib.asynccontextmanager
            async def busy() -> AsyncIterator[None]:
                async with contextlib.AsyncExitStack() as stack:
                    session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)))
                    asked = [  # two: round robin, so that one of them is the new member's
                        asyncio.create_task(session.get(f"http://127.0.0.1:{listener['port']}/slow")) for _ in range(2)
                    ]
                    await lab.until(new.name, curConns=1)
                    yield
                    people.release.set()
                    new.release.set()
                    for answer in await asyncio.gather(*asked):
                        await answer.read()
                        answer.release()
                    await lab.until(new.name, curConns=0)

            yield World(bigip, effects, old, port, nodes, busy, VirtualServer("/Common/vs-web", "127.0.0.1", listener["port"], WEB))


@pytest.fixture(params=[fake_world, lab_world], ids=["fake", "lab"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with request.param(tmp_path) as made:
        yield made


async def test_about_is_the_version(world: World) -> None:
    assert await world.bigip.about() == "16.1.4"


async def test_a_pool_reads_with_its_monitor_and_members(world: World) -> None:
    pool = await world.bigip.pool(WEB)
    member = Member(f"{PEOPLE}:{world.people_port}", PEOPLE, world.people_port, "monitor-enabled", "up")
    assert (pool.full_path, pool.monitor, pool.members) == (WEB, "/Common/http_web", (member,))
    assert pool.members[0].enabled and pool.members[0].in_service
    assert await world.bigip.pool("web") == pool
    assert (await world.bigip.pool(TENANT)).members == ()


async def test_an_unmonitored_pool_is_told_as_such(world: World) -> None:
    pool = await world.bigip.pool(PLAIN)
    assert pool.monitor == ""
    assert [(m.session, m.state) for m in pool.members] == [("user-enabled", "unchecked")]
    assert pool.members[0].enabled and not pool.members[0].in_service


async def test_what_is_not_there_is_proven_absent(world: World) -> None:
    with pytest.raises(NotFound):
        await world.bigip.pool("/Common/none")
    with pytest.raises(NotFound):
        await world.bigip.add_member("/Common/none", NEW, 80)
    assert await world.bigip.member(WEB, f"{NEW}:80") is None
    assert await world.bigip.member("/Common/none", f"{NEW}:80") is None
    with pytest.raises(NotFound):
        await world.bigip.set_member(WEB, f"{NEW}:80", session="user-enabled", state="user-up")
    with pytest.raises(NotFound):
        await world.bigip.current_connections(WEB, f"{NEW}:80")
    await world.bigip.remove_member(WEB, f"{NEW}:80")
    await world.bigip.remove_member("/Common/none", f"{NEW}:80")
    await world.bigip.remove_node(WEB, NEW)
    await world.bigip.remove_node("/Common/none", NEW)
    assert world.effects.calls == []


async def test_a_name_that_would_mean_another_object_is_refused(world: World) -> None:
    with pytest.raises(Rejected) as raised:
        await world.bigip.pool("/Common/web~members")
    assert raised.value.reason == "NotAName"


async def test_virtual_servers_of_the_pool_alone(world: World) -> None:
    assert await world.bigip.virtual_servers(WEB) == [world.virtual]
    assert await world.bigip.virtual_servers("web") == [world.virtual]
    assert await world.bigip.virtual_servers("/Common/none") == []


async def test_a_member_joins_disabled_then_is_enabled_and_in_service(world: World) -> None:
    added = await world.bigip.add_member(WEB, NEW, world.port)
    assert (added.name, added.address, added.port, added.session) == (world.name, NEW, world.port, "user-disabled")
    assert added.state in ("checking", "up") and not added.enabled
    assert (await world.reads(state="up")).session == "user-disabled"
    await world.bigip.set_member(WEB, world.name, session="user-enabled", state="user-up")
    assert (await world.reads(state="up")).in_service
    assert {m.name for m in (await world.bigip.pool(WEB)).members} == {f"{PEOPLE}:{world.people_port}", world.name}
    assert world.changes == [("member.create", f"{WEB} {world.name}"), ("member.patch", f"{WEB} {world.name}")]


async def test_what_is_so_already_is_not_written_again(world: World) -> None:
    await world.join()
    written = list(world.effects.calls)
    again = await world.bigip.add_member(WEB, NEW, world.port)
    assert again.in_service, "an existing member is returned as it is, not disabled"
    await world.bigip.set_member(WEB, world.name, session="user-enabled", state="user-up")
    assert world.effects.calls == written


async def test_other_words_than_the_ports_are_a_mistake_of_ours(world: World) -> None:
    await world.bigip.add_member(WEB, NEW, world.port)
    with pytest.raises(ValueError, match="up"):
        await world.bigip.set_member(WEB, world.name, session="user-enabled", state="up")


async def test_connections_of_a_member_that_drains(world: World) -> None:
    await world.join()
    assert await world.bigip.current_connections(WEB, world.name) == 0
    async with world.busy():
        await world.bigip.set_member(WEB, world.name, session="user-disabled", state="user-up")
        assert await world.bigip.current_connections(WEB, world.name) == 1
        member = await world.bigip.member(WEB, world.name)
        assert member is not None and (member.session, member.state) == ("user-disabled", "up")
    assert await world.bigip.current_connections(WEB, world.name) == 0


async def test_a_member_leaves_with_its_node(world: World) -> None:
    await world.join()
    await world.bigip.set_member(WEB, world.name, session="user-disabled", state="user-down")
    assert (await world.reads(state="user-down")).session == "user-disabled"
    await world.bigip.remove_member(WEB, world.name)
    assert await world.bigip.member(WEB, world.name) is None
    assert await world.nodes() == [f"/Common/{PEOPLE}", f"/Common/{NEW}"]
    await world.bigip.remove_node(WEB, NEW)
    assert await world.nodes() == [f"/Common/{PEOPLE}"]
    before = list(world.effects.calls)
    await world.bigip.remove_member(WEB, world.name)
    await world.bigip.remove_node(WEB, NEW)
    assert world.effects.calls == before
    assert [operation for operation, _ in world.changes[2:]] == ["member.patch", "member.delete", "node.delete"]


async def test_nodes_are_seen_by_their_addresses_in_every_partition(world: World) -> None:
    assert await world.bigip.nodes_by_address() == {PEOPLE: f"/Common/{PEOPLE}"}
    await world.bigip.add_member(TENANT, NEW, world.port)
    assert await world.bigip.nodes_by_address() == {PEOPLE: f"/Common/{PEOPLE}", NEW: f"/acme/{NEW}"}


async def test_a_node_that_is_referenced_elsewhere_stays(world: World) -> None:
    await world.bigip.remove_node(WEB, PEOPLE)
    assert await world.nodes() == [f"/Common/{PEOPLE}"]
    assert len((await world.bigip.pool(PLAIN)).members) == 1


async def test_a_tenants_pool_has_members_and_nodes_in_its_partition(world: World) -> None:
    added = await world.bigip.add_member(TENANT, NEW, world.port)
    assert added.name == world.name
    assert await world.bigip.member(TENANT, world.name) is not None
    assert await world.bigip.member(WEB, world.name) is None
    assert await world.nodes() == [f"/Common/{PEOPLE}", f"/acme/{NEW}"]
    await world.bigip.remove_member(TENANT, world.name)
    await world.bigip.remove_node(TENANT, NEW)
    assert await world.nodes() == [f"/Common/{PEOPLE}"]


async def test_members_are_saved_when_they_come_serve_and_go(world: World) -> None:
    await world.join()
    await world.bigip.set_member(WEB, world.name, session="user-disabled", state="user-up")
    await world.bigip.set_member(WEB, world.name, session="user-disabled", state="user-down")
    await world.bigip.remove_member(WEB, world.name)
    await world.bigip.remove_node(WEB, NEW)
    await world.bigip.persist()
    assert [operation for _, operation, _ in world.effects.calls] == [
        *("member.create", "config.save"),
        *("member.patch", "config.save"),
        *("member.patch", "member.patch"),
        *("member.delete", "config.save"),
        *("node.delete", "config.save"),
    ]
    assert {system for system, _, _ in world.effects.calls} == {"bigip"}


async def test_nothing_is_written_where_no_write_is_allowed(world: World) -> None:
    await world.join()
    before, nodes = await world.bigip.pool(WEB), await world.nodes()
    world.effects.allowed = False
    attempts = (
        world.bigip.add_member(WEB, NEW, 81),
        world.bigip.set_member(WEB, world.name, session="user-disabled", state="user-up"),
        world.bigip.remove_member(WEB, world.name),
        world.bigip.remove_node(WEB, PEOPLE),
    )
    for attempt in attempts:
        with pytest.raises(Retryable, match="not now"):
            await attempt
    assert (await world.bigip.pool(WEB), await world.nodes()) == (before, nodes)
