"""Where a policy stands and why nothing happens, or what does: what `vmscaler explain` says beside the last answers. Pure.

Called by entry/cli.py with what the API server holds. What a claim would be answered now is asked of the claim's own chain
(decide/claim.py): with what only a claim looks at, the alert, the pool and vCenter, taken as if it called for a VM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import ActiveEvent, AutoscalingPolicy, BuildRef, ClaimStatus, Instances, Mode
from vmscaler.api.duration import human
from vmscaler.api.meta import Condition, ConditionStatus
from vmscaler.api.policystatus import Provisioned
from vmscaler.api.scaleevent import ActionState, EventPhase, ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.decide import claim as chain
from vmscaler.decide.conditions import find
from vmscaler.decide.heartbeat import Heartbeat
from vmscaler.decide.pipeline import stage_limits

_MODES = {
    Mode.ACTIVE: "Active",
    Mode.OBSERVE: "Observe: decides and records, acts not",
    Mode.OFF: "Off: the job is disabled, there are no rules and no route; the instances stay",
}


@dataclass(frozen=True)
class Seen:
    """What was read. `event` is the active one, else the last; None for what is not there or may not be read."""

    policy: AutoscalingPolicy
    now: datetime
    event: ScaleOutEvent | None = None
    instances: Sequence[VmInstance] = ()
    site: Site | None = None
    operator: Heartbeat | None = None

    @property
    def claim(self) -> ClaimStatus:
        """The claim's fields; empty ones before the first."""
        return self.policy.status.claim or ClaimStatus()


def refusal(seen: Seen) -> chain.Verdict | None:
    """The no that a claim would get now; None where it would go on to ask Alertmanager, the BIG-IP and vCenter."""
    served = seen.policy.status.instances or Instances()
    provisioned = seen.policy.status.provisioned or Provisioned()
    facts = chain.facts_of(
        seen.policy,
        build=BuildRef(job=provisioned.job or "", generation=provisioned.job_generation or "", number=0),
        alert_firing=True,
        baseline=served.baseline,
        ours=max(served.ours, len(seen.instances)),
        tenant_cap_left=1,
        now=seen.now,
    )
    verdict = chain.decide(facts)
    return None if verdict.accepted else verdict


def headline(seen: Seen) -> str:
    """The answer in one sentence."""
    policy, active = seen.policy, seen.claim.active
    ready = find(policy.status.conditions, c.READY)
    if seen.operator is not None and not seen.operator.runs(seen.now):
        return "the operator does not run: nothing is decided and nothing is done"
    if policy.deleting:
        return f"it is being deleted: {ready.message if ready else 'its removal has not begun'}"
    if active is not None:
        return _running(seen, active)
    if ready is None:
        return "the operator has not looked at it yet"
    if no := refusal(seen):
        return f"no VM would be added now: {no.reason}: {no.message}"
    if names := [name for name, _, _ in wrong(seen)]:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"nothing would refuse a claim, but not all is True: {', '.join(names[:3])}{more}"
    if seen.claim.failures and seen.event is not None:
        return f"nothing would refuse a claim, but the last scale-out failed: {_over(seen.event, seen.now)}"
    return "nothing is wrong here: a VM is added when the alert fires and the job's build claims it"


def _running(seen: Seen, active: ActiveEvent) -> str:
    event = seen.event
    if event is None or event.metadata.name != active.event:
        return f"{active.event} was claimed {human(seen.now - active.since)} ago and its event is not there yet"
    status = event.status
    if status.phase == EventPhase.ROLLING_BACK:
        began = status.rollback.started_at if status.rollback else active.since
        return f"{active.event} is being rolled back for {human(seen.now - began)}: {status.failed_stage} failed: {status.reason}: {status.message}"
    if status.phase != EventPhase.RUNNING:
        return f"{active.event} has {status.phase.value}; the policy is freed for the next claim at the next look"
    stage, since = stage_of(event, active.since)
    return f"a scale-out runs: {active.event}, {stage} for {human(seen.now - since)}, claimed {human(seen.now - active.since)} ago"


def stage_of(event: ScaleOutEvent, claimed: datetime) -> tuple[str, datetime]:
    """What it does, as "stage verify (health)", and since when."""
    began = next((action for action in reversed(event.status.actions) if action.state == ActionState.STARTED), None)
    if began is not None:
        return f"stage {event.status.stage} ({began.name})", began.started_at
    ended = [action.finished_at for action in event.status.actions if action.finished_at]
    return f"stage {event.status.stage}", max(ended, default=event.status.started_at or claimed)


def rows(seen: Seen) -> list[tuple[str, str]]:
    """(label, text): how it stands, one line each."""
    policy, state, now = seen.policy, seen.claim, seen.now
    found = [("mode", _MODES[policy.spec.mode])]
    if (n := policy.status.instances) is not None:
        most = policy.spec.scaling.max_instances
        full = ": at the maximum" if n.total >= most else ""
        found.append(("serving", f"{n.total} instances ({n.baseline} baseline + {n.ours} ours), at most {most}{full}"))
    found.append(("alert", _alert(seen)))
    if state.active is not None:
        build = state.active.build
        found.append(("build", f"{build.number} of {build.job} {build.url}".rstrip()))
    if state.failures:
        found.append(
            ("failures", f"{state.failures} scale-out{'s' if state.failures > 1 else ''} in a row failed, last {state.last_event}")
        )
    if state.cooldown_until is not None and state.cooldown_until > now:
        kind = "backing off after the failure of" if state.cooldown_reason == "Failure" else "cooling down after"
        found.append(("cooldown", f"{human(state.cooldown_until - now)} left, {kind} {state.last_event}"))
    if state.active is None and seen.event is not None:
        found.append(("last event", _over(seen.event, now)))
    if seen.operator is not None:
        found.append(("operator", _heart(seen.operator, now)))
    return found


def _alert(seen: Seen) -> str:
    state, now = seen.claim, seen.now
    if state.active is not None:
        cause = state.active.cause
        return f"fired at the claim {human(now - state.active.since)} ago: {cause.alert} {cause.summary}".rstrip()
    last = next((d for d in state.decisions if d.reason == "AlertNotFiring" or d.reason in chain.ALERT_SEEN), None)
    if last is None:
        return "no claim was ever made" if not state.decisions else "no claim came so far as to look"
    said = "did not fire" if last.reason == "AlertNotFiring" else "fired"
    return f"{said} when a claim last looked, {human(now - last.last_time)} ago"


def _over(event: ScaleOutEvent, now: datetime) -> str:
    status = event.status
    ago = f" {human(now - status.finished_at)} ago" if status.finished_at else ""
    failed = f"{status.failed_stage}: {status.reason}: " if status.failed_stage else ""
    return f"{event.metadata.name} {status.phase.value}{ago}, {failed}{status.message}"


def _heart(heart: Heartbeat, now: datetime) -> str:
    ago = "was never renewed" if heart.renewed is None else f"was last renewed {human(now - heart.renewed)} ago"
    if heart.runs(now):
        return f"runs: its Lease {ago} by {heart.holder}"
    return f"does not run: its Lease {ago}{'' if heart.holder else ' and was given back'}; all else here is as it last wrote it"


def _not_true(conditions: Sequence[Condition]) -> list[Condition]:
    """Without the summary, which repeats the first of them."""
    return [condition for condition in conditions if condition.status != ConditionStatus.TRUE and condition.type != c.READY]


def wrong(seen: Seen) -> list[tuple[str, str, str]]:
    """(whose condition, its status and for how long, reason and message) of all that is not True; what was said above is not repeated."""
    found: list[tuple[str, str, str]] = []
    said: dict[str, str] = {}

    def add(whose: str, condition: Condition) -> None:
        name, text = f"{whose}{condition.type}", f"{condition.reason}: {condition.message}"
        first = said.setdefault(text, name)
        if first != name:
            text = f"{condition.reason}: as {first} above"
        found.append((name, f"{condition.status.value} for {human(seen.now - condition.last_transition_time)}", text))

    for condition in _not_true(seen.policy.status.conditions):
        add("", condition)
    if seen.site is not None:
        whose, theirs = f"Site {seen.policy.spec.site_ref.name}: ", seen.site.status.conditions
        held = find(theirs, c.READY) if seen.site.deleting else None  # then it says what the removal waits for
        for condition in [*_not_true(theirs), *([held] if held is not None else [])]:
            add(whose, condition)
    for vmi in seen.instances:
        if (removed := find(vmi.status.conditions, c.REMOVED)) is not None:
            add(f"{vmi.metadata.name}: ", removed)
    return found


def stuck(seen: Seen) -> bool:
    """Whether the stage has run for longer than its build lets it: then there is perhaps no build any more."""
    active, event = seen.claim.active, seen.event
    if active is None or event is None or event.metadata.name != active.event or event.status.phase != EventPhase.RUNNING:
        return False
    limit = getattr(stage_limits(seen.policy.spec.timeouts), event.status.stage, 0)
    return seen.now - stage_of(event, active.since)[1] > timedelta(seconds=limit)
