"""The tables of `vmscaler explain` and `events`, cell by cell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from vmscaler.api.autoscalingpolicy import BuildRef, Cause, Decision
from vmscaler.api.meta import NameRef, ObjectMeta, PolicyRef
from vmscaler.api.scaleevent import Action, ActionState, EventPhase, ScaleEventSpec, ScaleEventStatus, ScaleOutEvent
from vmscaler.decide.explain import action_rows, decision_rows, event_rows, when

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUILD = BuildRef(job="autoscale-acme-web", generation="g1", number=7)


def ago(seconds: int) -> datetime:
    return NOW - timedelta(seconds=seconds)


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
