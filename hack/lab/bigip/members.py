"""/mgmt/tm/ltm/pool/P/members: facts/bigip.md "Pools and members".

What is written (user-enabled, user-disabled, user-up, user-down) is not what is read back: `model.session_of`, `state_of`.
"""

from __future__ import annotations

from . import names
from .errors import ApiError, Json, config_error, exists, no_folder, not_found
from .model import Health, Member, Pool, session_of, state_of
from .nodes import ensure_node
from .properties import session_and_state, settable
from .query import collection, single
from .routing import Call, Router

DEFAULTS: Json = {
    "connectionLimit": 0,
    "dynamicRatio": 1,
    "ephemeral": "false",
    "fqdn": {"autopopulate": "disabled"},
    "inheritProfile": "enabled",
    "logging": "disabled",
    "priorityGroup": 0,
    "rateLimit": "disabled",
    "ratio": 1,
}
_KNOWN = frozenset(DEFAULTS) - {"ephemeral"} | {"session", "state", "monitor"}


class AppliedError(Exception):
    """A write that took place and is answered with `error` all the same."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.message)
        self.error = error


def add_routes(router: Router) -> None:
    """Register the handlers."""
    router.add("GET", "tm/ltm/pool/*/members", _list)
    router.add("POST", "tm/ltm/pool/*/members", _create)
    router.add("GET", "tm/ltm/pool/*/members/*", _show)
    router.add("PATCH", "tm/ltm/pool/*/members/*", _modify)
    router.add("PUT", "tm/ltm/pool/*/members/*", _modify)
    router.add("DELETE", "tm/ltm/pool/*/members/*", _delete)


def url(pool: Pool, member: Member | None = None) -> str:
    """The path of the members of a pool, or of one, below /mgmt."""
    base = f"/tm/ltm/pool/{names.to_url(pool.path)}/members"
    return base if member is None else f"{base}/{names.to_url(member.path)}"


def find_pool(call: Call, segment: str, what: str = "Pool") -> Pool:
    """The pool of a URL. Raises ApiError 404, which says "pool" in small letters where members are posted."""
    path = names.from_url(segment)
    if path not in call.store.pools:
        raise not_found(f"{what} ({path})")
    return call.store.pools[path]


def find_member(call: Call, pool_segment: str, segment: str) -> tuple[Pool, Member]:
    """A member by URL. Raises ApiError 404 (pool, member), 400 (a name without a port)."""
    pool = find_pool(call, pool_segment)
    path = names.from_url(segment)
    node, port = names.split_member(path)
    if path not in pool.members:
        raise not_found(f"Pool Member ({pool.path} {node} {port})")
    return pool, pool.members[path]


def render(call: Call, pool: Pool, member: Member) -> Json:
    """A member as it is read back."""
    partition, folder, name = names.split(member.path)
    return {
        "kind": "tm:ltm:pool:members:membersstate",
        "name": name,
        "partition": partition,
        **({"subPath": folder} if folder else {}),
        "fullPath": member.path,
        "generation": member.generation,
        "selfLink": call.link(url(pool, member)),
        "address": call.store.nodes[member.node].address,
        **DEFAULTS,
        **member.extra,
        "monitor": member.monitor,
        "session": session_of(pool, member),
        "state": state_of(pool, member),
    }


def render_all(call: Call, pool: Pool) -> list[Json]:
    """Every member of a pool."""
    return [render(call, pool, member) for member in pool.members.values()]


def add(call: Call, pool: Pool, body: Json) -> Member:
    """Add a member, and its node where there is none. Raises ApiError 400, 409."""
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise config_error(400, "one or more properties must be specified")
    path = names.full_path(name, str(body.get("partition", "Common")))
    node_path, port = names.split_member(path)
    what = f"Pool Member ({pool.path} {node_path} {port})"
    try:
        partition = names.split(path)[0]
    except names.BadNameError as error:
        raise names.no_port() from error
    if partition not in call.store.partitions:
        raise no_folder(what)
    if path in pool.members:
        raise exists(what, partition)
    wanted = settable(body, _KNOWN, ignored=frozenset({"address", "ephemeral"}))
    session, state = session_and_state(wanted, "user-enabled", "user-up")
    address = body.get("address")
    node = ensure_node(call.store, node_path, str(address) if address is not None else None)
    monitor = str(wanted.pop("monitor", "default"))
    member = Member(path, node.path, port, session, state, monitor, wanted, call.store.next_generation())
    pool.members[path] = member
    return member


def _list(call: Call, segment: str) -> Json:
    pool = find_pool(call, segment)
    return collection(call, "tm:ltm:pool:members:memberscollectionstate", url(pool), render_all(call, pool))


def _show(call: Call, pool_segment: str, segment: str) -> Json:
    return single(call, render(call, *find_member(call, pool_segment, segment)))


def _create(call: Call, segment: str) -> Json:
    pool = find_pool(call, segment, "pool")
    member = add(call, pool, call.body)
    if "partition" not in call.body and not str(call.body["name"]).startswith("/"):
        # origin-server#6439: it is added, and the answer says that it is not there.
        node = names.split(member.node)[2]
        raise AppliedError(not_found(f"Pool Member ({pool.path} /{node} {member.port})"))
    return render(call, pool, member)


def _modify(call: Call, pool_segment: str, segment: str) -> Json:
    pool, member = find_member(call, pool_segment, segment)
    if "address" in call.body:
        raise config_error(400, "address may not be specified")
    wanted = settable(call.body, _KNOWN, ignored=frozenset({"ephemeral", "fqdn"}))
    forced = member.state == "user-down"
    member.session, member.state = session_and_state(wanted, member.session, member.state)
    member.monitor = str(wanted.pop("monitor", member.monitor)).strip()
    member.extra.update(wanted)
    member.generation = call.store.next_generation()
    answer = render(call, pool, member)
    if forced and member.state == "user-up" and pool.monitors_of(member):
        answer["state"] = str(Health.CHECKING)  # the prober starts anew when this write is in place
    return answer


def _delete(call: Call, pool_segment: str, segment: str) -> None:
    pool, member = find_member(call, pool_segment, segment)
    del pool.members[member.path]
    call.store.next_generation()
