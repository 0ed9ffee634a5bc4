""".../stats of members, pools and virtual servers: facts/bigip.md "Statistics"."""

from __future__ import annotations

from collections.abc import Iterable

from . import members, names, virtuals
from .errors import Json
from .model import Health, Member, Pool, Virtual
from .routing import Call, Router


def add_routes(router: Router) -> None:
    """Register the handlers."""
    router.add("GET", "tm/ltm/pool/*/members/stats", _members)
    router.add("GET", "tm/ltm/pool/*/members/*/stats", _member)
    router.add("GET", "tm/ltm/pool/*/stats", _pool)
    router.add("GET", "tm/ltm/pool/stats", _pools)
    router.add("GET", "tm/ltm/virtual/*/stats", _virtual)
    router.add("GET", "tm/ltm/virtual/stats", _virtuals)


def _text(value: str) -> Json:
    return {"description": value}


def _number(value: int) -> Json:
    return {"value": value}


def _status(availability: str, enabled: bool, reason: str) -> Json:
    return {
        "status.availabilityState": _text(availability),
        "status.enabledState": _text("enabled" if enabled else "disabled"),
        "status.statusReason": _text(reason),
    }


def _member_status(pool: Pool, member: Member) -> Json:
    enabled = member.session == "user-enabled" and member.state == "user-up"
    if member.state == "user-down":
        return _status("offline", enabled, "Forced down")
    if not pool.monitors_of(member):
        return _status("unknown", enabled, "Pool member does not have service checking enabled")
    availability, reason = {
        Health.UP: ("available", "Pool member is available"),
        Health.DOWN: ("offline", "Pool member has been marked down by a monitor"),
    }.get(member.live.health, ("unknown", "Pool member service has not been checked yet"))
    return _status(availability, enabled, reason if enabled else f"{reason}, user disabled")


def _traffic(side: str, lives: Iterable[Member]) -> Json:
    found = [member.live for member in lives]
    return {
        f"{side}.bitsIn": _number(8 * sum(live.bytes_in for live in found)),
        f"{side}.bitsOut": _number(8 * sum(live.bytes_out for live in found)),
        f"{side}.curConns": _number(sum(len(live.connections) for live in found)),
        f"{side}.maxConns": _number(sum(live.most for live in found)),
        f"{side}.totConns": _number(sum(live.total for live in found)),
    }


def _member_entries(call: Call, pool: Pool, member: Member) -> Json:
    forced = member.state == "user-down"
    monitors = pool.monitors_of(member)
    health = str(member.live.health) if monitors else "unchecked"
    return {
        "addr": _text(call.store.nodes[member.node].address),
        "curSessions": _number(len(member.live.connections)),
        "monitorRule": _text(" and ".join(monitors) or "none"),
        "monitorStatus": _text("forced-down" if forced else health),
        "nodeName": _text(member.node),
        "poolName": _text(pool.path),
        "port": _number(member.port),
        **_traffic("serverside", [member]),
        "sessionStatus": _text("enabled" if member.session == "user-enabled" else "user-disabled"),
        **_member_status(pool, member),
        "totRequests": _number(0),
    }


def _nested(call: Call, path: str, kind: str, entries: Json) -> Json:
    return {
        f"https://localhost/mgmt{path}/stats": {"nestedStats": {"kind": kind, "selfLink": call.link(f"{path}/stats"), "entries": entries}}
    }


def _frame(call: Call, path: str, kind: str, entries: Json) -> Json:
    return {"kind": kind, "selfLink": call.link(f"{path}/stats"), "entries": entries}


def _one_member(call: Call, pool: Pool, member: Member) -> Json:
    kind = "tm:ltm:pool:members:membersstats"
    return _nested(call, members.url(pool, member), kind, _member_entries(call, pool, member))


def _members(call: Call, segment: str) -> Json:
    pool = members.find_pool(call, segment)
    entries: Json = {}
    for member in pool.members.values():
        entries.update(_one_member(call, pool, member))
    return _frame(call, members.url(pool), "tm:ltm:pool:members:memberscollectionstats", entries)


def _member(call: Call, pool_segment: str, segment: str) -> Json:
    pool, member = members.find_member(call, pool_segment, segment)
    kind = "tm:ltm:pool:members:membersstats"
    return _frame(call, members.url(pool, member), kind, _one_member(call, pool, member))


def _one_pool(call: Call, pool: Pool) -> Json:
    found = pool.members.values()
    up = [m for m in found if _member_status(pool, m)["status.availabilityState"]["description"] == "available"]
    unknown = [m for m in found if _member_status(pool, m)["status.availabilityState"]["description"] == "unknown"]
    if up:
        status = _status("available", True, "The pool is available")
    elif unknown or not found:
        status = _status("unknown", True, "The children pool member(s) either don't have service checking enabled")
    else:
        status = _status("offline", True, "The children pool member(s) are down")
    entries = {
        "activeMemberCnt": _number(sum(m.session == "user-enabled" and m.state == "user-up" for m in up)),
        "availableMemberCnt": _number(len(up)),
        "curSessions": _number(sum(len(m.live.connections) for m in found)),
        "memberCnt": _number(len(found)),
        "monitorRule": _text(pool.monitor or "none"),
        **_traffic("serverside", found),
        **status,
        "tmName": _text(pool.path),
    }
    return _nested(call, f"/tm/ltm/pool/{names.to_url(pool.path)}", "tm:ltm:pool:poolstats", entries)


def _pool(call: Call, segment: str) -> Json:
    pool = members.find_pool(call, segment)
    path = f"/tm/ltm/pool/{names.to_url(pool.path)}"
    return _frame(call, path, "tm:ltm:pool:poolstats", _one_pool(call, pool))


def _pools(call: Call) -> Json:
    entries: Json = {}
    for pool in call.store.pools.values():
        entries.update(_one_pool(call, pool))
    return _frame(call, "/tm/ltm/pool", "tm:ltm:pool:poolcollectionstats", entries)


def _one_virtual(call: Call, virtual: Virtual) -> Json:
    pool = call.store.pools.get(virtual.pool)
    found = list(pool.members.values()) if pool is not None else []
    available = any(member.live.health is Health.UP for member in found)
    entries = {
        **_traffic("clientside", found),
        "destination": _text(names.split(virtual.destination)[2]),
        **_status("available" if available else "unknown", virtual.enabled, "The virtual server is available"),
        "tmName": _text(virtual.path),
    }
    return _nested(call, virtuals.url(virtual), "tm:ltm:virtual:virtualstats", entries)


def _virtual(call: Call, segment: str) -> Json:
    virtual = virtuals.find(call, segment)
    return _frame(call, virtuals.url(virtual), "tm:ltm:virtual:virtualstats", _one_virtual(call, virtual))


def _virtuals(call: Call) -> Json:
    entries: Json = {}
    for virtual in call.store.virtuals.values():
        entries.update(_one_virtual(call, virtual))
    return _frame(call, "/tm/ltm/virtual", "tm:ltm:virtual:virtualcollectionstats", entries)
