"""Names of things: `/Common/web` in bodies, `~Common~web` in URLs, members as `ADDRESS[%RD]:PORT` (facts/bigip.md "Naming")."""

from __future__ import annotations

import ipaddress
from urllib.parse import quote

from .errors import ApiError, config_error


class BadNameError(ValueError):
    """A name that is not one of a full path, a member, or a destination."""


def full_path(name: str, partition: str = "Common") -> str:
    """`web` -> `/Common/web`; a full path stays."""
    return name if name.startswith("/") else f"/{partition}/{name}"


def split(path: str) -> tuple[str, str, str]:
    """Partition, sub-path ("" if none) and name of a full path. Raises BadNameError."""
    parts = path.split("/")
    if len(parts) < 3 or parts[0] or not all(parts[1:]):
        raise BadNameError(f"not a full path: {path}")
    return parts[1], "/".join(parts[2:-1]), parts[-1]


def from_url(segment: str) -> str:
    """A decoded URL segment as a full path: `~Common~sub~web` -> `/Common/sub/web`; without tildes, in Common."""
    return segment.replace("~", "/") if segment.startswith("~") else full_path(segment)


def to_url(path: str) -> str:
    """A full path as a URL segment; `%` of a route domain becomes `%25` once."""
    return quote(path.replace("/", "~"), safe="~:!$&'()*+,;=@-._")


def split_member(path: str) -> tuple[str, int]:
    """Node (full path) and port of a member: `/Common/10.0.0.5:80`, and for IPv6 `/Common/2001:db8::5.80`.

    Raises ApiError 400 where there is no port (facts: "HTML Tag-like Content ...")."""
    node, sep, port = path.rpartition("." if path.count(":") > 1 else ":")
    if not sep or not port.isdigit() or not 0 <= int(port) <= 65535:
        raise no_port()
    return node, int(port)


def no_port() -> ApiError:
    """The odd answer to a member name without a port."""
    return config_error(400, "HTML Tag-like Content in the Request URL/Body")


def is_address(text: str) -> bool:
    """Whether `text` is an address, with or without a route domain (`10.0.0.6%1`)."""
    try:
        ipaddress.ip_address(bare_address(text))
    except ValueError:
        return False
    return True


def bare_address(text: str) -> str:
    """The address without its route domain."""
    return text.partition("%")[0]


def split_destination(destination: str) -> tuple[str, int]:
    """Address (no route domain) and port of a virtual server's destination, `/Common/192.0.2.10%1:443`. Raises BadNameError."""
    name = split(full_path(destination))[2]
    host, sep, port = name.rpartition("." if name.count(":") > 1 else ":")
    if not sep or not port.isdigit() or not is_address(host):
        raise BadNameError(f"not a destination: {destination}")
    return bare_address(host), int(port)
