"""What `vmscaler explain`, `events` and `event` show, cell by cell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from tests.fakes.policies import policy

from vmscaler.api.autoscalingpolicy import ActiveEvent, BuildRef, Cause, ClaimStatus, Decision, Instances, Mode
from vmscaler.api.meta import ConditionStatus, NameRef, ObjectMeta, PolicyRef
from vmscaler.api.scaleevent import Action, ActionState, EventPhase, ScaleEventSpec, ScaleEventStatus, ScaleOutEvent
from vmscaler.decide.conditions import set_condition
from vmscaler.decide.explain import action_rows, decision_rows, event_rows, state_lines, when

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUILD = BuildRef(job="autoscale-acme-web", generation="g1", number=7)


def ago(seconds: int) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_a_policy_that_nobody_looked_at() -> None:
    assert state_lines(policy(), NOW) == ["mode Active, not looked at yet", "no claim was ever made"]


def test_a_policy_that_scales() -> None:
    one = policy()
    one.status.conditions = set_condition([], "Ready", ConditionStatus.FALSE, "PoolNotFound", "no pool", now=NOW)
    one.status.instances = Instances(baseline=2, ours=1, total=3)
    one.status.claim = ClaimStatus(active=ActiveEvent(event="web-2", kind="ScaleOutEvent", build=BUILD, since=ago(90)))
    assert state_lines(one, NOW) == [
        "mode Active, Ready is False: no pool",
        "3 instances serve (2 baseline + 1 ours), at most 4",
        "web-2 has run for 1m30s (build 7)",
    ]


def test_a_policy_that_waits() -> None:
    one = policy()
    one.spec.mode = Mode.OFF
    for reason, words in (("Success", "cooling down"), ("Failure", "backing off after a failure")):
        one.status.claim = ClaimStatus(cooldown_until=NOW + timedelta(seconds=42), cooldown_reason=reason, last_event="web-1")
        assert state_lines(one, NOW) == [
            "mode Off, not looked at yet",
            "every claim is refused while mode is Off",
            f"{words} for another 42s (since web-1)",
        ]
    one.status.claim = ClaimStatus(cooldown_until=NOW, last_event="web-1")  # over
    assert state_lines(one, NOW)[2:] == []


def test_failures_in_a_row_are_told_with_the_last_event() -> None:
    one = policy()
    one.status.claim = ClaimStatus(failures=1, last_event="web-1")
    assert state_lines(one, NOW)[1:] == ["1 scale-out in a row failed, last web-1"]
    one.status.claim = ClaimStatus(failures=2, last_event="web-2", cooldown_until=NOW + timedelta(seconds=42), cooldown_reason="Failure")
    assert state_lines(one, NOW)[1:] == [
        "2 scale-outs in a row failed, last web-2",
        "backing off after a failure for another 42s (since web-2)",
    ]


def test_from_when_to_when_in_utc() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5)))
    assert when(event("web-1", ScaleEventStatus())) == "not begun"
    assert when(event("web-1", ScaleEventStatus(started_at=elsewhere))) == "2026-03-01 12:00:00Z, runs"
    ended = ScaleEventStatus(started_at=elsewhere, finished_at=elsewhere + timedelta(seconds=9))
    assert when(event("web-1", ended)) == "2026-03-01 12:00:00Z to 12:00:09Z"


def test_decisions() -> None:
    no = Decision(time=ago(300), last_time=ago(5), count=2, accepted=False, reason="Cooldown", message="42s", build=BUILD)
    yes = no.model_copy(update={"last_time": ago(60), "count": 1, "accepted": True, "reason": "ScaleOut", "message": "adding one"})
    assert decision_rows([no, yes], NOW) == [
        ("5s ago", "no", "Cooldown", "7", "42s (2 times)"),
        ("1m00s ago", "yes", "ScaleOut", "7", "adding one"),
    ]


def event(name: str, status: ScaleEventStatus) -> ScaleOutEvent:
    spec = ScaleEventSpec(
        policy_ref=PolicyRef(namespace="acme", name="web", uid="u"),
        site_ref=NameRef(name="default"),
        sequence=1,
        from_instances=2,
        to_instances=3,
        cause=Cause(alert="VmscalerHighCpu"),
        build=BUILD,
        instances=[f"{name}-1"],
    )
    return ScaleOutEvent(metadata=ObjectMeta(name=name, namespace="acme"), spec=spec, status=status)


def test_events_newest_first() -> None:
    failed = ScaleEventStatus(
        phase=EventPhase.FAILED, stage="rollback", failed_stage="clone", reason="CloneFailed", message="no room", started_at=ago(600)
    )
    failed.duration = "30s"
    runs = ScaleEventStatus(stage="verify", started_at=ago(20))
    begins = ScaleEventStatus()
    rows = event_rows([event("web-1", failed), event("web-2", runs), event("web-3", begins)], NOW)
    assert rows == [
        ("acme", "web-3", "Running", "claim", "2 -> 3", "7", "", "", "VmscalerHighCpu"),
        ("acme", "web-2", "Running", "verify", "2 -> 3", "7", "", "20s ago", "VmscalerHighCpu"),
        ("acme", "web-1", "Failed", "clone", "2 -> 3", "7", "30s", "10m00s ago", "CloneFailed: no room"),
    ]


def test_actions() -> None:
    begun = Action(name="boot", instance="web-1-1", state=ActionState.STARTED, started_at=NOW)
    ended = Action(
        name="f5-pool-add",
        instance="web-1-1",
        state=ActionState.DONE,
        started_at=NOW,
        duration="4s",
        message="in service",
        address="192.0.2.100",
        vm_id="vm-7",
        vm_ip="192.0.2.101",
        pool="/Common/p",
        member="192.0.2.100:80",
    )
    assert action_rows(event("web-1", ScaleEventStatus(actions=[begun, ended]))) == [
        ("boot", "12:00:00", "Started", "", ""),
        (
            "f5-pool-add",
            "12:00:00",
            "Done",
            "4s",
            "in service [address 192.0.2.100, vm vm-7, ip 192.0.2.101, pool /Common/p, member 192.0.2.100:80]",
        ),
    ]
