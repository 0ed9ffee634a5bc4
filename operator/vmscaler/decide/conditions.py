"""metav1 conditions as values: set one, sum them up. Called by the flows before each status write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from vmscaler.api.conditions import READY
from vmscaler.api.meta import Condition, ConditionStatus


def set_condition(
    conditions: Sequence[Condition],
    type_: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    *,
    now: datetime,
    generation: int | None = None,
) -> list[Condition]:
    """The list with this condition set; lastTransitionTime moves only when the status changes. Sorted as first seen."""
    old = find(conditions, type_)
    new = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message[:2048],
        last_transition_time=old.last_transition_time if old is not None and old.status == status else now,
        observed_generation=generation,
    )
    if old is None:
        return [*conditions, new]
    return [new if condition.type == type_ else condition for condition in conditions]


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of this type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether the condition is there and True."""
    condition = find(conditions, type_)
    return condition is not None and condition.status == ConditionStatus.TRUE


def summarise(conditions: Sequence[Condition], of: Sequence[str], *, now: datetime, generation: int | None) -> list[Condition]:
    """Add the summary `Ready`: the first False of `of`, else the first Unknown or absent, else True.

    The reason and message of what is wrong are used unchanged, with the condition's type before the message.
    """
    for wanted in (ConditionStatus.FALSE, ConditionStatus.UNKNOWN):
        for type_ in of:
            condition = find(conditions, type_)
            if condition is not None and condition.status == wanted:
                return set_condition(
                    conditions, READY, wanted, condition.reason, f"{type_}: {condition.message}", now=now, generation=generation
                )
    for type_ in of:
        if find(conditions, type_) is None:
            return set_condition(
                conditions, READY, ConditionStatus.UNKNOWN, "Pending", f"{type_}: not looked at yet", now=now, generation=generation
            )
    return set_condition(conditions, READY, ConditionStatus.TRUE, "AllReady", "Everything is in place", now=now, generation=generation)
