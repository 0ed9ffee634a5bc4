"""The claim: a chain of small pure checks, each of which may answer no with a reason and a message.

Called by flows/claim.py with everything it has just read. The webhook is only a wake-up: what counts is the present state.
`None` for something that could not be read means "cannot be seen", and that is always a no, never a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, BuildRef, ClaimStatus, Decision, Mode
from vmscaler.api.conditions import (
    ADDRESSES_RESOLVED,
    GRANTED,
    PROVISIONED_CONDITIONS,
    RESOLVED_CONDITIONS,
    ROUTE_READY,
    RULES_READY,
    TARGETS_READY,
    TEMPLATE_RESOLVED,
)
from vmscaler.api.duration import human
from vmscaler.api.meta import ConditionStatus
from vmscaler.decide.conditions import find

DECISIONS_KEPT = 20
FIRST_AT_LEAST = timedelta(seconds=1)
LONGEST_AT_LEAST = timedelta(minutes=1)


FILES_NOT_AS_THEY_SHOULD = frozenset({"CheckFailed", "NotAccessible", "StyleNotSupported"})
"""Why a monitoring host's files cannot be edited now: mostly somebody's slip in them. What is loaded goes on."""


@dataclass(frozen=True)
class ClaimFacts:
    """What a claim is decided on."""

    deleting: bool
    mode: Mode
    ready: bool
    not_ready_because: str
    scale_out_step: int
    max_instances: int
    claim: ClaimStatus
    build: BuildRef
    current_job: str | None
    current_generation: str | None
    alert_firing: bool | None
    alert_unseen_because: str
    baseline: int | None
    pool_unseen_because: str
    ours: int
    tenant_cap_left: int
    now: datetime
    vcenter_unseen_because: str = ""


@dataclass(frozen=True)
class Verdict:
    """Yes or no, with a reason (CamelCase) and a message, used unchanged wherever it shows."""

    accepted: bool
    reason: str
    message: str


Check = Callable[[ClaimFacts], Verdict | None]


def no(reason: str, message: str) -> Verdict:
    """A refusal."""
    return Verdict(False, reason, message)


def not_deleting(f: ClaimFacts) -> Verdict | None:
    """A policy that is being deleted takes no new claim."""
    return no("Deleting", "the policy is being deleted") if f.deleting else None


def current_job(f: ClaimFacts) -> Verdict | None:
    """Builds of a job that was made anew count from 1 again; an old one's build must not be taken for a new one's. A copy is not the job."""
    if f.current_job is not None and f.build.job != f.current_job:
        return no("OtherJob", f"the build is of job {f.build.job}, this policy's job is {f.current_job}")
    if f.current_generation is not None and f.build.generation != f.current_generation:
        return no("StaleJob", f"the build is of generation {f.build.generation} of the job, the present one is {f.current_generation}")
    return None


def switched_on(f: ClaimFacts) -> Verdict | None:
    """Mode Off answers no to everything."""
    return no("ModeOff", "mode is Off: set spec.mode to Active to scale") if f.mode == Mode.OFF else None


def step_supported(f: ClaimFacts) -> Verdict | None:
    """One VM at a time, for now."""
    if f.scale_out_step > 1:
        return no("StepNotSupported", f"scaleOutStep {f.scale_out_step} is not supported yet: set it to 1")
    return None


def policy_ready(f: ClaimFacts) -> Verdict | None:
    """What the policy names must be there."""
    return None if f.ready else no("PolicyNotReady", f.not_ready_because)


def nothing_active(f: ClaimFacts) -> Verdict | None:
    """One scaling at a time."""
    active = f.claim.active
    if active is None:
        return None
    return no(
        "AlreadyRunning", f"{active.event} has run for {human(f.now - active.since)} (build {active.build.number} of {active.build.job})"
    )


def cooled_down(f: ClaimFacts) -> Verdict | None:
    """Cooldown counts from readiness; after a failure a back-off stands in its place."""
    until = f.claim.cooldown_until
    if until is None or until <= f.now:
        return None
    if f.claim.cooldown_reason == "Failure":
        return no("BackingOff", f"{f.claim.last_event} failed ({f.claim.failures} in a row): another try in {human(until - f.now)}")
    return no("Cooldown", f"the last scaling was {f.claim.last_event}: the cooldown ends in {human(until - f.now)}")


def alert_fires(f: ClaimFacts) -> Verdict | None:
    """A hook says nothing: the alert must be seen firing in Alertmanager now."""
    if f.alert_firing is None:
        return no("AlertUnseen", f"Alertmanager cannot be asked, so nothing is done: {f.alert_unseen_because}")
    return None if f.alert_firing else no("AlertNotFiring", "Alertmanager shows no firing alert for this policy: the demand is gone")


def pool_seen(f: ClaimFacts) -> Verdict | None:
    """Pool unreadable: hold."""
    return no("PoolUnseen", f"the pool cannot be read, so nothing is done: {f.pool_unseen_because}") if f.baseline is None else None


def vcenter_seen(f: ClaimFacts) -> Verdict | None:
    """vCenter unreadable: hold. Such a scale-out could only fail, and back off."""
    because = f.vcenter_unseen_because
    return no("InventoryUnseen", f"vCenter cannot be asked, so nothing is done: {because}") if because else None


def below_maximum(f: ClaimFacts) -> Verdict | None:
    """n = enabled baseline members + ours."""
    n = (f.baseline or 0) + f.ours
    if n >= f.max_instances:
        return no("AtMaximum", f"{n} instances serve ({f.baseline} baseline + {f.ours} ours), maxInstances is {f.max_instances}")
    return None


def within_grant(f: ClaimFacts) -> Verdict | None:
    """The tenant's cap counts all of its policies' instances."""
    if f.tenant_cap_left < 1:
        return no("TenantCap", "the Site's grant for this namespace allows no more instances: raise maxInstances in its spec.tenants")
    return None


def acts(f: ClaimFacts) -> Verdict | None:
    """Observe decides and records, but acts not (and eats no cooldown)."""
    if f.mode == Mode.OBSERVE:
        return no("Observing", "mode is Observe: would scale out now; set spec.mode to Active to act")
    return None


# An exhausted range is no check: such a claim goes on to `allocate`, whose failure is an event that people read.
CHAIN: Sequence[Check] = (
    not_deleting,
    current_job,
    switched_on,
    step_supported,
    nothing_active,
    policy_ready,
    cooled_down,
    alert_fires,
    pool_seen,
    below_maximum,
    within_grant,
    acts,
    vcenter_seen,
)
ALERT_SEEN = frozenset({"PoolUnseen", "InventoryUnseen", "AtMaximum", "TenantCap", "Observing", "ScaleOut"})
"""Answers that come after `alert_fires`: whoever got one of these had a firing alert."""


def decide(facts: ClaimFacts, chain: Sequence[Check] = CHAIN) -> Verdict:
    """The first no of the chain, else yes."""
    for check in chain:
        verdict = check(facts)
        if verdict is not None:
            return verdict
    n = (facts.baseline or 0) + facts.ours
    return Verdict(True, "ScaleOut", f"{n} instances serve and the alert fires: adding one, {n + 1} of at most {facts.max_instances}")


def ready_to_act(policy: AutoscalingPolicy) -> tuple[bool, str]:
    """Ready enough to act: all that this very spec names was seen to be there and granted, and its job made.

    The pool is looked at by the claim itself, so that it may have been unseen a moment ago; a monitoring host that is down, or whose files
    somebody broke, does not stop a build that is here: the alert is seen to fire.
    """
    if policy.status.provisioned is None or policy.status.resolved is None:
        return False, "the policy has not been provisioned yet: look at its conditions"
    for type_ in (*RESOLVED_CONDITIONS, *(t for t in PROVISIONED_CONDITIONS if t != TARGETS_READY)):
        condition = find(policy.status.conditions, type_)
        if condition is None:
            return False, f"{type_}: not looked at yet"
        if type_ in RESOLVED_CONDITIONS and condition.observed_generation != policy.metadata.generation:
            return False, f"{type_}: the spec has changed and was not looked at yet"
        if type_ in (ROUTE_READY, RULES_READY) and condition.reason in FILES_NOT_AS_THEY_SHOULD:
            continue
        if condition.status == ConditionStatus.FALSE:
            return False, f"{type_}: {condition.message}"
        if condition.status == ConditionStatus.UNKNOWN and type_ in (GRANTED, TEMPLATE_RESOLVED, ADDRESSES_RESOLVED):
            return False, f"{type_}: {condition.message}"
    return True, ""


def facts_of(
    policy: AutoscalingPolicy,
    *,
    build: BuildRef,
    alert_firing: bool | None,
    alert_unseen_because: str = "",
    baseline: int | None,
    pool_unseen_because: str = "",
    ours: int,
    tenant_cap_left: int,
    now: datetime,
) -> ClaimFacts:
    """What the policy itself says, with what was seen elsewhere."""
    ready, why = ready_to_act(policy)
    provisioned = policy.status.provisioned
    return ClaimFacts(
        deleting=policy.deleting,
        mode=policy.spec.mode,
        ready=ready,
        not_ready_because=why,
        scale_out_step=policy.spec.scaling.scale_out_step,
        max_instances=policy.spec.scaling.max_instances,
        claim=policy.status.claim or ClaimStatus(),
        build=build,
        current_job=provisioned.job if provisioned else None,
        current_generation=provisioned.job_generation if provisioned else None,
        alert_firing=alert_firing,
        alert_unseen_because=alert_unseen_because,
        baseline=baseline,
        pool_unseen_because=pool_unseen_because,
        ours=ours,
        tenant_cap_left=tenant_cap_left,
        now=now,
    )


def record(decisions: Sequence[Decision], verdict: Verdict, *, build: BuildRef, event: str | None, now: datetime) -> list[Decision] | None:
    """The decisions with this one added, newest first, bounded; None where nothing is to be written.

    A repeated no with the same reason is not written again within a minute, so that a storm of hooks writes nothing;
    after that its count and time move on.
    """
    last = decisions[0] if decisions else None
    if last is not None and not verdict.accepted and not last.accepted and last.reason == verdict.reason:
        if now - last.last_time < timedelta(minutes=1):
            return None
        bumped = last.model_copy(update={"count": last.count + 1, "last_time": now, "message": verdict.message, "build": build})
        return [bumped, *decisions[1:]]
    new = Decision(
        time=now, last_time=now, accepted=verdict.accepted, reason=verdict.reason, message=verdict.message, build=build, event=event
    )
    return [new, *decisions][:DECISIONS_KEPT]


def after_success(claim: ClaimStatus, *, event: str, cooldown: timedelta, now: datetime) -> ClaimStatus:
    """The claim's fields once an event succeeded: the cooldown counts from now, the moment of readiness."""
    return claim.model_copy(
        update={"active": None, "cooldown_until": now + cooldown, "cooldown_reason": "Success", "failures": 0, "last_event": event}
    )


def after_failure(claim: ClaimStatus, *, event: str, cooldown: timedelta, now: datetime) -> ClaimStatus:
    """The claim's fields once an event failed: a back-off that doubles from a tenth of the cooldown up to all of it.

    It begins at a second and goes up to a minute at least, so that a cooldown of zero makes no loop of launch, fail, launch.
    """
    failures = claim.failures + 1
    wait = min(max(cooldown, LONGEST_AT_LEAST), max(cooldown / 10, FIRST_AT_LEAST) * 2 ** min(failures - 1, 10))
    return claim.model_copy(
        update={"active": None, "cooldown_until": now + wait, "cooldown_reason": "Failure", "failures": failures, "last_event": event}
    )
