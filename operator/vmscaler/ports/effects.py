"""The seam that every external write passes: for the lease, the caps, the metrics, and for fault injection from hack/."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Effects(Protocol):
    """Carries out one external write.

    `system` is kubernetes | vsphere | bigip | jenkins | monitoring; `operation` a fixed word such as `member.create`;
    `target` the thing's name (no secrets). Raises Retryable when this process may not write (no lease); else what `call` raises.
    """

    async def write(self, system: str, operation: str, target: str, call: Callable[[], Awaitable[T]]) -> T: ...
