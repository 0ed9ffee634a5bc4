"""A BIG-IP (or a pair) as the flows see it. Terms are F5's: pool, member, session, state (facts/bigip.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

SYSTEM = "bigip"


@dataclass(frozen=True)
class Member:
    """A pool member as it reads. `name` is `address:port`; session and state in F5's words. Where the pool activates by priority, only the
    highest group with enough members gets traffic."""

    name: str
    address: str
    port: int
    session: str
    state: str
    priority_group: int = 0

    @property
    def enabled(self) -> bool:
        """Takes new connections, as far as its session goes."""
        return self.session in ("user-enabled", "monitor-enabled")

    @property
    def in_service(self) -> bool:
        """Probed up and enabled."""
        return self.state == "up" and self.session == "monitor-enabled"


@dataclass(frozen=True)
class VirtualServer:
    """A virtual server that uses the pool. `address` without route domain."""

    name: str
    address: str
    port: int
    pool: str


@dataclass(frozen=True)
class Pool:
    """A pool with its members; `monitor` is empty where there is none."""

    full_path: str
    monitor: str
    members: tuple[Member, ...]


class BigIp(Protocol):
    """One BIG-IP unit or pair: writes go to the active unit, one at a time.

    Every call raises Retryable (down, 5xx, odd 404) and Untrusted (certificate, login) besides what it names.
    """

    async def about(self) -> str:
        """Product version; proves certificate and login."""
        ...

    async def pool(self, full_path: str) -> Pool:
        """The pool with its members. Raises NotFound only where the BIG-IP's message proves absence (01020036)."""
        ...

    async def virtual_servers(self, pool: str) -> list[VirtualServer]:
        """The virtual servers whose default pool it is."""
        ...

    async def member(self, pool: str, name: str) -> Member | None:
        """One member, or None where its absence is proven."""
        ...

    async def add_member(self, pool: str, address: str, port: int) -> Member:
        """Add it user-disabled, in the highest priority group that an enabled member has; an existing one is returned as it is.

        Raises NotFound (pool), Rejected.
        """
        ...

    async def set_member(self, pool: str, name: str, *, session: str, state: str) -> None:
        """PATCH session (user-enabled | user-disabled) and state (user-up | user-down). Raises NotFound."""
        ...

    async def nodes_by_address(self) -> dict[str, str]:
        """Every node that the user may see, of any partition: address without route domain -> full path."""
        ...

    async def current_connections(self, pool: str, name: str) -> int:
        """serverside.curConns of the member. Raises NotFound."""
        ...

    async def remove_member(self, pool: str, name: str) -> None:
        """Delete the member; absent is fine."""
        ...

    async def remove_node(self, pool: str, address: str) -> None:
        """Delete the node of this name and address in the pool's partition; absent or still referenced (01070110) is fine."""
        ...

    async def persist(self) -> None:
        """What was written outlives a reboot and a failover when this returns: saved, and synchronised to the group. Asked when a member
        has joined, and before an address is let go, since whoever wrote may have died, or been refused, between the write and its saving.
        """
        ...

    async def close(self) -> None:
        """Give the token back."""
        ...
