"""From "go and look" to a condition. Called by the reconciles of Site, VmTemplate and AutoscalingPolicy.

True: it is so. False: it is wrong, and the reason says what to do. Unknown: it cannot be seen, and nothing follows from it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from vmscaler.api.meta import Condition, ConditionStatus, Resource
from vmscaler.decide.addresses import Refusal
from vmscaler.decide.conditions import set_condition
from vmscaler.ports.errors import OutsideError, Rejected, Retryable

T = TypeVar("T")


@dataclass(frozen=True)
class Seen(Generic[T]):
    """What a look found, and the words for the condition."""

    value: T
    reason: str
    message: str


def refuse(refusal: Refusal) -> Rejected:
    """A pure decision's refusal as an error."""
    return Rejected("vmscaler", refusal.reason, refusal.message)


def status_of(error: OutsideError) -> ConditionStatus:
    """Unknown for what cannot be seen now, False for what is wrong until something changes."""
    return ConditionStatus.UNKNOWN if isinstance(error, Retryable) else ConditionStatus.FALSE


@dataclass
class Looks:
    """Collects the conditions of one reconcile, and how soon to look again."""

    now: datetime
    generation: int | None
    conditions: list[Condition]
    retry_after: float | None = None

    @classmethod
    def of(cls, obj: Resource[Any, Any], now: datetime) -> Looks:
        """Begins with the conditions that the object's status has."""
        return cls(now=now, generation=obj.metadata.generation, conditions=list(obj.status.conditions))

    async def look(self, type_: str, what: Awaitable[Seen[T]]) -> T | None:
        """Await it; set the condition; None where it is wrong or cannot be seen."""
        try:
            seen = await what
        except OutsideError as error:
            self.put(type_, status_of(error), error.reason, error.message)
            if isinstance(error, Retryable):
                self.again(error.after)
            return None
        self.put(type_, ConditionStatus.TRUE, seen.reason, seen.message)
        return seen.value

    def put(self, type_: str, status: ConditionStatus, reason: str, message: str) -> None:
        """Set a condition."""
        self.conditions = set_condition(self.conditions, type_, status, reason, message, now=self.now, generation=self.generation)

    def again(self, after: float) -> None:
        """Look again after so many seconds, at the latest."""
        self.retry_after = after if self.retry_after is None else min(self.retry_after, after)
