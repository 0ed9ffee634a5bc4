"""Names on a BIG-IP: full paths, URL segments, route domains (facts/bigip.md "Naming")."""

from __future__ import annotations

from urllib.parse import quote

from vmscaler.ports.bigip import SYSTEM, Member
from vmscaler.ports.errors import Rejected


def segment(path: str) -> str:
    """A full path as one URL segment: `/Common/10.0.0.6%1:80` -> `~Common~10.0.0.6%251:80`. Raises Rejected(NotAName).

    `~` stands for `/` there and cannot be escaped, so a name that holds one would mean another object.
    """
    first, *parts = path.split("/")
    if first or len(parts) < 2 or not all(map(_is_part, parts)):
        raise Rejected(SYSTEM, "NotAName", f"{path!r} cannot be a full path on a BIG-IP: write it as /Partition/name, without '~'")
    return "".join(f"~{quote(part, safe=':')}" for part in parts)


def _is_part(text: str) -> bool:
    return text not in ("", ".", "..") and text.isprintable() and "~" not in text


def partition(path: str) -> str:
    """The partition of a full path."""
    return path.split("/")[1]


def below(path: str, name: str) -> str:
    """The full path of a member or node called `name` that belongs to the pool `path`: in the pool's partition, without its folder."""
    return f"/{partition(path)}/{name}"


def bare(address: str) -> str:
    """An address, or a member's name, without its route domain: `10.0.0.6%1:80` -> `10.0.0.6:80`."""
    before, percent, after = address.partition("%")
    return before + after.lstrip("0123456789") if percent else before


def route_domain(text: str) -> str:
    """`%1` of `10.0.0.6%1:80`, or of `10.0.0.6%1`; empty where there is none."""
    _, percent, after = text.partition("%")
    return percent + after[: len(after) - len(after.lstrip("0123456789"))]


def shared_route_domain(members: tuple[Member, ...]) -> str:
    """The route domain of a pool: the one that all its members share, so that a new member is reached as they are."""
    seen = {route_domain(member.name) for member in members}
    return seen.pop() if len(seen) == 1 else ""


def split_port(name: str) -> tuple[str, int]:
    """`10.0.0.6:80` or, for IPv6, `2001:db8::6.80` (all of it: `any6.0`); port `any` is 0. Raises ValueError."""
    host, found, port = name.rpartition("." if name.count(":") > 1 or name.startswith("any6") else ":")
    if not found:
        raise ValueError(f"no port in {name!r}")
    return host, 0 if port == "any" else int(port)
