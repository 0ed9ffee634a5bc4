"""Asking an address whether somebody is there, and a VM whether it is well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Probe(Protocol):
    """Network probes. They never raise for a silent address."""

    async def tcp(self, address: str, ports: Sequence[int], timeout: float) -> int | None:
        """The first of these ports that accepts or refuses with data (a connection is made), else None. Seconds."""
        ...

    async def icmp(self, address: str, timeout: float) -> bool:
        """Whether an echo was answered. Raises Rejected(IcmpNotPermitted) where the process may not send ICMP."""
        ...

    async def http(self, address: str, port: int, path: str, timeout: float) -> tuple[int, str]:
        """GET http://address:port/path without following redirects: (status, reason); (0, what went wrong) without an answer."""
        ...
