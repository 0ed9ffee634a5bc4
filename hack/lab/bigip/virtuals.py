"""/mgmt/tm/ltm/virtual: facts/bigip.md "Virtual servers". `lab.bigip.balancer` listens where the destination is loopback."""

from __future__ import annotations

from . import names
from .errors import Json, config_error, exists, no_folder, not_found
from .model import Virtual
from .properties import settable
from .query import collection, expanded, single
from .routing import Call, Router

DEFAULTS: Json = {
    "addressStatus": "yes",
    "autoLasthop": "default",
    "connectionLimit": 0,
    "ipProtocol": "tcp",
    "mask": "255.255.255.255",
    "mirror": "disabled",
    "rateLimit": "disabled",
    "serversslUseSni": "disabled",
    "source": "0.0.0.0/0",
    "sourceAddressTranslation": {"type": "automap"},
    "sourcePort": "preserve",
    "translateAddress": "enabled",
    "translatePort": "enabled",
    "vlansDisabled": True,
}
_KNOWN = frozenset(DEFAULTS) | {"destination", "pool", "enabled", "disabled", "rules", "profiles", "vlansEnabled"}


def add_routes(router: Router) -> None:
    """Register the handlers."""
    router.add("GET", "tm/ltm/virtual", _list)
    router.add("POST", "tm/ltm/virtual", create)
    router.add("GET", "tm/ltm/virtual/*", _show)
    router.add("PATCH", "tm/ltm/virtual/*", _modify)
    router.add("PUT", "tm/ltm/virtual/*", _modify)
    router.add("DELETE", "tm/ltm/virtual/*", _delete)
    router.add("GET", "tm/ltm/virtual/*/profiles", _profiles)


def url(virtual: Virtual) -> str:
    """Its path below /mgmt."""
    return f"/tm/ltm/virtual/{names.to_url(virtual.path)}"


def find(call: Call, segment: str) -> Virtual:
    """A virtual server by URL. Raises ApiError 404."""
    path = names.from_url(segment)
    if path not in call.store.virtuals:
        raise not_found(f"Virtual Server ({path})")
    return call.store.virtuals[path]


def _render(call: Call, virtual: Virtual) -> Json:
    partition, folder, name = names.split(virtual.path)
    profiles: Json = {"link": call.link(f"{url(virtual)}/profiles"), "isSubcollection": True}
    if expanded(call):
        profiles["items"] = _profile_items(call, virtual)
    pool: Json = {}
    if virtual.pool:
        pool = {
            "pool": virtual.pool,
            "poolReference": {"link": call.link(f"/tm/ltm/pool/{names.to_url(virtual.pool)}")},
        }
    return {
        "kind": "tm:ltm:virtual:virtualstate",
        "name": name,
        "partition": partition,
        **({"subPath": folder} if folder else {}),
        "fullPath": virtual.path,
        "generation": virtual.generation,
        "selfLink": call.link(url(virtual), keep_query=True),
        "destination": virtual.destination,
        **({"enabled": True} if virtual.enabled else {"disabled": True}),
        **DEFAULTS,
        **pool,
        **virtual.extra,
        "profilesReference": profiles,
    }


def _profile_items(call: Call, virtual: Virtual) -> list[Json]:
    return [
        {
            "kind": "tm:ltm:virtual:profiles:profilesstate",
            "name": name,
            "partition": "Common",
            "fullPath": f"/Common/{name}",
            "generation": virtual.generation,
            "selfLink": call.link(f"{url(virtual)}/profiles/~Common~{name}"),
            "context": "all",
        }
        for name in ("http", "tcp")
    ]


def _profiles(call: Call, segment: str) -> Json:
    virtual = find(call, segment)
    kind = "tm:ltm:virtual:profiles:profilescollectionstate"
    return collection(call, kind, f"{url(virtual)}/profiles", _profile_items(call, virtual))


def _list(call: Call) -> Json:
    virtuals = (_render(call, virtual) for virtual in call.store.virtuals.values())
    return collection(call, "tm:ltm:virtual:virtualcollectionstate", "/tm/ltm/virtual", virtuals)


def _show(call: Call, segment: str) -> Json:
    return single(call, _render(call, find(call, segment)))


def create(call: Call) -> Json:
    """Make the virtual server that the body describes. Raises ApiError 400, 404 (pool), 409."""
    path = names.full_path(str(call.body.get("name", "")), str(call.body.get("partition", "Common")))
    partition = names.split(path)[0]
    if partition not in call.store.partitions:
        raise no_folder(f"Virtual Server ({path})")
    if path in call.store.virtuals:
        raise exists(f"Virtual Server ({path})", partition)
    virtual = call.store.virtuals[path] = Virtual(path, "")
    _set(call, virtual)
    if not virtual.destination:
        raise config_error(400, f"01070734:3: Configuration error: Virtual server {path} must have a destination")
    return _render(call, virtual)


def _modify(call: Call, segment: str) -> Json:
    virtual = find(call, segment)
    _set(call, virtual)
    return _render(call, virtual)


def _set(call: Call, virtual: Virtual) -> None:
    wanted = settable(call.body, _KNOWN, ignored=frozenset({"profiles"}))
    if "destination" in wanted:
        virtual.destination = names.full_path(str(wanted.pop("destination")))
        try:
            names.split_destination(virtual.destination)
        except names.BadNameError as error:
            raise config_error(400, f"01070734:3: Configuration error: {error}") from error
        if any(o is not virtual and o.destination == virtual.destination for o in call.store.virtuals.values()):
            message = f"01070333:3: Virtual Server {virtual.path} illegally shares destination address"
            raise config_error(400, message)
    if "pool" in wanted:
        text = str(wanted.pop("pool") or "")
        virtual.pool = "" if text in {"", "none"} else names.full_path(text)
        if virtual.pool and virtual.pool not in call.store.pools:
            raise not_found(f"Pool ({virtual.pool})")
    if wanted.pop("disabled", False):
        virtual.enabled = False
    elif wanted.pop("enabled", False):
        virtual.enabled = True
    virtual.extra.update(wanted)
    virtual.generation = call.store.next_generation()


def _delete(call: Call, segment: str) -> None:
    del call.store.virtuals[find(call, segment).path]
    call.store.next_generation()
