"""Who gets a connection and whose connections end: round robin over each pool, and the listeners in step with the configuration.

A disabled member keeps its connections. A deleted member's are reset. Those of a member that is forced offline or marked
down are reset in a pool with serviceDownAction "reset"; with "none", the device's default, they live on until they end.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter

from .model import Live, Member, Store, takes_new_connections
from .names import bare_address, split_destination
from .proxy import VirtualServer


class Balancer:
    """The data plane. It reads the configuration that `reconcile` was last given."""

    def __init__(self) -> None:
        self._store = Store()
        self._turn: Counter[str] = Counter()
        self._binding: set[asyncio.Task[None]] = set()
        self.listeners: dict[str, VirtualServer] = {}

    def choose(self, pool_path: str) -> tuple[Live, str, int] | None:
        """The next member of a pool that takes new connections, with its address and port."""
        pool = self._store.pools.get(pool_path)
        if pool is None:
            return None
        able = [member for member in pool.members.values() if takes_new_connections(self._store, pool, member)]
        if not able:
            return None
        member = able[self._turn[pool_path] % len(able)]
        self._turn[pool_path] += 1
        return member.live, bare_address(self._store.nodes[member.node].address), member.port

    def reconcile(self, store: Store) -> None:
        """Follow a change: open and close listeners, reset the connections of members that went away."""
        before, self._store = self._store, store
        kept = {id(m.live): (pool, m) for pool in store.pools.values() for m in pool.members.values()}
        for pool in before.pools.values():
            for member in pool.members.values():
                now = kept.get(id(member.live))
                if now is None or (_forced(now[1]) and not _forced(member) and now[0].service_down_action == "reset"):
                    _cut(member.live)
        wanted = {path: (v.destination, v.pool) for path, v in store.virtuals.items() if v.enabled and _here(v.destination)}
        for path in set(self.listeners) - set(wanted):
            self.listeners.pop(path).close()
        for path, (destination, pool_path) in wanted.items():
            address, port = split_destination(destination)
            listener = self.listeners.get(path)
            if listener is not None and (listener.address, listener.port) == (address, port):
                listener.pool = pool_path
                continue
            if listener is not None:
                listener.close()
            self.listeners[path] = VirtualServer(path, address, port, pool_path, self.choose)
            task = asyncio.create_task(self.listeners[path].listen())
            self._binding.add(task)
            task.add_done_callback(self._binding.discard)

    async def settle(self) -> None:
        """Wait until the listeners that were opened are bound (or have failed)."""
        await asyncio.gather(*self._binding)

    def went_down(self, live: Live) -> None:
        """A monitor marked this member down."""
        for pool in self._store.pools.values():
            if pool.service_down_action == "reset" and any(member.live is live for member in pool.members.values()):
                _cut(live)

    async def close(self) -> None:
        """Close all listeners and connections."""
        await asyncio.gather(*self._binding, return_exceptions=True)
        for listener in self.listeners.values():
            listener.close()
        for listener in self.listeners.values():
            if listener.server is not None:
                await listener.server.wait_closed()


def _forced(member: Member) -> bool:
    return member.state == "user-down"


def _cut(live: Live) -> None:
    for cut in list(live.connections.values()):
        cut()


def _here(destination: str) -> bool:
    """Only loopback is ours; other destinations are configuration alone."""
    return ipaddress.ip_address(split_destination(destination)[0]).is_loopback
