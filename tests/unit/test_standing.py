"""Where a policy stands (decide/standing.py) and what to do (decide/advice.py): what a person is told at three in the morning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.fakes import standings
from tests.fakes.policies import instance, policy
from tests.fakes.standings import NOW, ago, decided

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import ClaimStatus, Mode
from vmscaler.api.meta import ConditionStatus
from vmscaler.api.scaleevent import EventPhase
from vmscaler.decide.advice import advice
from vmscaler.decide.claim import ALERT_SEEN, CHAIN, alert_fires
from vmscaler.decide.heartbeat import Heartbeat
from vmscaler.decide.standing import Seen, headline, refusal, rows, stuck, wrong


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (standings.idle, None),
        (standings.jenkins_and_host_unseen, None),
        (standings.running, "AlreadyRunning"),
        (standings.backing_off, "BackingOff"),
        (standings.cooling_at_maximum, "Cooldown"),
        (standings.at_maximum, "AtMaximum"),
        (standings.pool_not_found, "PolicyNotReady"),
        (standings.switched_off, "ModeOff"),
        (standings.being_deleted, "Deleting"),
    ],
)
def test_what_a_claim_would_be_answered(standing: Callable[[], Seen], reason: str | None) -> None:
    no = refusal(standing())
    assert (no.reason if no else None) == reason


def test_observe_is_told_though_all_else_calls_for_a_vm() -> None:
    seen = standings.idle()
    seen.policy.spec.mode = Mode.OBSERVE
    assert headline(seen).startswith("no VM would be added now: Observing: mode is Observe")


def test_an_instance_that_is_being_made_counts_as_it_does_for_a_claim() -> None:
    seen = replace(standings.idle(), instances=[instance(f"web-{n}", None) for n in (1, 2)])
    no = refusal(seen)
    assert no is not None and no.reason == "AtMaximum"


def test_headlines() -> None:
    assert headline(standings.idle()) == "nothing is wrong here: a VM is added when the alert fires and the job's build claims it"
    assert headline(Seen(policy(), NOW)) == "the operator has not looked at it yet"
    assert headline(standings.running()) == "a scale-out runs: web-7a38d-2, stage verify (health) for 12s, claimed 1m12s ago"
    assert "is being rolled back for 30s: verify failed: Unhealthy: health of" in headline(standings.rolling_back())
    assert "not all is True: JobReady, TargetsReady, Site default: MonitoringHostsReady" in headline(standings.jenkins_and_host_unseen())
    assert headline(standings.mass_deletion()) == "nothing would refuse a claim, but not all is True: web-7a38d-1-1: Removed"
    failed = standings.backing_off()
    over = headline(replace(failed, now=ago(-41), operator=None))
    assert over.startswith("nothing would refuse a claim, but the last scale-out failed: web-7a38d-2 Failed 1m01s ago, verify: Unhealthy")
    assert headline(standings.operator_gone()).startswith("the operator does not run")
    assert headline(standings.being_deleted()) == "it is being deleted: being removed: mon-1 cannot be reached"
    assert "its event is not there yet" in headline(replace(standings.running(), event=None))
    freed = standings.running()
    assert freed.event is not None
    freed.event.status.phase = EventPhase.SUCCEEDED
    assert headline(freed).startswith("web-7a38d-2 has Succeeded; the policy is freed")


def test_a_stage_between_two_actions_counts_from_the_last_ones_end() -> None:
    seen = standings.running(stage="join")
    assert seen.event is not None
    [action] = seen.event.status.actions
    ended = action.model_copy(update={"state": "Done", "finished_at": ago(3)})
    seen.event.status.actions = [ended]
    assert "stage join for 3s" in headline(seen)
    seen.event.status.actions = []
    assert "stage join for 1m12s" in headline(seen)


def test_stuck_is_what_lasts_longer_than_its_build_may_take() -> None:
    # Defaults: boot 10m and health 5m, and ten minutes for an operator that is away.
    assert not stuck(standings.running(for_=25 * 60))
    late = standings.running(for_=25 * 60 + 1)
    assert stuck(late)
    assert "An event that stays Running" in advice(late, "ops")[0]
    assert not stuck(standings.rolling_back()) and not stuck(standings.idle())


def test_the_alert_is_told_only_as_far_as_it_is_known() -> None:
    def said(*decisions: tuple[str, float]) -> str:
        seen = standings.idle()
        seen.policy.status.claim = ClaimStatus(decisions=[decided(reason, seconds, "m") for reason, seconds in decisions])
        return dict(rows(seen))["alert"]

    assert said() == "no claim was ever made"
    assert said(("Cooldown", 5)) == "no claim came so far as to look"
    assert said(("Cooldown", 5), ("AlertNotFiring", 42)) == "did not fire when a claim last looked, 42s ago"
    assert said(("AtMaximum", 7), ("AlertNotFiring", 42)) == "fired when a claim last looked, 7s ago"
    assert dict(rows(standings.running()))["alert"].startswith("fired at the claim 1m12s ago: VmscalerHighCpu web: CPU in use is 93.1%")


def test_whose_answers_prove_that_the_alert_fired() -> None:
    # Every check after alert_fires, and the yes: a check that moves in the chain moves here too.
    names = [check.__name__ for check in CHAIN[CHAIN.index(alert_fires) + 1 :]]
    assert names == ["pool_seen", "below_maximum", "within_grant", "acts", "vcenter_seen"]
    assert {"PoolUnseen", "InventoryUnseen", "AtMaximum", "TenantCap", "Observing", "ScaleOut"} == ALERT_SEEN


@pytest.mark.parametrize(
    ("heart", "runs"),
    [
        (Heartbeat("a", ago(39), timedelta(seconds=15)), True),
        (Heartbeat("a", ago(41), timedelta(seconds=15)), False),
        (Heartbeat("", ago(1), timedelta(seconds=1)), False),
        (Heartbeat("a", None, timedelta(seconds=15)), False),
        (Heartbeat("a", ago(-30), timedelta(seconds=15)), True),  # its clock is ahead of ours
    ],
)
def test_whether_the_operator_runs(heart: Heartbeat, runs: bool) -> None:
    seen = replace(standings.idle(), operator=heart)
    assert dict(rows(seen))["operator"].startswith("runs" if runs else "does not run")
    assert headline(seen).startswith("the operator does not run") is not runs
    assert ("start the operator" in advice(seen, "ops")[0]) is not runs


def test_what_is_wrong_is_said_once() -> None:
    seen = standings.jenkins_and_host_unseen()
    assert [(name, status) for name, status, _ in wrong(seen)] == [
        ("JobReady", "Unknown for 3m20s"),
        ("TargetsReady", "Unknown for 3m20s"),
        ("Site default: MonitoringHostsReady", "Unknown for 3m20s"),
    ]
    assert wrong(seen)[2][2] == "HostKeyChanged: as TargetsReady above"
    assert wrong(standings.idle()) == []


def test_a_site_that_goes_says_what_it_waits_for() -> None:
    seen = standings.idle()
    assert seen.site is not None
    seen.site.metadata.deletion_timestamp = ago(9)
    standings.held(seen.site, "InUse", "the Site is being deleted but used by policy acme/web: delete those first")
    [(whose, status, why)] = wrong(seen)
    assert (whose, status) == ("Site default: Ready", "False for 3m20s")
    assert why.startswith("InUse: the Site is being deleted")


def test_the_brake_is_told() -> None:
    seen = standings.mass_deletion()
    assert [row[0] for row in wrong(seen)] == ["web-7a38d-1-1: Removed"]
    assert "A brake on mass deletion" in advice(seen, "ops")[0]
    [draining] = seen.instances
    standings.condition(draining.status, c.REMOVED, ConditionStatus.FALSE, "Draining", "3 connections are left")
    assert [row[2] for row in wrong(seen)] == ["Draining: 3 connections are left"]
    assert not any("brake" in one for one in advice(seen, "ops"))


def test_advice() -> None:
    assert any("kubectl describe vmi -n acme web-7a38d-2-1" in one for one in advice(standings.rolling_back(), "ops"))
    assert "vmscaler events acme/web-7a38d-2" in advice(standings.backing_off(), "ops")[0]
    cooling = advice(standings.cooling_at_maximum(), "ops")
    assert cooling[1].startswith("but then, as things stand: AtMaximum")
    assert "spec.scaling.maxInstances" in advice(standings.at_maximum(), "ops")[0]
    assert advice(standings.switched_off(), "ops") == []  # the answer itself says what to set
    asked = advice(standings.idle(), "ops")
    assert "/alerts" in asked[0] and "/job/autoscale-acme-web/" in asked[1]
    assert "does the alert fire?" in advice(replace(standings.idle(), site=None), "ops")[0]
    assert "kubectl get pods -n ops" in advice(standings.operator_gone(), "ops")[0]
