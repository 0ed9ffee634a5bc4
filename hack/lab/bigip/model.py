"""What the device holds: its configuration as data, and beside each member what only the running device knows.

`Store` is copied before each write and put in place when all of it has succeeded, so a write (or a transaction of them)
happens wholly or not at all. `Live` is shared by the copies: connections and health are no configuration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


class Health(StrEnum):
    """What the monitor thinks. A member is CHECKING from its creation until the first verdict, and takes traffic meanwhile."""

    UNCHECKED = "unchecked"
    CHECKING = "checking"
    UP = "up"
    DOWN = "down"


@dataclass(eq=False)
class Live:
    """A member in operation: the monitor's verdict and the connections, each with the function that resets it."""

    health: Health = Health.CHECKING
    connections: dict[int, Callable[[], None]] = field(default_factory=dict)
    total: int = 0
    most: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass
class Node:
    """An address that members share; outlives them (ansible#1925)."""

    path: str
    address: str
    session: str = "user-enabled"
    state: str = "user-up"
    extra: Json = field(default_factory=dict)
    generation: int = 1


@dataclass
class Member:
    """A pool's member. `session` and `state` are what was asked for; what is read back also depends on the monitor."""

    path: str
    node: str
    port: int
    session: str = "user-enabled"
    state: str = "user-up"
    monitor: str = "default"
    extra: Json = field(default_factory=dict)
    generation: int = 1
    live: Live = field(default_factory=Live)


@dataclass
class Pool:
    """A pool. `monitor` is as the API has it: "" for none, or full paths joined with " and "."""

    path: str
    monitor: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    service_down_action: str = "none"
    extra: Json = field(default_factory=dict)
    generation: int = 1

    def monitors_of(self, member: Member) -> list[str]:
        """The full paths of the monitors that judge `member`: its own, or the pool's."""
        text = self.monitor if member.monitor == "default" else member.monitor
        return [part.strip() for part in text.split(" and ") if part.strip() and part.strip() not in {"none", "/Common/none"}]


@dataclass
class Monitor:
    """An HTTP monitor: `interval` and `timeout` in seconds (the lab takes fractions); `recv` is a regular expression."""

    path: str
    send: str = "GET /\\r\\n"
    recv: str = ""
    interval: float = 5
    timeout: float = 16
    extra: Json = field(default_factory=dict)
    generation: int = 1


@dataclass
class Virtual:
    """A virtual server: `destination` as full path (`/Common/127.0.0.10:8080`), `pool` a full path, or "" where an iRule chooses."""

    path: str
    destination: str
    pool: str = ""
    enabled: bool = True
    extra: Json = field(default_factory=dict)
    generation: int = 1


@dataclass
class Store:
    """The whole configuration. Keys are full paths."""

    pools: dict[str, Pool] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    monitors: dict[str, Monitor] = field(default_factory=dict)
    virtuals: dict[str, Virtual] = field(default_factory=dict)
    partitions: frozenset[str] = frozenset({"Common"})
    generation: int = 1

    def copy(self) -> Store:
        """A copy that can be changed without touching this one; the members' `live` is the same."""
        return Store(
            pools={
                key: replace(pool, extra=dict(pool.extra), members={k: replace(m, extra=dict(m.extra)) for k, m in pool.members.items()})
                for key, pool in self.pools.items()
            },
            nodes={key: replace(node, extra=dict(node.extra)) for key, node in self.nodes.items()},
            monitors={key: replace(monitor, extra=dict(monitor.extra)) for key, monitor in self.monitors.items()},
            virtuals={key: replace(virtual, extra=dict(virtual.extra)) for key, virtual in self.virtuals.items()},
            partitions=self.partitions,
            generation=self.generation,
        )

    def next_generation(self) -> int:
        """The number that the next changed object gets."""
        self.generation += 1
        return self.generation


def session_of(pool: Pool, member: Member) -> str:
    """`session` as it is read back (facts/bigip.md "Pools and members")."""
    if member.session == "user-disabled":
        return "user-disabled"
    return "monitor-enabled" if pool.monitors_of(member) else "user-enabled"


def state_of(pool: Pool, member: Member) -> str:
    """`state` as it is read back: user-down wins, then the monitor's verdict, else unchecked."""
    if member.state == "user-down":
        return "user-down"
    return str(member.live.health) if pool.monitors_of(member) else "unchecked"


def takes_new_connections(store: Store, pool: Pool, member: Member) -> bool:
    """Whether the balancer may choose it. CHECKING counts: a new member gets traffic before its first probe."""
    node = store.nodes[member.node]
    return (
        member.session == node.session == "user-enabled"
        and member.state == node.state == "user-up"
        and (not pool.monitors_of(member) or member.live.health is not Health.DOWN)
    )
