"""The claim's chain: every refusal with its reason, in its order; what is unknown is never a yes; what is kept of the answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmscaler.api.autoscalingpolicy import ActiveEvent, BuildRef, ClaimStatus, Decision, Mode
from vmscaler.decide import claim

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUILD = BuildRef(job="autoscale-acme-web", generation="g1", number=7)
ACTIVE = ActiveEvent(event="web-1", kind="ScaleOutEvent", build=BUILD.model_copy(update={"number": 6}), since=NOW - timedelta(minutes=3))
YES = claim.ClaimFacts(
    deleting=False,
    mode=Mode.ACTIVE,
    ready=True,
    not_ready_because="",
    scale_out_step=1,
    max_instances=4,
    claim=ClaimStatus(),
    build=BUILD,
    current_job="autoscale-acme-web",
    current_generation="g1",
    alert_firing=True,
    alert_unseen_because="",
    baseline=2,
    pool_unseen_because="",
    ours=1,
    tenant_cap_left=1,
    now=NOW,
)

# In the chain's order: what makes each check say no, and words that its message must have.
NO: list[tuple[str, dict[str, Any], str]] = [
    ("Deleting", {"deleting": True}, "being deleted"),
    ("OtherJob", {"current_job": "another"}, "another"),
    ("ModeOff", {"mode": Mode.OFF}, "spec.mode"),
    ("StepNotSupported", {"scale_out_step": 2}, "set it to 1"),
    ("AlreadyRunning", {"claim": ClaimStatus(active=ACTIVE)}, "web-1 has run for 3m00s (build 6 of autoscale-acme-web)"),
    ("PolicyNotReady", {"ready": False, "not_ready_because": "PoolResolved: no monitor"}, "no monitor"),
    ("Cooldown", {"claim": ClaimStatus(cooldown_until=NOW + timedelta(seconds=42), last_event="web-0")}, "42s"),
    ("AlertNotFiring", {"alert_firing": False}, "the demand is gone"),
    ("PoolUnseen", {"baseline": None, "pool_unseen_because": "503"}, "503"),
    ("AtMaximum", {"baseline": 3}, "4 instances serve (3 baseline + 1 ours), maxInstances is 4"),
    ("TenantCap", {"tenant_cap_left": 0}, "spec.tenants"),
    ("Observing", {"mode": Mode.OBSERVE}, "set spec.mode to Active"),
    ("InventoryUnseen", {"vcenter_unseen_because": "timed out"}, "timed out"),
]
ALSO = [
    ("StaleJob", {"current_generation": "g2"}, "generation g1 of the job, the present one is g2"),
    ("AlertUnseen", {"alert_firing": None, "alert_unseen_because": "timed out"}, "timed out"),
    (
        "BackingOff",
        {"claim": ClaimStatus(cooldown_until=NOW + timedelta(seconds=9), cooldown_reason="Failure", failures=3, last_event="web-0")},
        "web-0 failed (3 in a row): another try in 9s",
    ),
    ("AtMaximum", {"ours": 50}, "52 instances"),
    ("TenantCap", {"tenant_cap_left": -3}, "allows no more"),
]


def test_all_is_well() -> None:
    verdict = claim.decide(YES)
    assert (verdict.accepted, verdict.reason) == (True, "ScaleOut")
    assert verdict.message == "3 instances serve and the alert fires: adding one, 4 of at most 4"


@pytest.mark.parametrize(("reason", "change", "words"), NO + ALSO)
def test_each_refusal(reason: str, change: dict[str, Any], words: str) -> None:
    verdict = claim.decide(replace(YES, **change))
    assert (verdict.accepted, verdict.reason) == (False, reason)
    assert words in verdict.message


@pytest.mark.parametrize("index", range(len(NO) - 1))
def test_the_order_of_refusals(index: int) -> None:
    """With everything from here on wrong, the first is told."""
    changes: dict[str, Any] = {}
    for _, change, _ in reversed(NO[index:]):
        changes.update({key: value for key, value in change.items() if key != "claim"})
        if "claim" in change:
            merged = changes.get("claim", ClaimStatus()).model_dump() | change["claim"].model_dump(exclude_unset=True)
            changes["claim"] = ClaimStatus.model_validate(merged)
    assert claim.decide(replace(YES, **changes)).reason == NO[index][0]


def test_every_check_of_the_chain_is_tried_here() -> None:
    for check in claim.CHAIN:
        assert any((said := check(replace(YES, **change))) is not None and said.reason == reason for reason, change, _ in NO + ALSO), check


facts = st.builds(
    claim.ClaimFacts,
    deleting=st.booleans(),
    mode=st.sampled_from(Mode),
    ready=st.booleans(),
    not_ready_because=st.just("x"),
    scale_out_step=st.integers(1, 3),
    max_instances=st.integers(1, 5),
    claim=st.builds(
        ClaimStatus, active=st.sampled_from([None, ACTIVE]), cooldown_until=st.sampled_from([None, NOW, NOW + timedelta(seconds=1)])
    ),
    build=st.just(BUILD),
    current_job=st.sampled_from([None, "autoscale-acme-web", "another"]),
    current_generation=st.sampled_from([None, "g1", "g2"]),
    alert_firing=st.sampled_from([None, False, True]),
    alert_unseen_because=st.just("x"),
    baseline=st.sampled_from([None, 0, 1, 4]),
    pool_unseen_because=st.just("x"),
    ours=st.integers(0, 5),
    tenant_cap_left=st.integers(-1, 2),
    now=st.just(NOW),
    vcenter_unseen_because=st.sampled_from(["", "x"]),
)


@given(facts)
def test_a_yes_has_everything_seen_and_within_bounds(f: claim.ClaimFacts) -> None:
    if claim.decide(f).accepted:
        assert f.alert_firing is True and f.baseline is not None and not f.vcenter_unseen_because
        assert f.baseline + f.ours < f.max_instances and f.tenant_cap_left >= 1 and f.scale_out_step == 1
        assert f.ready and not f.deleting and f.mode == Mode.ACTIVE and f.claim.active is None
        assert f.claim.cooldown_until is None or f.claim.cooldown_until <= f.now
        assert f.current_generation in (None, f.build.generation) and f.current_job in (None, f.build.job)


def test_a_cooldown_that_ends_now_is_over() -> None:
    assert claim.decide(replace(YES, claim=ClaimStatus(cooldown_until=NOW))).accepted


# --- what is kept


def answer(reason: str = "Cooldown", *, accepted: bool = False) -> claim.Verdict:
    return claim.Verdict(accepted, reason, f"because of {reason}")


def test_a_repeated_no_is_counted_after_a_minute_only() -> None:
    first = claim.record([], answer(), build=BUILD, event=None, now=NOW)
    assert first is not None and [d.count for d in first] == [1]
    assert claim.record(first, answer(), build=BUILD, event=None, now=NOW + timedelta(seconds=59)) is None
    second = claim.record(first, answer(), build=BUILD.model_copy(update={"number": 9}), event=None, now=NOW + timedelta(seconds=60))
    assert second is not None and [(d.count, d.time, d.last_time, d.build.number) for d in second] == [
        (2, NOW, NOW + timedelta(seconds=60), 9)
    ]


def test_a_counted_no_has_the_last_words_and_keeps_what_was_before() -> None:
    before = claim.record([], answer("ScaleOut", accepted=True), build=BUILD, event="web-1", now=NOW)
    kept = claim.record(before or [], answer(), build=BUILD, event=None, now=NOW)
    later = claim.Verdict(False, "Cooldown", "9s are left")
    counted = claim.record(kept or [], later, build=BUILD, event=None, now=NOW + timedelta(minutes=2))
    assert counted is not None and [(d.reason, d.count, d.message) for d in counted] == [
        ("Cooldown", 2, "9s are left"),
        ("ScaleOut", 1, "because of ScaleOut"),
    ]


def test_another_reason_and_every_yes_is_written_at_once_newest_first() -> None:
    kept: list[Decision] = []
    for reason, accepted in (("Cooldown", False), ("AtMaximum", False), ("ScaleOut", True), ("ScaleOut", True), ("AtMaximum", False)):
        more = claim.record(kept, answer(reason, accepted=accepted), build=BUILD, event="web-1" if accepted else None, now=NOW)
        assert more is not None
        kept = more
    assert [d.reason for d in kept] == ["AtMaximum", "ScaleOut", "ScaleOut", "AtMaximum", "Cooldown"]
    assert [d.event for d in kept] == [None, "web-1", "web-1", None, None]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 90)), max_size=80))
def test_decisions_are_bounded_and_ordered(asked: list[tuple[str, bool, int]]) -> None:
    kept: list[Decision] = []
    now = NOW
    for reason, accepted, seconds in asked:
        now += timedelta(seconds=seconds)
        more = claim.record(kept, answer(reason, accepted=accepted), build=BUILD, event=None, now=now)
        assert not accepted or more is not None
        kept = kept if more is None else more
        assert kept[0].reason == reason
    assert len(kept) <= claim.DECISIONS_KEPT
    assert [d.last_time for d in kept] == sorted((d.last_time for d in kept), reverse=True)
    assert ClaimStatus(decisions=kept).decisions == kept  # the CRD takes it


def test_a_message_of_any_length_is_kept_within_bounds() -> None:
    kept = claim.record([], claim.Verdict(False, "PoolUnseen", "x" * 100_000), build=BUILD, event=None, now=NOW)
    assert kept is not None and len(kept[0].message) <= 2048


# --- cooldown and back-off


def test_success_cools_down_and_forgets_failures() -> None:
    after = claim.after_success(ClaimStatus(active=ACTIVE, sequence=3, failures=2), event="web-1", cooldown=timedelta(minutes=5), now=NOW)
    assert (after.active, after.failures, after.sequence, after.last_event) == (None, 0, 3, "web-1")
    assert (after.cooldown_until, after.cooldown_reason) == (NOW + timedelta(minutes=5), "Success")


@given(st.integers(0, 10**6), st.floats(0, 86400))
def test_back_off_grows_within_bounds(failures: int, seconds: float) -> None:
    cooldown = timedelta(seconds=seconds)
    after = claim.after_failure(ClaimStatus(active=ACTIVE, failures=failures), event="web-1", cooldown=cooldown, now=NOW)
    assert after.active is None and after.failures == failures + 1 and after.cooldown_reason == "Failure"
    assert after.last_event == "web-1"
    assert after.cooldown_until is not None
    wait = after.cooldown_until - NOW
    assert timedelta(seconds=1) <= wait <= max(cooldown, timedelta(minutes=1))
    more = claim.after_failure(after, event="web-2", cooldown=cooldown, now=NOW)
    assert more.cooldown_until is not None and more.cooldown_until - NOW >= wait
