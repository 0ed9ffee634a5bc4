"""/mgmt/tm/ltm/monitor/http: what a pool's `monitor` names. `lab.bigip.prober` acts on them."""

from __future__ import annotations

import re

from . import names
from .errors import Json, config_error, exists, invalid_value, no_folder, not_found
from .model import Monitor
from .properties import settable
from .query import collection, single
from .routing import Call, Router

DEFAULTS: Json = {
    "adaptive": "disabled",
    "defaultsFrom": "/Common/http",
    "destination": "*:*",
    "ipDscp": 0,
    "manualResume": "disabled",
    "reverse": "disabled",
    "timeUntilUp": 0,
    "transparent": "disabled",
    "upInterval": 0,
}
_KNOWN = frozenset(DEFAULTS) | {"interval", "timeout", "send", "recv"}
_BASE = "/tm/ltm/monitor/http"


def add_routes(router: Router) -> None:
    """Register the handlers."""
    router.add("GET", "tm/ltm/monitor/http", _list)
    router.add("POST", "tm/ltm/monitor/http", create)
    router.add("GET", "tm/ltm/monitor/http/*", _show)
    router.add("PATCH", "tm/ltm/monitor/http/*", _modify)
    router.add("PUT", "tm/ltm/monitor/http/*", _modify)
    router.add("DELETE", "tm/ltm/monitor/http/*", _delete)


def _render(call: Call, monitor: Monitor) -> Json:
    partition, folder, name = names.split(monitor.path)
    return {
        "kind": "tm:ltm:monitor:http:httpstate",
        "name": name,
        "partition": partition,
        **({"subPath": folder} if folder else {}),
        "fullPath": monitor.path,
        "generation": monitor.generation,
        "selfLink": call.link(f"{_BASE}/{names.to_url(monitor.path)}"),
        **DEFAULTS,
        **monitor.extra,
        "interval": _whole(monitor.interval),
        "timeout": _whole(monitor.timeout),
        "send": monitor.send,
        **({"recv": monitor.recv} if monitor.recv else {}),
    }


def _whole(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds


def _find(call: Call, segment: str) -> Monitor:
    path = names.from_url(segment)
    if path not in call.store.monitors:
        raise not_found(f"Monitor ({path})")
    return call.store.monitors[path]


def _list(call: Call) -> Json:
    monitors = (_render(call, monitor) for monitor in call.store.monitors.values())
    return collection(call, "tm:ltm:monitor:http:httpcollectionstate", _BASE, monitors)


def _show(call: Call, segment: str) -> Json:
    return single(call, _render(call, _find(call, segment)))


def create(call: Call) -> Json:
    """Make the monitor that the body describes. Raises ApiError 400, 409."""
    path = names.full_path(str(call.body.get("name", "")), str(call.body.get("partition", "Common")))
    partition = names.split(path)[0]
    if partition not in call.store.partitions:
        raise no_folder(f"Monitor ({path})")
    if path in call.store.monitors:
        raise exists(f"Monitor ({path})", partition)
    monitor = call.store.monitors[path] = Monitor(path)
    _set(call, monitor)
    return _render(call, monitor)


def _modify(call: Call, segment: str) -> Json:
    monitor = _find(call, segment)
    _set(call, monitor)
    return _render(call, monitor)


def _set(call: Call, monitor: Monitor) -> None:
    wanted = settable(call.body, _KNOWN)
    for name in ("interval", "timeout"):
        try:
            seconds = float(wanted.pop(name, getattr(monitor, name)))
        except (TypeError, ValueError):
            seconds = 0
        if not seconds > 0:
            raise invalid_value(name, call.body.get(name))
        setattr(monitor, name, seconds)
    monitor.send = str(wanted.pop("send", monitor.send))
    monitor.recv = str(wanted.pop("recv", monitor.recv) or "")
    try:
        re.compile(monitor.recv)
    except re.error as error:
        raise invalid_value("recv", monitor.recv) from error
    monitor.extra.update(wanted)
    monitor.generation = call.store.next_generation()


def _delete(call: Call, segment: str) -> None:
    monitor = _find(call, segment)
    for pool in call.store.pools.values():
        if any(monitor.path in pool.monitors_of(member) for member in pool.members.values()) or monitor.path in (
            pool.monitor.split(" and ")
        ):
            raise config_error(400, f"01070083:3: Monitor {monitor.path} is in use.")
    del call.store.monitors[monitor.path]
    call.store.next_generation()
