"""/mgmt/tm/ltm/pool: facts/bigip.md "Pools and members"."""

from __future__ import annotations

from . import members, names
from .errors import Json, config_error, exists, invalid_value, no_folder, not_found
from .model import Pool
from .properties import settable
from .query import collection, expanded, single
from .routing import Call, Router

DEFAULTS: Json = {
    "allowNat": "yes",
    "allowSnat": "yes",
    "ignorePersistedWeight": "disabled",
    "ipTosToClient": "pass-through",
    "ipTosToServer": "pass-through",
    "linkQosToClient": "pass-through",
    "linkQosToServer": "pass-through",
    "loadBalancingMode": "round-robin",
    "minActiveMembers": 0,
    "minUpMembers": 0,
    "minUpMembersAction": "failover",
    "minUpMembersChecking": "disabled",
    "queueDepthLimit": 0,
    "queueOnConnectionLimit": "disabled",
    "queueTimeLimit": 0,
    "reselectTries": 0,
    "slowRampTime": 10,
}
_KNOWN = frozenset(DEFAULTS) | {"monitor", "members", "serviceDownAction"}
_SERVICE_DOWN_ACTIONS = ("none", "reset", "drop", "reselect")


def add_routes(router: Router) -> None:
    """Register the handlers."""
    router.add("GET", "tm/ltm/pool", _list)
    router.add("POST", "tm/ltm/pool", create)
    router.add("GET", "tm/ltm/pool/*", _show)
    router.add("PATCH", "tm/ltm/pool/*", _modify)
    router.add("PUT", "tm/ltm/pool/*", _modify)
    router.add("DELETE", "tm/ltm/pool/*", _delete)


def render(call: Call, pool: Pool) -> Json:
    """A pool as it is read back; with its members where the subcollections were asked for."""
    partition, folder, name = names.split(pool.path)
    reference: Json = {"link": call.link(members.url(pool)), "isSubcollection": True}
    if expanded(call) and pool.members:
        reference["items"] = members.render_all(call, pool)
    monitor = pool.monitor + " " if pool.monitor and call.trailing_space else pool.monitor
    return {
        "kind": "tm:ltm:pool:poolstate",
        "name": name,
        "partition": partition,
        **({"subPath": folder} if folder else {}),
        "fullPath": pool.path,
        "generation": pool.generation,
        "selfLink": call.link(f"/tm/ltm/pool/{names.to_url(pool.path)}", keep_query=True),
        **DEFAULTS,
        **({"monitor": monitor} if monitor else {}),
        "serviceDownAction": pool.service_down_action,
        **pool.extra,
        "membersReference": reference,
    }


def _list(call: Call) -> Json:
    pools = (render(call, pool) for pool in call.store.pools.values())
    return collection(call, "tm:ltm:pool:poolcollectionstate", "/tm/ltm/pool", pools)


def _show(call: Call, segment: str) -> Json:
    return single(call, render(call, members.find_pool(call, segment)))


def create(call: Call) -> Json:
    """Make the pool that the body describes. Raises ApiError 400, 404 (monitor), 409."""
    name = call.body.get("name")
    if not isinstance(name, str) or not name:
        raise config_error(400, "one or more properties must be specified")
    path = names.full_path(name, str(call.body.get("partition", "Common")))
    partition = names.split(path)[0]
    if partition not in call.store.partitions:
        raise no_folder(f"Pool ({path})")
    if path in call.store.pools:
        raise exists(f"Pool ({path})", partition)
    pool = call.store.pools[path] = Pool(path)
    _set(call, pool)
    return render(call, pool)


def _modify(call: Call, segment: str) -> Json:
    pool = members.find_pool(call, segment)
    _set(call, pool)
    return render(call, pool)


def _set(call: Call, pool: Pool) -> None:
    wanted = settable(call.body, _KNOWN)
    if "monitor" in wanted:
        pool.monitor = _monitor(call, str(wanted.pop("monitor") or ""), names.split(pool.path)[0])
    if "serviceDownAction" in wanted:
        if wanted["serviceDownAction"] not in _SERVICE_DOWN_ACTIONS:
            raise invalid_value("serviceDownAction", wanted["serviceDownAction"])
        pool.service_down_action = str(wanted.pop("serviceDownAction"))
    if "members" in wanted:
        _replace_members(call, pool, wanted.pop("members"))
    pool.extra.update(wanted)
    pool.generation = call.store.next_generation()


def _monitor(call: Call, text: str, partition: str) -> str:
    paths = [names.full_path(part.strip(), partition) for part in text.split(" and ") if part.strip()]
    paths = [path for path in paths if path != "/Common/none"]
    for path in paths:
        if path not in call.store.monitors:
            raise not_found(f"monitor rule ({path})")
    return " and ".join(paths)


def _replace_members(call: Call, pool: Pool, wanted: object) -> None:
    """`members` in a pool's body is the whole list: who is not in it goes; who stays keeps its connections."""
    if not isinstance(wanted, list):
        raise invalid_value("members", wanted)
    before, pool.members = pool.members, {}
    for entry in wanted:
        body: Json = dict(entry) if isinstance(entry, dict) else {"name": str(entry)}
        path = names.full_path(str(body.get("name", "")), str(body.get("partition", "Common")))
        if path in before:
            pool.members[path] = before[path]
        else:
            members.add(call, pool, body)


def _delete(call: Call, segment: str) -> None:
    pool = members.find_pool(call, segment)
    for virtual in call.store.virtuals.values():
        if virtual.pool == pool.path:
            message = f"01070265:3: The Pool ({pool.path}) cannot be deleted because it is in use by a Virtual Server "
            raise config_error(400, f"{message}({virtual.path}).")
    del call.store.pools[pool.path]
    call.store.next_generation()
