"""The rest of the device that clients ask for: sys, cm, net/tunnels, echo-query (facts/bigip.md "High availability" and "A lab BIG-IP must" 4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import Json, config_error
from .query import collection
from .routing import Call, Router

_TUNNELS = ("gre", "ipip")


@dataclass
class System:
    """The device among its peers. `group` is the sync group, None on a standalone device; `standby` is asked at each look."""

    hostname: str
    group: str | None = None
    peer: str | None = None
    standby: bool = False
    synced: int = 0
    saved: int = 0
    saves: int = field(default=0)
    syncs: int = field(default=0)

    def sync_status(self, generation: int) -> str:
        """What /cm/sync-status says of a configuration at `generation`."""
        if self.group is None:
            return "Standalone"
        return "In Sync" if self.synced == generation else "Changes Pending"


def add_routes(router: Router, system: System) -> None:
    """Register the handlers."""
    router.add("GET", "tm/sys", _sys)
    router.add("GET", "tm/sys/version", _version)
    router.add("GET", "shared/echo-query", _echo)
    router.add("POST", "tm/sys/config", lambda call: _config(call, system))
    router.add("GET", "tm/cm", lambda call: _organizing(call, "/tm/cm", "tm:cm:cmcollectionstate", ("device", "sync-status")))
    router.add("POST", "tm/cm", lambda call: _cm(call, system))
    router.add("GET", "tm/cm/device", lambda call: _devices(call, system))
    router.add("GET", "tm/cm/device/*", lambda call, segment: _device_of(call, system, segment))
    router.add("GET", "tm/cm/sync-status", lambda call: _sync_status(call, system))
    router.add(
        "GET", "tm/net/tunnels", lambda call: _organizing(call, "/tm/net/tunnels", "tm:net:tunnels:tunnelscollectionstate", _TUNNELS)
    )
    for tunnel in _TUNNELS:
        router.add("GET", f"tm/net/tunnels/{tunnel}", lambda call, tunnel=tunnel: _tunnels(call, tunnel))


def _organizing(call: Call, path: str, kind: str, below: tuple[str, ...]) -> Json:
    items = [{"reference": {"link": call.link(f"{path}/{name}")}} for name in below]
    return {"kind": kind, "selfLink": call.link(path), "items": items}


def _sys(call: Call) -> Json:
    return _organizing(call, "/tm/sys", "tm:sys:syscollectionstate", ("config", "version"))


def _version(call: Call) -> Json:
    entries = {
        "Build": {"description": "0.0.1"},
        "Edition": {"description": "Lab"},
        "Product": {"description": "BIG-IP"},
        "Title": {"description": "Main Package"},
        "Version": {"description": call.version},
    }
    link = "https://localhost/mgmt/tm/sys/version/0"
    return {
        "kind": "tm:sys:version:versionstats",
        "selfLink": call.link("/tm/sys/version"),
        "entries": {link: {"nestedStats": {"entries": entries}}},
    }


def _echo(call: Call) -> Json:
    return {"stage": "STARTED", "referer": "", "kind": "shared:echo-query", "selfLink": "https://localhost/mgmt/shared/echo-query"}


def _config(call: Call, system: System) -> Json:
    if call.body.get("command") != "save":
        raise config_error(400, f"invalid command {call.body.get('command')}")
    system.saved = call.store.generation
    system.saves += 1
    return {"kind": "tm:sys:config:savestate", **call.body}


def _cm(call: Call, system: System) -> Json:
    words = str(call.body.get("utilCmdArgs", "")).split()
    if call.body.get("command") != "run" or len(words) != 3 or words[0] != "config-sync" or words[1] not in {"to-group", "from-group"}:
        raise config_error(400, f"invalid command {call.body.get('command')}")
    group = words[2]
    if system.group is None or group.rsplit("/", 1)[-1] != system.group.rsplit("/", 1)[-1]:
        raise config_error(400, f"01070734:3: Configuration error: Device group ({group}) not found in device group sync")
    system.synced = call.store.generation
    system.syncs += 1
    return {"kind": "tm:cm:runstate", "command": "run", "utilCmdArgs": " ".join(words)}


def _device(call: Call, name: str, state: str, *, itself: bool) -> Json:
    return {
        "kind": "tm:cm:device:devicestate",
        "name": name,
        "partition": "Common",
        "fullPath": f"/Common/{name}",
        "generation": 1,
        "selfLink": call.link(f"/tm/cm/device/~Common~{name}"),
        "failoverState": state,
        "hostname": name,
        "product": "BIG-IP",
        "selfDevice": "true" if itself else "false",
        "version": call.version,
    }


def _all_devices(call: Call, system: System) -> list[Json]:
    found = [_device(call, system.hostname, "standby" if system.standby else "active", itself=True)]
    if system.peer is not None:
        found.append(_device(call, system.peer, "active" if system.standby else "standby", itself=False))
    return found


def _devices(call: Call, system: System) -> Json:
    return collection(call, "tm:cm:device:devicecollectionstate", "/tm/cm/device", _all_devices(call, system))


def _device_of(call: Call, system: System, segment: str) -> Json:
    name = segment.rsplit("~", 1)[-1]
    for device in _all_devices(call, system):
        if device["name"] == name:
            return device
    raise config_error(404, f"01020036:3: The requested device (/Common/{name}) was not found.")


def _sync_status(call: Call, system: System) -> Json:
    status = system.sync_status(call.store.generation)
    entries = {
        "color": {"description": {"In Sync": "green", "Changes Pending": "yellow"}.get(status, "green")},
        "mode": {"description": "standalone" if system.group is None else "high-availability"},
        "status": {"description": status},
        "summary": {"description": " " if system.group is None else "All devices in the device group are in sync"},
    }
    link = "https://localhost/mgmt/tm/cm/sync-status/0"
    return {
        "kind": "tm:cm:sync-status:sync-statusstats",
        "selfLink": call.link("/tm/cm/sync-status"),
        "entries": {link: {"nestedStats": {"entries": entries}}},
    }


def _tunnels(call: Call, name: str) -> Json:
    item = {
        "kind": f"tm:net:tunnels:{name}:{name}state",
        "name": name,
        "partition": "Common",
        "fullPath": f"/Common/{name}",
        "generation": 1,
        "selfLink": call.link(f"/tm/net/tunnels/{name}/~Common~{name}"),
    }
    return collection(call, f"tm:net:tunnels:{name}:{name}collectionstate", f"/tm/net/tunnels/{name}", [item])
