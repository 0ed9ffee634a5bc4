"""Which function answers which path, for live requests and for the queued commands of a transaction alike.

A path is its decoded segments below /mgmt: each is decoded once (`%25` -> `%`), and a trailing slash says nothing
(f5-sdk writes it, bigrest does not). Literal segments win over placeholders, so `members/stats` is not a member.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

from .errors import Json, config_error
from .model import Store

ANY = "*"


@dataclass(frozen=True)
class Call:
    """One request as a resource sees it. A writer changes `store`, which is a copy that may yet be thrown away."""

    store: Store
    version: str = "16.1.4"
    query: dict[str, str] = field(default_factory=dict)
    body: Json = field(default_factory=dict)
    trailing_space: bool = False

    def link(self, path: str, *, keep_query: bool = False) -> str:
        """A link as the device writes it: to https://localhost whatever the client called it, with `ver`."""
        asked = [f"{key}={value}" for key, value in self.query.items() if key != "ver"] if keep_query else []
        return f"https://localhost/mgmt{path}?{'&'.join([*asked, f'ver={self.version}'])}"


Handler = Callable[..., Json | None]


class Router:
    """Handlers by method and pattern, as in `add("GET", "tm/ltm/pool/*", show_pool)`; a `*` becomes an argument."""

    def __init__(self) -> None:
        self._table: dict[tuple[str, ...], dict[str, Handler]] = {}

    def add(self, method: str, pattern: str, handler: Handler) -> None:
        """Register `handler(call, *decoded segments that stood for "*")`."""
        self._table.setdefault(tuple(pattern.split("/")), {})[method] = handler

    def find(self, method: str, path: tuple[str, ...]) -> tuple[Handler, list[str]] | None:
        """The handler and its arguments; None where the path is not served. Raises ApiError 405 for a wrong method."""
        best: tuple[str, ...] | None = None
        for pattern in self._table:
            if len(pattern) != len(path) or any(p not in (ANY, s) for p, s in zip(pattern, path, strict=True)):
                continue
            if best is None or pattern.count(ANY) < best.count(ANY):
                best = pattern
        if best is None:
            return None
        handler = self._table[best].get(method)
        if handler is None:
            raise config_error(405, f"The HTTP method {method} is not supported on this URI.")
        return handler, [segment for p, segment in zip(best, path, strict=True) if p == ANY]


def segments(raw_path: str) -> tuple[str, ...]:
    """`/mgmt/tm/ltm/pool/~Common~web/` -> ("tm", "ltm", "pool", "~Common~web"); a path outside /mgmt gives ()."""
    parts = [unquote(part) for part in raw_path.split("/") if part]
    return tuple(parts[1:]) if parts and parts[0] == "mgmt" else ()
