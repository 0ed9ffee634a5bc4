"""Policies as they stand at three in the morning, to explain: what `vmscaler explain` is tested with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tests.fakes.policies import instance, policy
from tests.fakes.samples import sample

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import ActiveEvent, BuildRef, Cause, ClaimStatus, Decision, Instances, Mode, Provisioned, Resolved
from vmscaler.api.meta import ConditionStatus, NameRef, ObjectMeta, PolicyRef
from vmscaler.api.scaleevent import Action, ActionState, EventPhase, Rollback, ScaleEventSpec, ScaleEventStatus, ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.decide.conditions import set_condition, summarise
from vmscaler.decide.heartbeat import Heartbeat
from vmscaler.decide.standing import Seen

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
JOB_URL = "https://jenkins.example.org/job/autoscale-acme-web"


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def build(number: int) -> BuildRef:
    return BuildRef(job="autoscale-acme-web", generation="g1", number=number, url=f"{JOB_URL}/{number}/")


def decided(reason: str, seconds: float, message: str, number: int = 1, *, accepted: bool = False) -> Decision:
    return Decision(time=ago(seconds), last_time=ago(seconds), accepted=accepted, reason=reason, message=message, build=build(number))


def idle() -> Seen:
    """All is well, nothing was ever asked for."""
    one = policy()
    one.metadata.generation = one.status.observed_generation = 1
    one.status.provisioned = Provisioned(job="autoscale-acme-web", job_generation="g1")
    one.status.resolved = Resolved(pool="/Common/pool-web")
    one.status.instances = Instances(baseline=2, ours=0, total=2)
    for type_ in (*c.RESOLVED_CONDITIONS, *c.PROVISIONED_CONDITIONS):
        condition(one.status, type_, ConditionStatus.TRUE, "Found", "it is there")
    site = Site.parse(sample("site"))
    for type_ in c.SITE_CONDITIONS:
        condition(site.status, type_, ConditionStatus.TRUE, "LoggedIn", "1.0")
    return Seen(one, NOW, site=site, operator=Heartbeat("operator-1", ago(2), timedelta(seconds=15)))


def condition(status: object, type_: str, is_: ConditionStatus, reason: str, message: str) -> None:
    """Set it on any status, with the summary after it."""
    changed = set_condition(status.conditions, type_, is_, reason, message, now=ago(200), generation=1)  # type: ignore[attr-defined]
    of = c.SITE_CONDITIONS if type_ in c.SITE_CONDITIONS else (*c.RESOLVED_CONDITIONS, *c.PROVISIONED_CONDITIONS)
    status.conditions = changed if type_ == c.REMOVED else summarise(changed, of, now=ago(200), generation=1)  # type: ignore[attr-defined]


def event(name: str = "web-7a38d-2", **status: object) -> ScaleOutEvent:
    spec = ScaleEventSpec(
        policy_ref=PolicyRef(namespace="acme", name="web", uid="uid-web"),
        site_ref=NameRef(name="default"),
        sequence=2,
        from_instances=2,
        to_instances=3,
        cause=Cause(alert="VmscalerHighCpu"),
        build=build(7),
        instances=[f"{name}-1"],
    )
    return ScaleOutEvent(metadata=ObjectMeta(name=name, namespace="acme"), spec=spec, status=ScaleEventStatus(**status))  # type: ignore[arg-type]


def running(stage: str = "verify", action: str = "health", *, for_: float = 12, **status: object) -> Seen:
    seen = idle()
    name = "web-7a38d-2"
    cause = Cause(alert="VmscalerHighCpu", summary="web: CPU in use is 93.1%, above 80% for 5m")
    seen.policy.status.claim = ClaimStatus(
        active=ActiveEvent(event=name, kind="ScaleOutEvent", build=build(7), since=ago(for_ + 60), cause=cause),
        sequence=2,
        decisions=[decided("ScaleOut", for_ + 60, "2 instances serve and the alert fires: adding one, 3 of at most 4", 7, accepted=True)],
    )
    begun = [Action(name=action, instance=f"{name}-1", state=ActionState.STARTED, started_at=ago(for_))] if action else []
    return replace(seen, event=event(name, stage=stage, started_at=ago(for_ + 60), actions=begun, **status))


def rolling_back() -> Seen:
    rollback = Rollback(started_at=ago(30), reason="Unhealthy")
    message = "health of web-7a38d-2-1 was not done within 5m: 503"
    return running(phase=EventPhase.ROLLING_BACK, failed_stage="verify", reason="Unhealthy", message=message, rollback=rollback)


def backing_off() -> Seen:
    seen = idle()
    failed = {"phase": EventPhase.FAILED, "stage": "verify", "failed_stage": "verify", "reason": "Unhealthy", "finished_at": ago(20)}
    seen.policy.status.claim = ClaimStatus(
        sequence=2,
        cooldown_until=ago(-40),
        cooldown_reason="Failure",
        failures=2,
        last_event="web-7a38d-2",
        decisions=[decided("BackingOff", 10, "web-7a38d-2 failed (2 in a row): another try in 50s", 8)],
    )
    message = "health of web-7a38d-2-1 was not done within 5m (spec.timeouts.health): service: GET 192.0.2.101:8080/healthz: 503"
    return replace(seen, event=event(**failed, message=message))


def at_maximum() -> Seen:
    seen = idle()
    seen.policy.status.instances = Instances(baseline=2, ours=2, total=4)
    said = "4 instances serve (2 baseline + 2 ours), maxInstances is 4"
    seen.policy.status.claim = ClaimStatus(
        sequence=2,
        cooldown_until=ago(60),
        cooldown_reason="Success",
        last_event="web-7a38d-2",
        decisions=[decided("AtMaximum", 15, said, 9), decided("ScaleOut", 600, "adding one", 7, accepted=True)],
    )
    over = event(phase=EventPhase.SUCCEEDED, stage="finish", reason="ScaledOut", message="web-7a38d-2-1 in service", finished_at=ago(540))
    return replace(seen, event=over, instances=[instance("web-7a38d-1-1", "192.0.2.100"), instance("web-7a38d-2-1", "192.0.2.101")])


def cooling_at_maximum() -> Seen:
    seen = at_maximum()
    assert seen.policy.status.claim is not None
    seen.policy.status.claim.cooldown_until = ago(-90)
    return seen


def jenkins_and_host_unseen() -> Seen:
    seen = idle()
    assert seen.site is not None
    unseen = "Jenkins cannot be reached (ConnectionRefusedError: job autoscale-acme-web)"
    key = "mon-1 shows a host key that is none of ssh.hostKeys. Nothing was sent. If the host was made anew, put its key into the Site"
    condition(seen.policy.status, c.JOB_READY, ConditionStatus.UNKNOWN, "Unreachable", unseen)
    condition(seen.policy.status, c.TARGETS_READY, ConditionStatus.UNKNOWN, "HostKeyChanged", key)
    condition(seen.site.status, c.MONITORING_HOSTS_READY, ConditionStatus.UNKNOWN, "HostKeyChanged", key)
    return seen


def pool_not_found() -> Seen:
    seen = idle()
    missing = "the BIG-IP has no pool /Common/nosuch: create it, or correct spec.f5.poolName"
    condition(seen.policy.status, c.POOL_RESOLVED, ConditionStatus.FALSE, "PoolNotFound", missing)
    return seen


def mass_deletion() -> Seen:
    held = instance("web-7a38d-1-1", "192.0.2.100")
    held.metadata.deletion_timestamp = ago(300)
    words = "5 instances of Site default are being deleted, more than the 3 that go without asking: VM, member and address stay as they are"
    condition(held.status, c.REMOVED, ConditionStatus.FALSE, "MassDeletion", words)
    return replace(idle(), instances=[held])


def switched_off() -> Seen:
    seen = idle()
    seen.policy.spec.mode = Mode.OFF
    return seen


def operator_gone() -> Seen:
    return replace(idle(), operator=Heartbeat("operator-1", ago(900), timedelta(seconds=15)))


def held(site: Site, reason: str, message: str) -> None:
    """The Site's summary while it goes."""
    site.status.conditions = set_condition(site.status.conditions, c.READY, ConditionStatus.FALSE, reason, message, now=ago(200))


def being_deleted() -> Seen:
    seen = idle()
    seen.policy.metadata.deletion_timestamp = ago(60)
    words = "being removed: mon-1 cannot be reached"
    seen.policy.status.conditions = set_condition(
        seen.policy.status.conditions, c.READY, ConditionStatus.UNKNOWN, "Unreachable", words, now=ago(60)
    )
    return seen


PAGES: dict[str, Callable[[], Seen]] = {
    one.__name__: one
    for one in (
        idle,
        running,
        rolling_back,
        backing_off,
        at_maximum,
        cooling_at_maximum,
        jenkins_and_host_unseen,
        pool_not_found,
        mass_deletion,
        switched_off,
        operator_gone,
        being_deleted,
    )
}
