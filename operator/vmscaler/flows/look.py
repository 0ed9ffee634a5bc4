"""From "go and look" to a condition: the one place where errors of the outside become conditions.

True: it is so. False: it is wrong, and the reason says what to do. Unknown: it cannot be seen, and nothing follows from it.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from vmscaler.api.meta import Condition, ConditionStatus
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


@dataclass
class Looks:
    """Collects the conditions of one reconcile, and how soon to look again."""

    now: datetime
    generation: int | None
    conditions: list[Condition]
    retry_after: float | None = None
    errors: list[OutsideError] = field(default_factory=list)

    async def look(self, type_: str, what: Awaitable[Seen[T]]) -> T | None:
        """Await it; set the condition; None where it is wrong or cannot be seen."""
        try:
            seen = await what
        except OutsideError as error:
            unseen = isinstance(error, Retryable)
            self.put(type_, ConditionStatus.UNKNOWN if unseen else ConditionStatus.FALSE, error.reason, error.message)
            self.errors.append(error)
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
