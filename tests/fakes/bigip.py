"""An in-memory BIG-IP behind the port, honest about what can go wrong.

bigip = FakeBigIp(effects)
bigip.put_pool("/Common/web", monitor="/Common/http", members=[("10.0.0.1", 80)])
bigip.put_virtual("/Common/vs-web", "192.0.2.10", 443, "/Common/web")
bigip.health["10.0.0.9:80"] = "up"          what its monitor says of a member; `first_health` of those not named
bigip.connections["10.0.0.9:80"] = 3
bigip.fail("add_member", Retryable(...), times=2)             before anything is done
bigip.fail("add_member", Retryable(...), after_effect=True)   done, and the answer lost
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from tests.fakes.effects import DirectEffects
from tests.fakes.failing import Failing

from vmscaler.ports.bigip import SYSTEM, Member, Pool, VirtualServer
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import NotFound, Rejected

T = TypeVar("T")


@dataclass
class _Member:
    address: str
    port: int
    session: str
    state: str


@dataclass
class _Pool:
    monitor: str
    members: dict[str, _Member] = field(default_factory=dict)


class FakeBigIp(Failing):
    """Implements vmscaler.ports.bigip.BigIp. `calls` holds the names of the methods that were called."""

    def __init__(self, effects: Effects | None = None, *, version: str = "16.1.4", first_health: str = "checking") -> None:
        super().__init__()
        self.effects: Effects = effects or DirectEffects()
        self.version = version
        self.first_health = first_health
        self.pools: dict[str, _Pool] = {}
        self.virtuals: list[VirtualServer] = []
        self.nodes: set[str] = set()
        self.health: dict[str, str] = {}
        self.connections: dict[str, int] = {}
        self.calls: list[str] = []
        self.closed = False
        self.unsaved = False
        """Whether a reboot would undo something (a drain excepted, which is not saved)."""

    def put_pool(self, path: str, *, monitor: str = "/Common/http", members: Iterable[tuple[str, int]] = ()) -> None:
        """A pool with members that are enabled, and up where there is a monitor."""
        pool = self.pools[path] = _Pool(monitor)
        for address, port in members:
            pool.members[f"{address}:{port}"] = _Member(address, port, "user-enabled", "user-up")
            self.health.setdefault(f"{address}:{port}", "up")
            self.nodes.add(_node(path, address))

    def put_virtual(self, name: str, address: str, port: int, pool: str) -> None:
        """A virtual server with this default pool."""
        self.virtuals.append(VirtualServer(name, address, port, pool))

    async def about(self) -> str:
        return await self._call("about", lambda: self.version)

    async def pool(self, full_path: str) -> Pool:
        path = _full(full_path)

        def look() -> Pool:
            pool = self._pool(path)
            return Pool(path, pool.monitor, tuple(self._shown(pool, name) for name in pool.members))

        return await self._call("pool", look)

    async def virtual_servers(self, pool: str) -> list[VirtualServer]:
        return await self._call("virtual_servers", lambda: [virtual for virtual in self.virtuals if virtual.pool == _full(pool)])

    async def member(self, pool: str, name: str) -> Member | None:
        return await self._call("member", lambda: self._find(_full(pool), name))

    async def add_member(self, pool: str, address: str, port: int) -> Member:
        path, name = _full(pool), f"{address}:{port}"

        async def add() -> Member:
            found = self._pool(path)
            if name not in found.members:

                async def create() -> None:
                    found.members[name] = _Member(address, port, "user-disabled", "user-up")
                    self.nodes.add(_node(path, address))

                await self._write("member.create", f"{path} {name}", create)
            return self._shown(found, name)

        return await self._call_write("add_member", add)

    async def set_member(self, pool: str, name: str, *, session: str, state: str) -> None:
        if session not in ("user-enabled", "user-disabled") or state not in ("user-up", "user-down"):
            raise ValueError(f"not {session!r}, {state!r}")
        path = _full(pool)

        async def patch() -> None:
            member = self._existing(path, name)
            if (member.session, member.state) == (session, state):
                return

            async def change() -> None:
                member.session, member.state = session, state

            await self._write("member.patch", f"{path} {name}", change, save=session == "user-enabled")

        await self._call_write("set_member", patch)

    async def nodes_by_address(self) -> dict[str, str]:
        return await self._call("nodes_by_address", lambda: {node.rpartition("/")[2]: node for node in sorted(self.nodes)})

    async def current_connections(self, pool: str, name: str) -> int:
        def look() -> int:
            self._existing(_full(pool), name)
            return self.connections.get(name, 0)

        return await self._call("current_connections", look)

    async def remove_member(self, pool: str, name: str) -> None:
        path = _full(pool)

        async def remove() -> None:
            found = self.pools.get(path)
            if found is None or name not in found.members:
                return

            async def delete() -> None:
                del found.members[name]

            await self._write("member.delete", f"{path} {name}", delete)

        await self._call_write("remove_member", remove)

    async def remove_node(self, pool: str, address: str) -> None:
        path = _full(pool)
        node = _node(path, address)

        async def remove() -> None:
            if node not in self.nodes:
                return

            async def delete() -> None:
                if not any(_node(p, m.address) == node for p, found in self.pools.items() for m in found.members.values()):
                    self.nodes.discard(node)

            await self._write("node.delete", node, delete)

        await self._call_write("remove_node", remove)

    async def persist(self) -> None:
        async def save() -> None:
            if self.unsaved:
                await self._save()

        await self._call_write("persist", save)

    async def close(self) -> None:
        self.closed = True

    def _pool(self, path: str) -> _Pool:
        if "~" in path:
            raise Rejected(SYSTEM, "NotAName", f"{path!r} cannot be a full path on a BIG-IP")
        if path not in self.pools:
            raise NotFound(SYSTEM, "NotFound", f"01020036:3: The requested Pool ({path}) was not found.")
        return self.pools[path]

    def _existing(self, path: str, name: str) -> _Member:
        member = self._pool(path).members.get(name)
        if member is None:
            raise NotFound(SYSTEM, "NotFound", f"{path} has no member {name}")
        return member

    def _find(self, path: str, name: str) -> Member | None:
        pool = self.pools.get(path)
        return self._shown(pool, name) if pool is not None and name in pool.members else None

    def _shown(self, pool: _Pool, name: str) -> Member:
        """What was written is not what is read back (facts/bigip.md "Pools and members")."""
        member = pool.members[name]
        session = "monitor-enabled" if member.session == "user-enabled" and pool.monitor else member.session
        state = self.health.get(name, self.first_health) if pool.monitor else "unchecked"
        return Member(name, member.address, member.port, session, member.state if member.state == "user-down" else state)

    async def _write(self, operation: str, target: str, call: Callable[[], Awaitable[None]], *, save: bool = True) -> None:
        async def change() -> None:
            await call()
            self.unsaved = self.unsaved or save

        await self.effects.write(SYSTEM, operation, target, change)
        if save:
            await self._save()

    async def _save(self) -> None:
        async def done() -> None:
            self.unsaved = False

        await self.effects.write(SYSTEM, "config.save", "fake", done)

    async def _call(self, method: str, look: Callable[[], T]) -> T:
        async def answer() -> T:
            return look()

        return await self._call_write(method, answer)

    async def _call_write(self, method: str, work: Callable[[], Awaitable[T]]) -> T:
        self.calls.append(method)
        self._strike(method, after_effect=False)
        done = await work()
        self._strike(method, after_effect=True)
        return done


def _full(name: str) -> str:
    return name if name.startswith("/") else f"/Common/{name}"


def _node(pool: str, address: str) -> str:
    return f"/{pool.split('/')[1]}/{address}"
