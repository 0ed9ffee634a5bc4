"""The part's configuration (documented in `lab.bigip`) as settings and a first store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import members, monitors, pools, virtuals
from .errors import ApiError
from .model import Monitor, Store
from .names import BadNameError, full_path
from .routing import Call

Json = dict[str, Any]


class ConfigError(ValueError):
    """The configuration file is wrong; the message says where."""


@dataclass(frozen=True)
class Settings:
    """What the device is told at its start. `certificate` and `key` are PEM; `token_timeout` in seconds."""

    certificate: str
    key: str
    users: dict[str, str]
    address: str = "127.0.0.1"
    port: int = 0
    control_port: int = 0
    hostname: str = "bigip.lab.example"
    version: str = "16.1.4"
    token_timeout: int = 1200
    device_group: str | None = None
    peer: str | None = None
    trailing_space: bool = False
    store: Store = field(default_factory=Store)


def load(config: Json) -> Settings:
    """Check and build. Raises ConfigError."""
    try:
        return Settings(
            certificate=config["certificate"],
            key=config["key"],
            users={user["name"]: user["password"] for user in config["users"]},
            address=config.get("address", "127.0.0.1"),
            port=int(config.get("port", 0)),
            control_port=int(config.get("controlPort", 0)),
            hostname=config.get("hostname", "bigip.lab.example"),
            version=config.get("version", "16.1.4"),
            token_timeout=int(config.get("tokenTimeout", 1200)),
            device_group=config.get("deviceGroup"),
            peer=config.get("peer"),
            trailing_space=bool(config.get("monitorTrailingSpace", False)),
            store=_store(config),
        )
    except KeyError as error:
        raise ConfigError(f"missing in the configuration: {error}") from error
    except (ApiError, BadNameError) as error:
        raise ConfigError(str(error)) from error


def _store(config: Json) -> Store:
    store = Store(partitions=frozenset({"Common", *config.get("partitions", [])}))
    store.monitors["/Common/http"] = Monitor("/Common/http")
    for given in config.get("monitors", []):
        monitors.create(Call(store, body=_monitor(given)))
    for given in config.get("pools", []):
        # The lab's own pools cut what is forced offline: a drain that was given up shows at once. The device's default is "none".
        body = {"serviceDownAction": "reset", **{key: value for key, value in given.items() if key != "members"}}
        pools.create(Call(store, body=body))
        pool = store.pools[full_path(given["name"])]
        for member in given.get("members", []):
            call = Call(store)
            members.add(call, pool, {"partition": "Common", **(member if isinstance(member, dict) else {"name": member})})
    for given in config.get("virtualServers", []):
        virtuals.create(Call(store, body=given))
    return store


def _monitor(given: Json) -> Json:
    """`path` is short for a GET of that path which must answer 200."""
    body = {key: value for key, value in given.items() if key != "path"}
    if "path" in given:
        path = str(given["path"])
        if not path.startswith("/") or any(ord(letter) <= 32 for letter in path):
            raise ConfigError(f"a monitor's path is an absolute path: {path!r}")
        body.setdefault("send", f"GET {path} HTTP/1.1\\r\\nHost: monitor\\r\\nConnection: close\\r\\n\\r\\n")
        body.setdefault("recv", r"^HTTP/1\.[01] 200")
    return body
