"""Answers of iControl REST as the port's value types (facts/bigip.md "Pools and members", "Virtual servers", "Statistics").

What a client cannot read is no proof of anything: Retryable(UnexpectedAnswer).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from vmscaler.adapters.bigip.names import bare, split_port
from vmscaler.ports.bigip import SYSTEM, Member, Pool, VirtualServer
from vmscaler.ports.errors import Retryable

Json = dict[str, Any]
T = TypeVar("T")


def read(shape: Callable[[Json], T], answer: Json, what: str) -> T:
    """`shape(answer)`. Raises Retryable(UnexpectedAnswer)."""
    try:
        return shape(answer)
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration) as error:
        raise Retryable(SYSTEM, "UnexpectedAnswer", f"{what}: the answer is not as expected ({type(error).__name__})") from error


def member(item: Json) -> Member:
    """A member as it reads. Its name keeps the route domain, which its URL needs; the address does not."""
    _, port = split_port(item["name"])
    return Member(
        name=str(item["name"]),
        address=bare(item["address"]),
        port=port,
        session=str(item["session"]),
        state=str(item["state"]),
        priority_group=int(item.get("priorityGroup", 0)),
    )


def pool(answer: Json) -> Pool:
    """A pool with expanded members. Old versions append a space to the monitor."""
    monitor = str(answer.get("monitor") or "").strip()
    items = answer["membersReference"].get("items", [])
    return Pool(
        full_path=str(answer["fullPath"]),
        monitor="" if monitor in ("none", "/Common/none") else monitor,
        members=tuple(member(item) for item in items),
    )


def virtual_servers(answer: Json, pool: str) -> list[VirtualServer]:
    """Those whose default pool is `pool` and that have one destination (a list of addresses or ports has none).

    Nothing is read of the others: what stands in anybody's virtual server must stop no policy that it is none of.
    """
    return [_virtual_server(item) for item in _collected(answer) if item.get("pool") == pool and item.get("destination")]


def _virtual_server(item: Json) -> VirtualServer:
    host, port = split_port(str(item["destination"]).rpartition("/")[2])
    return VirtualServer(name=str(item["fullPath"]), address=bare(host), port=port, pool=str(item["pool"]))


def nodes_by_address(answer: Json) -> dict[str, str]:
    """Of /mgmt/tm/ltm/node; a node by name (FQDN) has an address of "any6"."""
    return {bare(str(item["address"])): str(item["fullPath"]) for item in _collected(answer)}


def node_address(answer: Json) -> str:
    """The address of a node, without its route domain: its name may be another one."""
    return bare(str(answer["address"]))


def version(answer: Json) -> str:
    """Of /mgmt/tm/sys/version."""
    return str(next(entries for entries in _nested(answer) if "Version" in entries)["Version"]["description"])


def current_connections(answer: Json) -> int:
    """serverside.curConns of one member's stats."""
    return int(next(entries for entries in _nested(answer) if "serverside.curConns" in entries)["serverside.curConns"]["value"])


def failover_state(answer: Json) -> str:
    """Of /mgmt/tm/cm/device: what the unit that was asked says of itself."""
    return str(next(item for item in answer["items"] if str(item.get("selfDevice")).lower() == "true")["failoverState"])


def standalone(answer: Json) -> bool:
    """Of /mgmt/tm/cm/sync-status: whether there is nothing to synchronise with."""
    return bool(next(entries for entries in _nested(answer) if "status" in entries)["status"]["description"] == "Standalone")


def group_to_sync(answer: Json) -> str | None:
    """Of /mgmt/tm/cm/device-group: the failover group that does not synchronise by itself, if there is one."""
    for item in _collected(answer):
        if item["type"] == "sync-failover" and item.get("autoSync") != "enabled":
            return str(item["fullPath"])
    return None


def _collected(answer: Json) -> list[Json]:
    """The items of a collection. An empty one has none, and is told by its kind from an answer that is none: an empty body, say."""
    if not str(answer["kind"]).endswith("collectionstate"):
        raise ValueError("not a collection")
    items: list[Json] = answer.get("items", [])
    return items


def _nested(answer: Json) -> Iterator[Json]:
    for entry in answer["entries"].values():
        yield entry["nestedStats"]["entries"]
