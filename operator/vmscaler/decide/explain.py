"""What people are shown as tables: events, their actions, a policy's last answers to claims. Called by entry/cli.py.

Where a policy stands now is in decide/standing.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from vmscaler.api.autoscalingpolicy import Decision
from vmscaler.api.duration import human
from vmscaler.api.scaleevent import ScaleOutEvent


def decision_rows(decisions: Sequence[Decision], now: datetime) -> list[tuple[str, str, str, str, str]]:
    """(age, answer, reason, build, message) newest first."""
    rows = []
    for decision in decisions:
        times = f" ({decision.count} times)" if decision.count > 1 else ""
        rows.append(
            (
                f"{human(now - decision.last_time)} ago",
                "yes" if decision.accepted else "no",
                decision.reason,
                str(decision.build.number),
                decision.message + times,
            )
        )
    return rows


def event_rows(events: Sequence[ScaleOutEvent], now: datetime) -> list[tuple[str, ...]]:
    """(namespace, event, phase, stage, from, to, build, duration, age, reason) newest first."""
    ordered = sorted(events, key=lambda event: event.status.started_at or now, reverse=True)
    return [
        (
            event.metadata.namespace or "",
            event.metadata.name,
            event.status.phase.value,
            event.status.failed_stage or event.status.stage,
            f"{event.spec.from_instances} -> {event.spec.to_instances}",
            str(event.spec.build.number),
            event.status.duration or "",
            f"{human(now - event.status.started_at)} ago" if event.status.started_at else "",
            f"{event.status.reason}: {event.status.message}" if event.status.reason else event.spec.cause.alert,
        )
        for event in ordered
    ]


def when(event: ScaleOutEvent) -> str:
    """From when to when, in UTC to the second: what the logs of the other systems are searched by."""
    started, finished = event.status.started_at, event.status.finished_at
    if started is None:
        return "not begun"
    return f"{started.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z" + (f" to {finished.astimezone(UTC):%H:%M:%S}Z" if finished else ", runs")


def action_rows(event: ScaleOutEvent) -> list[tuple[str, str, str, str, str]]:
    """(action, when it began in UTC, state, duration, what came of it) in order."""
    rows = []
    for action in event.status.actions:
        details = [
            f"{label} {value}"
            for label, value in (
                ("address", action.address),
                ("vm", action.vm_id),
                ("ip", action.vm_ip),
                ("pool", action.pool),
                ("member", action.member),
            )
            if value
        ]
        said = action.message + (f" [{', '.join(details)}]" if details else "")
        began = f"{action.started_at.astimezone(UTC):%H:%M:%S}" if action.started_at else ""
        rows.append((action.name, began, action.state.value, action.duration or "", said))
    return rows
