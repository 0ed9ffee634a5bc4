"""/mgmt/tm/ltm/node: made with the first member at an address, kept when members and pools go (facts/bigip.md "Pools and members")."""

from __future__ import annotations

from . import names
from .errors import Json, config_error, exists, no_folder, not_found
from .model import Node, Store
from .properties import session_and_state, settable
from .query import collection, single
from .routing import Call, Router

DEFAULTS: Json = {
    "connectionLimit": 0,
    "dynamicRatio": 1,
    "ephemeral": "false",
    "fqdn": {"addressFamily": "ipv4", "autopopulate": "disabled", "downInterval": 5, "interval": "3600"},
    "logging": "disabled",
    "monitor": "default",
    "rateLimit": "disabled",
    "ratio": 1,
}
_KNOWN = frozenset(DEFAULTS) - {"ephemeral"} | {"session", "state"}


def add_routes(router: Router) -> None:
    """Register the handlers."""
    router.add("GET", "tm/ltm/node", _list)
    router.add("POST", "tm/ltm/node", _create)
    router.add("GET", "tm/ltm/node/*", _show)
    router.add("PATCH", "tm/ltm/node/*", _modify)
    router.add("PUT", "tm/ltm/node/*", _modify)
    router.add("DELETE", "tm/ltm/node/*", _delete)


def ensure_node(store: Store, path: str, address: str | None) -> Node:
    """The node of a new member, made where there is none. Raises ApiError 400 (no folder; the address is another node's)."""
    partition, _, name = names.split(path)
    if partition not in store.partitions:
        raise no_folder(f"Node ({path})")
    if (node := store.nodes.get(path)) is not None:
        if address is not None and address != node.address:
            raise config_error(400, f"01070734:3: Configuration error: Node ({path}) has address {node.address}")
        return node
    if address is None and not names.is_address(name):
        raise config_error(400, f"01070734:3: Configuration error: node {path} has no address")
    address = address or name
    if not names.is_address(address):
        raise config_error(400, f"01020059:3: IP address {address} is invalid")
    if any(other.address == address for other in store.nodes.values()):
        raise config_error(400, f"0107176c:3: Invalid Node, the IP address {address} already exists.")
    node = store.nodes[path] = Node(path, address, generation=store.next_generation())
    return node


def render(call: Call, node: Node) -> Json:
    """A node as it is read back."""
    partition, folder, name = names.split(node.path)
    return {
        "kind": "tm:ltm:node:nodestate",
        "name": name,
        "partition": partition,
        **({"subPath": folder} if folder else {}),
        "fullPath": node.path,
        "generation": node.generation,
        "selfLink": call.link(f"/tm/ltm/node/{names.to_url(node.path)}"),
        "address": node.address,
        **DEFAULTS,
        **node.extra,
        "session": node.session,
        "state": "user-down" if node.state == "user-down" else "unchecked",
    }


def _find(call: Call, segment: str) -> Node:
    path = names.from_url(segment)
    if path not in call.store.nodes:
        raise not_found(f"Node ({path})")
    return call.store.nodes[path]


def _list(call: Call) -> Json:
    nodes = (render(call, node) for node in call.store.nodes.values())
    return collection(call, "tm:ltm:node:nodecollectionstate", "/tm/ltm/node", nodes)


def _show(call: Call, segment: str) -> Json:
    return single(call, render(call, _find(call, segment)))


def _create(call: Call) -> Json:
    body = dict(call.body)
    if not isinstance(body.get("name"), str) or not body["name"]:
        raise config_error(400, "one or more properties must be specified")
    path = names.full_path(body["name"], str(body.get("partition", "Common")))
    if path in call.store.nodes:
        raise exists(f"Node ({path})", names.split(path)[0])
    address = body.pop("address", None)
    node = ensure_node(call.store, path, str(address) if address is not None else None)
    _set(node, body)
    return render(call, node)


def _modify(call: Call, segment: str) -> Json:
    node = _find(call, segment)
    if "address" in call.body:
        raise config_error(400, "address may not be specified")
    _set(node, call.body)
    node.generation = call.store.next_generation()
    return render(call, node)


def _set(node: Node, body: Json) -> None:
    wanted = settable(body, _KNOWN, ignored=frozenset({"ephemeral", "fqdn"}))
    if wanted.get("state") == "unchecked":  # what a monitorless node reads back; the device takes it
        del wanted["state"]
    node.session, node.state = session_and_state(wanted, node.session, node.state)
    node.extra.update(wanted)


def _delete(call: Call, segment: str) -> None:
    node = _find(call, segment)
    for pool in call.store.pools.values():
        if any(member.node == node.path for member in pool.members.values()):
            message = f"01070110:3: Node address '{node.path}' is referenced by a member of pool '{pool.path}'."
            raise config_error(400, message)
    del call.store.nodes[node.path]
    call.store.next_generation()
