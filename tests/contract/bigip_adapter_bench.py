"""The product's BIG-IP client against lab BIG-IPs: used by test_port_bigip.py and test_bigip_adapter_*.py."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest
from tests.contract.bigip_bench import PASSWORD, USER, Bigip
from tests.fakes.effects import DirectEffects

from vmscaler.adapters.bigip import BigIpClient
from vmscaler.ports.errors import OutsideError, Retryable

T = TypeVar("T")


class Gate(DirectEffects):
    """Lets writes pass while they are `allowed`, as the operator's Lease does; counts how many are under way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed = True
        self.busy = self.most_busy = 0

    async def write(self, system: str, operation: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        if not self.allowed:
            raise Retryable(system, "NotLeader", "not now")
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            return await super().write(system, operation, target, call)
        finally:
            self.busy -= 1

    @property
    def operations(self) -> list[str]:
        """What was written, in order."""
        return [operation for _, operation, _ in self.calls]


@contextlib.asynccontextmanager
async def client_of(*units: Bigip, effects: DirectEffects | None = None, **options: Any) -> AsyncIterator[BigIpClient]:
    """A client of one lab BIG-IP, or of a pair; `options` as the client's, and `password`."""
    password = options.pop("password", PASSWORD)
    ca = "".join(unit.ca.read_text() for unit in units)
    urls = [unit.record["url"] for unit in units]
    client = BigIpClient(urls, USER, password, "tmos", ca, effects or Gate(), **options)
    try:
        yield client
    finally:
        await client.close()


async def writes(unit: Bigip, *methods: str) -> list[tuple[str, str, int]]:
    """(method, path, status) of what the device was asked to change (of these methods, if any are given)."""
    audit = (await unit.status())["audit"]
    return [(w["method"], w["path"], w["status"]) for w in audit if not methods or w["method"] in methods]


async def raised(call: Awaitable[Any]) -> OutsideError:
    """The error that the call ends with; it holds no password."""
    with pytest.raises(OutsideError) as info:
        await call
    assert PASSWORD not in repr(info.value)
    return info.value
