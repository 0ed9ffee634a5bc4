"""Asking an address whether somebody is there, and a VM whether it is well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Probe(Protocol):
    """Network probes. Silence is an answer; Retryable(ProbeFailed) says that this host could not ask, from which nothing follows."""

    async def tcp(self, address: str, ports: Sequence[int], timeout: float) -> int | None:
        """The first of these ports that accepts a connection within `timeout` seconds, else None. Raises Retryable(ProbeFailed)."""
        ...

    async def icmp(self, address: str, timeout: float) -> bool:
        """Whether an echo was answered within `timeout` seconds. Raises Rejected(IcmpNotPermitted), Retryable(ProbeFailed)."""
        ...

    async def http(self, address: str, port: int, path: str, timeout: float) -> tuple[int, str]:
        """GET http://address:port/path without following redirects: (status, reason); (0, what went wrong) without an answer."""
        ...
