"""The demo's hops: when each is counted, in which order they are told, what does not count."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from lab.demo.hops import LABELS, RAISED, RESOLVED, Timeline, failing_after
from lab.demo.play import Outcome
from lab.demo.report import _timeline
from lab.demo.snapshot import Build, Rule, Snapshot, Vm

RAISE = 1_800_000_000.0


def stamp(seconds: float) -> str:
    """RFC 3339 of `seconds` after the raise, as the API server writes it."""
    return datetime.fromtimestamp(RAISE + seconds, UTC).isoformat().replace("+00:00", "Z")


def action(name: str, finished: float | None) -> dict[str, Any]:
    state = {"state": "Started"} if finished is None else {"state": "Done", "finishedAt": stamp(finished), "message": f"{name} is done"}
    return {"name": name, "instance": "web-1-1-1", **state}


def event(*actions: dict[str, Any], phase: str = "Running") -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1-1"},
        "spec": {"fromInstances": 2, "toInstances": 3, "build": {"number": 7}, "instances": ["web-1-1-1"]},
        "status": {"phase": phase, "startedAt": stamp(8), "actions": list(actions)},
    }


def snapshot(seconds: float, **changes: Any) -> Snapshot:
    return replace(Snapshot(RAISE + seconds), **changes)


PENDING = Rule("pending", RAISE + 3, 91.0)
FIRING = Rule("firing", RAISE + 3, 99.0)
ALL_DONE = (
    action("address", 9),
    action("probe", 9.5),
    action("vm-creation", 11),
    action("boot", 12),
    action("health", 13),
    action("f5-pool-add", 15),
)
NEW_VM = Vm("web-1-1-1", "127.9.9.100", "up", 0.6, 5, "monitor-enabled", "up")


def whole_story() -> Timeline:
    timeline = Timeline(RAISE)
    firing: dict[str, Any] = {"rule": FIRING, "alert_since": RAISE + 6}
    builds = (Build(7, RAISE + 7, None, "claim", ""),)
    timeline.observe(snapshot(3.4, rule=PENDING))
    timeline.observe(snapshot(6.2, **firing))
    timeline.observe(snapshot(8.2, **firing, builds=builds, event=event()))
    timeline.observe(snapshot(15.5, **firing, builds=builds, event=event(*ALL_DONE), vms=(NEW_VM,)))
    timeline.observe(snapshot(21, builds=builds, event=event(*ALL_DONE, phase="Succeeded"), vms=(NEW_VM,)))
    return timeline


def test_every_hop_is_told_with_its_seconds() -> None:
    lines = whole_story().lines()
    assert [line.label for line in lines] == list(LABELS)
    assert [round(line.since_raise, 1) for line in lines] == [0, 3, 6, 7, 8, 9.5, 11, 13, 15, 15.5, 21]
    assert [round(line.since_previous, 1) for line in lines] == [0, 3, 3, 1, 1, 1.5, 1.5, 2, 2, 0.5, 5.5]


def test_the_systems_own_times_count_not_when_the_demo_looked() -> None:
    timeline = Timeline(RAISE)
    (hop,) = timeline.observe(snapshot(40, rule=PENDING))
    assert hop.at == RAISE + 3
    assert hop.detail == "CPU in use 91 %"


def test_a_hop_is_told_once() -> None:
    timeline = Timeline(RAISE)
    assert timeline.observe(snapshot(4, rule=PENDING))
    assert not timeline.observe(snapshot(5, rule=PENDING))


def test_what_is_older_than_the_raised_load_is_another_story() -> None:
    timeline = Timeline(RAISE)
    old = Rule("firing", RAISE - 30, 90.0)
    assert not timeline.observe(snapshot(1, rule=old, alert_since=RAISE - 20, builds=(Build(3, RAISE - 15, "SUCCESS", "finish", ""),)))


def test_both_actions_of_a_hop_must_be_done() -> None:
    timeline = Timeline(RAISE)
    timeline.observe(snapshot(12, event=event(action("boot", 11), action("health", None))))
    assert timeline.at("booted, healthy") is None
    timeline.observe(snapshot(14, event=event(action("boot", 11), action("health", 13))))
    assert timeline.at("booted, healthy") == RAISE + 13


def test_the_build_is_the_events_own() -> None:
    timeline = Timeline(RAISE)
    builds = (Build(8, RAISE + 20, "NOT_BUILT", "claim", ""), Build(7, RAISE + 7, None, "clone", ""))
    timeline.observe(snapshot(21, builds=builds, event=event()))
    assert timeline.at("build started") == RAISE + 7


def test_a_vm_that_served_nobody_has_no_first_request() -> None:
    timeline = Timeline(RAISE)
    timeline.observe(snapshot(16, event=event(*ALL_DONE), vms=(replace(NEW_VM, served=0),)))
    assert timeline.at("first request") is None
    timeline.observe(snapshot(17, event=event(*ALL_DONE), vms=(NEW_VM, Vm("web-1", "127.9.9.20", "up", 1.0, 900))))
    assert timeline.at("first request") == RAISE + 17


def test_an_alert_that_never_fired_is_not_resolved() -> None:
    timeline = Timeline(RAISE)
    timeline.observe(snapshot(5))
    assert timeline.at(RESOLVED) is None


def test_an_alertmanager_that_does_not_answer_is_no_resolved_alert() -> None:
    timeline = Timeline(RAISE)
    timeline.observe(snapshot(6, rule=FIRING, alert_since=RAISE + 6))
    timeline.observe(snapshot(7, trouble=("Alertmanager: no answer",)))
    assert timeline.at(RESOLVED) is None


def test_an_alert_that_comes_back_was_not_resolved() -> None:
    timeline = whole_story()
    assert timeline.missing() is None
    timeline.observe(snapshot(25, rule=FIRING, alert_since=RAISE + 24))
    assert timeline.at(RESOLVED) is None
    assert timeline.missing() == RESOLVED
    timeline.observe(snapshot(30))
    assert timeline.at(RESOLVED) == RAISE + 30


def test_lines_are_in_order_of_time_and_never_negative() -> None:
    timeline = Timeline(RAISE)
    # Users come as soon as the member is enabled; the action is recorded a moment later.
    timeline.observe(snapshot(14.5, event=event(*ALL_DONE[:-1]), vms=(NEW_VM,)))
    timeline.observe(snapshot(15.5, event=event(*ALL_DONE), vms=(NEW_VM,)))
    labels = [line.label for line in timeline.lines()]
    assert labels.index("first request") < labels.index("in the pool")
    assert all(line.since_previous >= 0 for line in timeline.lines())


def test_a_failed_action_is_no_hop() -> None:
    timeline = Timeline(RAISE)
    failed = {"name": "vm-creation", "instance": "web-1-1-1", "state": "Failed", "finishedAt": stamp(12)}
    timeline.observe(snapshot(13, event=event(failed)))
    assert timeline.missing() == "rule pending"
    assert timeline.at("VM cloned") is None
    assert timeline.lines()[0].label == RAISED


def test_a_scale_out_that_is_to_fail_ends_with_its_rollback() -> None:
    timeline = Timeline(RAISE, hops=failing_after("VM cloned"))
    assert timeline.labels[-3:] == ("VM cloned", "stage failed", "rolled back")
    firing: dict[str, Any] = {"rule": FIRING, "alert_since": RAISE + 6, "builds": (Build(7, RAISE + 7, None, "claim", ""),)}
    failing = event(*ALL_DONE[:3], phase="RollingBack")
    failing["status"] |= {"failedStage": "verify", "reason": "Unhealthy", "message": "503 " * 30, "rollback": {"startedAt": stamp(40)}}
    timeline.observe(snapshot(40.5, **firing, event=failing))
    assert timeline.missing() == "rolled back"
    over = event(*ALL_DONE[:3], phase="Failed")
    over["status"] |= failing["status"] | {"rollback": {"startedAt": stamp(40), "finishedAt": stamp(42), "message": "nothing is left"}}
    timeline.observe(snapshot(42.5, event=over))
    assert timeline.missing() is None
    stream = io.StringIO()
    _timeline(Console(file=stream, width=80), Outcome([], timeline, [], None, snapshot(43)))
    assert re.search(r"^stage failed +40\.0 +[\d.]+ +verify: Unhealthy", stream.getvalue(), re.MULTILINE)
    told = [(line.label, line.since_raise, line.detail) for line in timeline.lines()][-2:]
    assert told == [("stage failed", 40.0, f"verify: Unhealthy: {'503 ' * 30}"), ("rolled back", 42.0, "nothing is left")]
