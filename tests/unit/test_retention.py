"""How many scale events are kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vmscaler.api.autoscalingpolicy import BuildRef, Cause
from vmscaler.api.meta import NameRef, ObjectMeta, PolicyRef
from vmscaler.api.scaleevent import EventPhase, ScaleEventSpec, ScaleEventStatus, ScaleOutEvent
from vmscaler.decide.retention import ALWAYS_KEPT, KEPT_PER_POLICY, LONGEST, expired

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def event(number: int, age: timedelta, *, uid: str = "u", phase: EventPhase = EventPhase.SUCCEEDED) -> ScaleOutEvent:
    spec = ScaleEventSpec(
        policy_ref=PolicyRef(namespace="acme", name="web", uid=uid),
        site_ref=NameRef(name="default"),
        sequence=number,
        from_instances=2,
        to_instances=3,
        cause=Cause(),
        build=BuildRef(job="j", generation="g", number=number),
        instances=[f"web-{number}-1"],
    )
    finished = None if phase == EventPhase.RUNNING else NOW - age
    status = ScaleEventStatus(phase=phase, finished_at=finished)
    return ScaleOutEvent(metadata=ObjectMeta(name=f"web-{uid}-{number}", namespace="acme"), spec=spec, status=status)


def test_the_newest_are_kept_and_the_rest_goes() -> None:
    events = [event(n, timedelta(hours=n)) for n in range(KEPT_PER_POLICY + 7)]
    gone = expired([*events[50:], *reversed(events[:50])], NOW)  # in no order, as they are listed
    assert {e.spec.sequence for e in gone} == set(range(KEPT_PER_POLICY, KEPT_PER_POLICY + 7))


def test_old_ones_go_but_the_last_few_stay() -> None:
    events = [event(n, LONGEST + timedelta(days=n + 1)) for n in range(ALWAYS_KEPT + 3)]
    assert {e.spec.sequence for e in expired(events, NOW)} == {ALWAYS_KEPT, ALWAYS_KEPT + 1, ALWAYS_KEPT + 2}


def test_one_that_runs_is_never_taken_and_policies_do_not_share_a_count() -> None:
    running = [event(n, LONGEST * 2, phase=EventPhase.RUNNING) for n in range(KEPT_PER_POLICY + 5)]
    others = [event(n, timedelta(hours=n), uid="v") for n in range(KEPT_PER_POLICY)]
    mine = [event(n, timedelta(hours=n)) for n in range(KEPT_PER_POLICY)]
    assert expired([*running, *others, *mine], NOW) == []


def test_one_whose_end_was_never_written_stays() -> None:
    events = [event(n, LONGEST * 2) for n in range(ALWAYS_KEPT + 2)]
    for one in events:
        one.status.finished_at = None
    assert expired(events, NOW) == []
