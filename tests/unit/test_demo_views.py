"""The demo's two views: nothing breaks the screen at its smallest, plain lines hold no control codes."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lab.demo.hops import LABELS, Hop, Timeline
from lab.demo.plain import PlainShow, state_line
from lab.demo.screen import ScreenShow, bar, sparkline
from lab.demo.snapshot import Build, Rule, Snapshot, Vm

AT = 1_800_000_000.0
SECOND = {"t": AT, "rate": 105.0, "sent": 105, "requests": 105, "errors": 2, "p50": 44.0, "p95": 812.4}
HOSTILE = "web\x1b[2J\r\n"
BUSY = Snapshot(
    AT + 30,
    rate=105.0,
    seconds=(SECOND,) * 90,
    vms=(
        Vm("web-1", "127.9.9.20", "up", 1.0, 900, "monitor-enabled", "up"),
        Vm("web-2", "127.9.9.21", "up", 0.75, 900, "user-disabled", "up"),
        Vm("web-0123456789-1-1", "127.9.9.100", "booting", 0.0, 0),
        Vm(HOSTILE, "127.9.9.101", "up", 0.3, 0, "monitor-enabled", "checking"),
    ),
    rule=Rule("firing", AT + 3, 99.0),
    alert_since=AT + 6,
    builds=(Build(2, AT + 17, None, HOSTILE, ""), Build(1, AT + 7, "NOT_BUILT", "claim", "InCooldown: wait")),
    event={
        "metadata": {"name": "web-01234-1"},
        "spec": {"fromInstances": 2, "toInstances": 3, "build": {"number": 1}, "instances": ["x"]},
        "status": {
            "phase": "Running",
            "startedAt": "2027-01-15T08:00:08Z",
            "actions": [
                {"name": "address", "state": "Done", "duration": "0s", "message": "127.9.9.100 " * 20, "instance": "x"},
                {"name": "vm-creation", "state": "Started", "message": HOSTILE, "instance": "x"},
            ],
        },
    },
    instances=({"metadata": {"name": "x"}, "spec": {"vmName": "web-0123456789-1-1"}, "status": {"phase": "Cloning"}},),
    trouble=("Jenkins: no answer", "BIG-IP: no answer"),
)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 40), (200, 60)])
def test_the_screen_fits(width: int, height: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False)
    show = ScreenShow(console)
    timeline = Timeline(AT, "to 105 requests/s")
    timeline.observe(BUSY)
    show._title, show._now, show._timeline = "during: load raised", BUSY, timeline
    lines = console.render_lines(show.render(width, height))
    text = ["".join(segment.text for segment in line) for line in lines]
    assert len(text) == height
    assert {sum(segment.cell_length for segment in line) for line in lines} == {width}
    whole = "\n".join(text)
    for wanted in ("served", "103/s", "p95", "812 ms", "web-1 ", "100 %", "in service", "firing for 24 s", "#2 stage", "Running", *LABELS):
        assert wanted in whole, wanted
    assert "\x1b" not in whole


def test_at_120_columns_the_hops_say_what_came_of_them() -> None:
    console = Console(file=io.StringIO(), width=120, height=32, force_terminal=True)
    show, timeline = ScreenShow(console), Timeline(AT, "to 105 requests/s")
    timeline.observe(BUSY)
    show._now, show._timeline = BUSY, timeline
    lines = ["".join(segment.text for segment in line) for line in console.render_lines(show.render(120, 32))]
    assert any("Alertmanager calls the service's job" in line for line in lines)


def test_hops_stand_in_the_order_in_which_they_were() -> None:
    console = Console(file=io.StringIO(), width=120, height=32, force_terminal=True)
    show, timeline = ScreenShow(console), Timeline(AT)
    for label, at in (("in the pool", AT + 9), ("first request", AT + 8)):
        timeline.hops[label] = Hop(label, at)
    show._now, show._timeline = BUSY, timeline
    text = "\n".join("".join(segment.text for segment in line) for line in console.render_lines(show.render(120, 32)))
    assert text.index("load raised") < text.index("first request") < text.index("in the pool") < text.index("rule pending")


def test_a_line_of_the_state_fits_120_columns() -> None:
    serving = tuple(Vm(f"web-{n}", "127.9.9.20", "up", 1.0, 9, "monitor-enabled", "up") for n in (1, 2))
    line = state_line(replace(BUSY, vms=(*serving, Vm("web-120cb-1-1", "127.9.9.100", "up", 1.0, 9))))
    assert line == "105/s asked, 103 served, 2 errors, p95 812 ms; CPU %: web-1 100, web-2 100, web-120cb-1-1 100 (not in pool)"
    assert len(line) <= 120 - len(f"{1234.5:6.1f} s  ")


def test_before_anything_was_seen_the_screen_draws_too() -> None:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True)
    assert len(console.render_lines(ScreenShow(console).render(80, 24))) == 24


def test_plain_lines_hold_no_control_codes() -> None:
    stream = io.StringIO()
    show = PlainShow(stream)
    timeline = Timeline(AT, "to 105 requests/s")
    show.tick(Snapshot(AT), None)
    show.phase("during", BUSY)
    show.hops([timeline.hops["load raised"]], timeline)
    show.hops(timeline.observe(BUSY), timeline)
    show.tick(replace(BUSY, at=AT + 40), timeline)
    text = stream.getvalue()
    assert "alert firing, 6.0 s after the load was raised" in text
    assert "load raised to 105 requests/s\n" in text
    assert "build 1 ended: NOT_BUILT InCooldown" in text
    assert "p95 812 ms" in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_a_build_that_ended_is_told_once() -> None:
    stream = io.StringIO()
    show = PlainShow(stream)
    show.tick(BUSY, None)
    show.tick(BUSY, None)
    assert stream.getvalue().count("build 1 ended") == 1


def test_sparkline_and_bar_keep_their_width() -> None:
    assert sparkline([1, 2, 4], 6, 4) == "   ▂▄█"
    assert sparkline([9, 1, 2], 2, 2) == "▄█"
    assert sparkline([], 3, 0) == "   "
    assert bar(0.5, 10).plain == "█████░░░░░"
    assert len(bar(7.0, 10).plain) == 10
