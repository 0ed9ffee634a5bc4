"""Small pure values: conditions and their summary, a pool's port and VIP, actions, marks, words from outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.policies import instance

from vmscaler.api.meta import Condition, ConditionStatus
from vmscaler.api.scaleevent import Action, ActionState
from vmscaler.decide import actions, marks, pool
from vmscaler.decide.addresses import Refusal
from vmscaler.decide.conditions import find, is_true, set_condition, summarise
from vmscaler.decide.words import plain

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN


def conditions(**states: ConditionStatus) -> list[Condition]:
    found: list[Condition] = []
    for type_, status in states.items():
        found = set_condition(found, type_, status, f"{type_}Said", f"about {type_}", now=NOW, generation=1)
    return found


def test_a_transition_is_a_change_of_status_only() -> None:
    first = conditions(Pool=FALSE)
    same = set_condition(first, "Pool", FALSE, "Other", "other", now=LATER, generation=2)
    assert (same[0].last_transition_time, same[0].reason, same[0].observed_generation) == (NOW, "Other", 2)
    changed = set_condition(same, "Pool", TRUE, "Found", "", now=LATER)
    assert changed[0].last_transition_time == LATER and is_true(changed, "Pool")
    assert len(changed) == 1 and first[0].status == FALSE  # a value, never changed in place


def test_messages_are_cut() -> None:
    assert len(set_condition([], "Pool", FALSE, "R", "x" * 10_000, now=NOW)[0].message) <= 2048


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({"A": TRUE, "B": TRUE}, (TRUE, "AllReady", "Everything is in place")),
        ({"A": TRUE, "B": FALSE}, (FALSE, "BSaid", "B: about B")),
        ({"A": UNKNOWN, "B": FALSE}, (FALSE, "BSaid", "B: about B")),
        ({"A": UNKNOWN, "B": TRUE}, (UNKNOWN, "ASaid", "A: about A")),
        ({"A": TRUE}, (UNKNOWN, "Pending", "B: not looked at yet")),
        ({"A": UNKNOWN}, (UNKNOWN, "ASaid", "A: about A")),
        ({"A": TRUE, "B": TRUE, "C": FALSE}, (TRUE, "AllReady", "Everything is in place")),
    ],
)
def test_the_summary(states: dict[str, ConditionStatus], expected: tuple[ConditionStatus, str, str]) -> None:
    ready = find(summarise(conditions(**states), ("A", "B"), now=NOW, generation=3), "Ready")
    assert ready is not None and (ready.status, ready.reason, ready.message) == expected and ready.observed_generation == 3


def view(port: int, address: str = "192.0.2.1", *, enabled: bool = True) -> pool.MemberView:
    return pool.MemberView(f"{address}:{port}", address, port, enabled)


def test_the_port_of_the_members() -> None:
    assert pool.member_port(8443, [], "/Common/p") == 8443
    assert pool.member_port(None, [view(80), view(80)], "/Common/p") == 80
    for members, words in (([], "no members"), ([view(80), view(81)], "80, 81")):
        refusal = pool.member_port(None, members, "/Common/p")
        assert isinstance(refusal, Refusal) and words in refusal.message and "spec.f5.memberPort" in refusal.message
        assert refusal.reason == "MemberPortUnknown"


def test_the_vip() -> None:
    virtuals = [("/Common/vs", "192.0.2.10", 443), ("/Common/vs2", "192.0.2.11", 80)]
    for vip, port, fits in (
        (None, None, True),
        (None, 443, True),
        ("192.0.2.10", None, True),
        ("192.0.2.11", 80, True),
        ("192.0.2.10", 80, False),
        ("192.0.2.12", None, False),
    ):
        assert (pool.vip_matches(vip, port, virtuals, "/Common/p") is None) is fits, (vip, port)
    wrong = pool.vip_matches("192.0.2.10", 80, virtuals, "/Common/p")
    assert wrong is not None and wrong.reason == "VipMismatch" and "gives the VIP 192.0.2.10:80, but" in wrong.message
    assert pool.vip_matches("192.0.2.12", 1, [], "/Common/p") is None  # an iRule may use it
    assert pool.full_path("web") == "/Common/web" and pool.full_path("/Acme/web") == "/Acme/web"


def test_the_baseline_is_what_is_not_ours() -> None:
    members = [view(80), view(80, "192.0.2.2", enabled=False), view(80, "192.0.2.100")]
    assert [one.address for one in pool.baseline(members, {"192.0.2.100"})] == ["192.0.2.1", "192.0.2.2"]


def test_an_action_begins_once_ends_once_and_is_tried_again_after_a_failure() -> None:
    begun = actions.begun([], "clone", "web-1", NOW)
    assert actions.begun(begun, "clone", "web-1", LATER) == begun
    ended = actions.ended(begun, "clone", "web-1", LATER, state=ActionState.DONE, message="x" * 5000, vm_id="vm-7")
    action = actions.find(ended, "clone", "web-1")
    assert action is not None and (action.state, action.duration, action.vm_id) == (ActionState.DONE, "1m00s", "vm-7")
    assert len(action.message) <= 1024 and actions.done(ended, "clone", "web-1") and not actions.done(ended, "clone", "web-2")
    assert actions.begun(ended, "clone", "web-1", LATER) == ended
    failed = actions.ended(begun, "clone", "web-1", LATER, state=ActionState.FAILED)
    again = actions.find(actions.begun(failed, "clone", "web-1", LATER), "clone", "web-1")
    assert again is not None and (again.state, again.attempts, again.started_at, again.finished_at) == (ActionState.STARTED, 2, NOW, None)
    assert again.duration is None  # of the try that failed
    with pytest.raises(KeyError):
        actions.ended([], "clone", "web-1", NOW, state=ActionState.DONE)
    assert isinstance(again, Action)


def test_an_action_is_done_only_once_it_is() -> None:
    begun = actions.begun([], "clone", "web-1", NOW)
    failed = actions.ended(begun, "clone", "web-1", LATER, state=ActionState.FAILED, message="no room")
    done = actions.ended(begun, "clone", "web-1", LATER, state=ActionState.DONE, message="vm-7")
    assert [actions.done(each, "clone", "web-1") for each in ([], begun, failed, done)] == [False, False, False, True]
    assert [actions.find(each, "clone", "web-1").message for each in (failed, done)] == ["no room", "vm-7"]  # type: ignore[union-attr]
    # What comes late, from a step that is being stopped, takes nothing back.
    assert actions.ended(done, "clone", "web-1", LATER, state=ActionState.FAILED, message="stopped") == done


def test_an_actions_end_touches_no_other() -> None:
    both = actions.begun(actions.begun([], "clone", "web-1", NOW), "boot", "web-1", NOW)
    ended = actions.ended(both, "boot", "web-1", LATER, state=ActionState.DONE)
    assert [(action.name, action.state) for action in ended] == [("clone", ActionState.STARTED), ("boot", ActionState.DONE)]
    assert ended[0] == both[0]


def test_a_vm_is_ours_only_with_every_mark() -> None:
    vmi = instance("web-1", "192.0.2.100")
    expected = marks.identity(vmi)
    written = marks.marks(vmi, "192.0.2.100")
    assert written["address"] == "192.0.2.100" and marks.ours(written, expected)
    for key in expected:
        assert not marks.ours({**written, key: "other"}, expected)
        assert not marks.ours({name: value for name, value in written.items() if name != key}, expected)
    assert not marks.ours({}, expected) and not marks.ours(written, {})


@given(st.text(max_size=300), st.integers(1, 100))
def test_words_from_outside_are_one_plain_line(text: str, limit: int) -> None:
    shown = plain(text, limit)
    assert len(shown) <= limit and shown.isprintable() and "  " not in shown
    shown.encode()


def test_plain_words_stay() -> None:
    assert plain("CPU in use is 93.1%", 64) == "CPU in use is 93.1%"
    assert plain("a\r\nX-Evil: 1\t\u202eb\ud800", 64) == "a X-Evil: 1 b"
    assert plain("x" * 100, 10) == "x" * 9 + "…"
