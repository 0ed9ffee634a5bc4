"""ports.bigip.BigIp on a real BIG-IP. Built by adapters/systems.py for a Site; the steps join and roll-back, the reconciles and the claim call it.

A write:  wait for the turn -> find the active unit -> look -> write (once, through the effects seam) -> save and synchronise (`upkeep`)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import structlog

from vmscaler.adapters.bigip import names, shapes
from vmscaler.adapters.bigip.answers import REFERENCED, Refused
from vmscaler.adapters.bigip.login import Login
from vmscaler.adapters.bigip.lookups import existing, find, members_url, named, pool_at
from vmscaler.adapters.bigip.unit import Unit
from vmscaler.adapters.bigip.units import Units
from vmscaler.adapters.bigip.upkeep import Upkeep
from vmscaler.adapters.bigip.wire import Wire
from vmscaler.adapters.tls import pinned_context
from vmscaler.decide.pool import full_path
from vmscaler.ports.bigip import SYSTEM, Member, Pool, VirtualServer
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import NotFound, OutsideError, Rejected, Retryable, Untrusted

T = TypeVar("T")

SESSIONS = ("user-enabled", "user-disabled")
STATES = ("user-up", "user-down")

log = structlog.get_logger()


class BigIpClient:
    """A BIG-IP or a pair of them, over iControl REST. Raises what the port says; refusals are Rejected(BigIpRefused)."""

    def __init__(
        self,
        urls: Sequence[str],
        username: str,
        password: str,
        login_provider: str,
        ca: str,
        effects: Effects,
        *,
        connect_timeout: float = 5.0,
        timeout: float = 20.0,
        save_timeout: float = 60.0,
        login_pause: float = 15.0,
    ) -> None:
        """Connects at the first call. `ca` is PEM.

        Seconds: to connect; for an exchange; for saving the configuration (restjavad itself gives up after 60); for which a refused
        login is not tried again. Raises Rejected(CaNotUsable | UrlNotHttps).
        """
        if not urls:
            raise ValueError("a BIG-IP needs a URL")
        tls = pinned_context(ca, SYSTEM, "spec.bigip.caBundle")
        units = []
        for url in urls:
            wire = Wire(url, tls, connect_timeout=connect_timeout, timeout=timeout)
            units.append(Unit(wire, Login(wire, username, password, login_provider, pause=login_pause)))
        self._units = Units(units)
        self._effects = effects
        self._upkeep = Upkeep(effects, save_timeout=save_timeout)
        self._writes = asyncio.Lock()

    async def about(self) -> str:
        """The version of the first unit that answers; one of a pair may be down."""
        first: OutsideError | None = None
        for unit in self._units.all:
            try:
                what = f"the version of {unit.host}"
                return shapes.read(shapes.version, await unit.get("/mgmt/tm/sys/version", what), what)
            except OutsideError as error:
                log.warning("BIG-IP unit not usable", host=unit.host, reason=error.reason)
                first = first or error
        assert first is not None
        raise first

    async def pool(self, full_path_: str) -> Pool:
        """The pool with its members; a bare name is in /Common. Raises NotFound, Rejected(NotAName)."""
        return await self._read(lambda unit: pool_at(unit, full_path(full_path_)))

    async def virtual_servers(self, pool: str) -> list[VirtualServer]:
        """Those whose default pool it is. One query for all: devices filter by partition only."""
        what = "the virtual servers"

        async def look(unit: Unit) -> list[VirtualServer]:
            answer = await unit.get("/mgmt/tm/ltm/virtual?$select=fullPath,destination,pool", what)
            return shapes.read(lambda found: shapes.virtual_servers(found, full_path(pool)), answer, what)

        return await self._read(look)

    async def member(self, pool: str, name: str) -> Member | None:
        """One member by its name, with or without its route domain; None where neither is there. Raises Rejected(MemberAmbiguous)."""
        return await self._read(lambda unit: find(unit, full_path(pool), name))

    async def add_member(self, pool: str, address: str, port: int) -> Member:
        """Add it, disabled, in the route domain that the pool's members share and the priority group of those that serve. One of its name is
        returned as it is.

        Raises NotFound (pool), Rejected(BigIpRefused | MemberDiffers).
        """
        path = full_path(pool)
        async with self._writes:
            unit = await self._units.active()
            there = await pool_at(unit, path)
            member = named(there.members, path, f"{address}:{port}")
            if member is None:
                host = address if "%" in address else address + names.shared_route_domain(there.members)
                # In a lower one it would be up and enabled, and get no traffic while the pool activates by priority.
                group = max((other.priority_group for other in there.members if other.enabled), default=0)
                member = await self._create(unit, path, host, port, group)
            if member.address != names.bare(address):
                # A node may be called by one address and have another.
                raise Rejected(
                    SYSTEM,
                    "MemberDiffers",
                    f"member {member.name} of {path} has the address {member.address}: remove it or rename its node",
                )
            await self._upkeep.settle(unit)
            return member

    async def _create(self, unit: Unit, path: str, host: str, port: int, group: int) -> Member:
        name = f"{host}:{port}"
        what = f"member {name} of {path}"
        body = {
            "name": name,
            "partition": names.partition(path),  # without it a member is added and 404 answered (facts/bigip.md Errors)
            "address": host,
            "session": "user-disabled",  # else it gets traffic before its first probe
            "state": "user-up",
            "priorityGroup": group,
        }
        self._upkeep.owe()
        try:
            answer = await self._effects.write(
                SYSTEM, "member.create", f"{path} {name}", lambda: unit.call("POST", members_url(path), what, body)
            )
            return shapes.read(shapes.member, answer, what)
        except Untrusted:
            raise
        except (Retryable, Refused) as error:
            if isinstance(error, Refused) and error.status != 409:
                raise
            # It may have been added all the same (an answer lost, another who was quicker): only a look tells.
            with suppress(OutsideError):
                found = await find(unit, path, name)
                if found is not None:
                    log.info("member adopted", pool=path, member=name, after=error.reason)
                    return found
            raise

    async def set_member(self, pool: str, name: str, *, session: str, state: str) -> None:
        """PATCH both, unless it reads so already. Raises NotFound, Rejected(BigIpRefused), ValueError (for other words than the port's)."""
        if session not in SESSIONS or state not in STATES:
            raise ValueError(f"session is one of {SESSIONS}, state one of {STATES}: not {session!r}, {state!r}")
        path = full_path(pool)
        async with self._writes:
            unit = await self._units.active()
            member = await existing(unit, path, name)
            if member.enabled != (session == "user-enabled") or (member.state == "user-down") != (state == "user-down"):
                self._upkeep.owe(save=session == "user-enabled")
                body = {"session": session, "state": state}  # never the address: refused
                what = f"member {member.name} of {path}"
                url = members_url(path, member.name)
                await self._effects.write(SYSTEM, "member.patch", f"{path} {member.name}", lambda: unit.call("PATCH", url, what, body))
            await self._upkeep.settle(unit)

    async def nodes_by_address(self) -> dict[str, str]:
        """Every node, of any partition: address without route domain -> full path."""
        what = "the nodes"

        async def look(unit: Unit) -> dict[str, str]:
            return shapes.read(shapes.nodes_by_address, await unit.get("/mgmt/tm/ltm/node?$select=fullPath,address", what), what)

        return await self._read(look)

    async def current_connections(self, pool: str, name: str) -> int:
        """Connections of the active unit to the member. Raises NotFound."""
        path = full_path(pool)

        async def look(unit: Unit) -> int:
            member = await existing(unit, path, name)
            what = f"the connections of {member.name} of {path}"
            answer = await unit.get(f"{members_url(path, member.name)}/stats", what)
            return shapes.read(shapes.current_connections, answer, what)

        return await self._read(look)

    async def remove_member(self, pool: str, name: str) -> None:
        """Delete it; absent (also with its pool) is fine, and no write."""
        path = full_path(pool)
        async with self._writes:
            unit = await self._units.active()
            member = await find(unit, path, name)
            if member is not None:
                url = members_url(path, member.name)
                await self._delete(unit, "member.delete", f"{path} {member.name}", url, f"member {member.name} of {path}")
            await self._upkeep.settle(unit)

    async def remove_node(self, pool: str, address: str) -> None:
        """Delete it in the pool's partition, in the route domain of the pool's members; absent or referenced elsewhere is fine.

        One that is only called so, and has another address, is somebody else's: it stays.
        """
        path = full_path(pool)
        async with self._writes:
            unit = await self._units.active()
            domain = ""
            if "%" not in address:
                with suppress(NotFound):
                    domain = names.shared_route_domain((await pool_at(unit, path)).members)
            node = names.below(path, address + domain)
            url = f"/mgmt/tm/ltm/node/{names.segment(node)}"
            with suppress(NotFound):
                what = f"node {node}"
                found = shapes.read(shapes.node_address, await unit.get(url, what), what)
                if found == names.bare(address):
                    await self._delete(unit, "node.delete", node, url, what)
            await self._upkeep.settle(unit)

    async def persist(self) -> None:
        """Save and synchronise what is owed; a new client does both once, since it cannot know what its predecessor left owed."""
        async with self._writes:
            if self._upkeep.doubtful:
                await self._upkeep.persist(await self._units.active())

    async def _delete(self, unit: Unit, operation: str, target: str, url: str, what: str) -> None:
        async def delete() -> None:
            try:
                await unit.call("DELETE", url, what)
            except NotFound:
                return
            except Refused as error:
                if operation != "node.delete" or not error.said.startswith(REFERENCED):
                    raise

        self._upkeep.owe()
        await self._effects.write(SYSTEM, operation, target, delete)

    async def _read(self, look: Callable[[Unit], Awaitable[T]]) -> T:
        try:
            return await look(await self._units.to_read())
        except Retryable:
            self._units.doubt()
            raise

    async def close(self) -> None:
        """Give the tokens back and close the connections."""
        for unit in self._units.all:
            await unit.close()
