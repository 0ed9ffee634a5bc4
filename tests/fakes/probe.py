"""A network in memory, behind the port Probe.

probe = FakeProbe()
probe.listens("10.0.0.5", 80, answers={"/health": (200, "OK")})     a host that answers ICMP and has port 80 open
probe.pings.add("10.0.0.6")                                         a host that answers ICMP alone
probe.fail("icmp", Rejected("network", "IcmpNotPermitted", "..."))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmscaler.ports.errors import OutsideError


class FakeProbe:
    """Implements vmscaler.ports.probe.Probe. `calls` holds (method, address)."""

    def __init__(self) -> None:
        self.pings: set[str] = set()
        self.open: dict[tuple[str, int], Mapping[str, tuple[int, str]]] = {}
        self.calls: list[tuple[str, str]] = []
        self._failures: dict[str, OutsideError] = {}

    def listens(self, address: str, port: int, *, answers: Mapping[str, tuple[int, str]] | None = None) -> None:
        """A service; paths that are not in `answers` are 404."""
        self.pings.add(address)
        self.open[(address, port)] = answers or {}

    def gone(self, address: str) -> None:
        """Nobody is there any more."""
        self.pings.discard(address)
        for key in [key for key in self.open if key[0] == address]:
            del self.open[key]

    def fail(self, method: str, error: OutsideError) -> None:
        """Let `tcp` or `icmp` raise until `heal`."""
        self._failures[method] = error

    def heal(self) -> None:
        """No failures any more."""
        self._failures.clear()

    async def tcp(self, address: str, ports: Sequence[int], timeout: float) -> int | None:
        self._called("tcp", address)
        return next((port for port in ports if (address, port) in self.open), None)

    async def icmp(self, address: str, timeout: float) -> bool:
        self._called("icmp", address)
        return address in self.pings

    async def http(self, address: str, port: int, path: str, timeout: float) -> tuple[int, str]:
        self.calls.append(("http", address))
        if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
            return 0, "the path must begin with '/' and be percent-encoded"
        service = self.open.get((address, port))
        if service is None:
            return 0, "connection refused"
        return service.get(path, (404, "Not Found"))

    def _called(self, method: str, address: str) -> None:
        self.calls.append((method, address))
        if method in self._failures:
            raise self._failures[method]
