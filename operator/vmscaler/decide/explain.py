"""What people are shown: events as a table, a policy's last answers to claims as sentences. Called by entry/cli.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, Decision, Mode
from vmscaler.api.duration import human
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.decide.conditions import find


def state_lines(policy: AutoscalingPolicy, now: datetime) -> list[str]:
    """Where the policy stands, one sentence a line."""
    status, claim = policy.status, policy.status.claim
    lines = []
    ready = find(status.conditions, c.READY)
    lines.append(f"mode {policy.spec.mode.value}, " + (f"Ready is {ready.status.value}: {ready.message}" if ready else "not looked at yet"))
    if policy.spec.mode == Mode.OFF:
        lines.append("every claim is refused while mode is Off")
    if status.instances is not None:
        instances = status.instances
        lines.append(
            f"{instances.total} instances serve ({instances.baseline} baseline + {instances.ours} ours), at most {policy.spec.scaling.max_instances}"
        )
    if claim is None:
        lines.append("no claim was ever made")
        return lines
    if claim.active is not None:
        lines.append(f"{claim.active.event} has run for {human(now - claim.active.since)} (build {claim.active.build.number})")
    if claim.failures:
        lines.append(f"{claim.failures} scale-out{'s' if claim.failures > 1 else ''} in a row failed, last {claim.last_event}")
    if claim.cooldown_until is not None and claim.cooldown_until > now:
        kind = "backing off after a failure" if claim.cooldown_reason == "Failure" else "cooling down"
        lines.append(f"{kind} for another {human(claim.cooldown_until - now)} (since {claim.last_event})")
    return lines


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
