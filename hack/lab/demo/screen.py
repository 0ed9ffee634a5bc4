"""The demo on one screen of 80x24 and up, redrawn in place; on leaving, the terminal is as it was.

Left what users feel and what the VMs do, right the hops. Called by `lab.demo.command`; `lab.demo.plain` is the other view.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from lab.demo.hops import LABELS, Hop, Timeline
from lab.demo.plain import clean
from lab.demo.snapshot import Snapshot, Vm
from lab.process import Json

MIN_WIDTH, MIN_HEIGHT = 80, 24
_BLOCKS = " ▁▂▃▄▅▆▇█"
_RESULTS = {"SUCCESS": "green", "FAILURE": "red", "ABORTED": "red", "NOT_BUILT": "dim"}


def sparkline(values: Sequence[float], width: int, top: float) -> str:
    """The last `width` values as blocks of a height between 0 and `top`."""
    shown = values[-width:]
    if top <= 0:
        return " " * width
    return "".join(_BLOCKS[min(8, max(0, round(8 * value / top)))] for value in shown).rjust(width)


def bar(share: float, width: int) -> Text:
    """A share (0-1) as a bar; the colour says how near to full."""
    full = min(width, max(0, round(share * width)))
    colour = "green" if share < 0.7 else "yellow" if share < 0.8 else "red"
    return Text("█" * full, colour) + Text("░" * (width - full), "bright_black")


class ScreenShow:
    """A view: `phase`, `hops`, `tick`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._title = ""
        self._now = Snapshot(0.0)
        self._timeline: Timeline | None = None
        self._began: float | None = None
        self._live = Live(console=console, screen=True, auto_refresh=False, transient=True)

    def __enter__(self) -> ScreenShow:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def phase(self, title: str, now: Snapshot) -> None:
        """A new phase of the story."""
        self._title = title
        self.tick(now, self._timeline)

    def hops(self, new: Sequence[Hop], timeline: Timeline) -> None:
        """Hops that were just seen; `tick` draws them."""

    def tick(self, now: Snapshot, timeline: Timeline | None) -> None:
        """Another look."""
        self._began = self._began or now.at
        self._now, self._timeline = now, timeline
        self._live.update(self.render(self._console.width, self._console.height), refresh=True)

    def render(self, width: int, height: int) -> RenderableType:
        """The whole screen for this size."""
        right = min(width - 46, 90) if width >= 110 else 35  # what a hop came of is the longest text there is
        left = width - right
        below = height - 1 - 7 - max(6, 3 + len(self._now.vms)) - 2
        layout = Layout()
        layout.split_column(Layout(self._head(width), name="head", size=1), Layout(name="body"))
        layout["body"].split_row(Layout(name="left"), Layout(self._hops(right), name="hops", size=right))
        layout["left"].split_column(
            Layout(self._users(left), name="users", size=7),
            Layout(self._vms(left), name="vms", size=max(6, 3 + len(self._now.vms))),
            Layout(self._loop(left, below), name="loop"),
        )
        return layout

    def _head(self, width: int) -> Text:
        elapsed = int(self._now.at - (self._began or self._now.at))
        clock = f"{elapsed // 60}:{elapsed % 60:02}  Ctrl-C stops "
        head = Text(f" vmscaler  {self._title}", style="bold")
        head.truncate(width - len(clock) - 1, overflow="ellipsis")
        head.append(" " * (width - head.cell_len - len(clock)))
        head.append(clock, "not bold")
        head.stylize("reverse")
        return head

    def _users(self, width: int) -> Panel:
        seconds = self._now.seconds
        last = seconds[-1] if seconds else {"requests": 0, "errors": 0, "p50": None, "p95": None}
        wide = width - 26
        served = [float(s["requests"] - s["errors"]) for s in seconds]
        errors = [float(s["errors"]) for s in seconds]
        p95 = [float(s["p95"] or 0.0) for s in seconds]
        top = max([*served, self._now.rate, 10.0])
        table = _grid(8, 11, wide)
        table.add_row("asked", f"{self._now.rate:.0f}/s", "")
        table.add_row("served", f"{served[-1] if served else 0:.0f}/s", Text(sparkline(served, wide, top), "green"))
        table.add_row("errors", f"{last['errors']}/s", Text(sparkline(errors, wide, top), "red"))
        table.add_row("p50", _ms(last["p50"]), "")
        table.add_row("p95", _ms(last["p95"]), Text(sparkline(p95, wide, max([*p95, 50.0])), "yellow"))
        return Panel(table, title="users", title_align="left", border_style="blue", padding=(0, 1))

    def _vms(self, width: int) -> Panel:
        name = min(22, max([14, *(len(vm.name) for vm in self._now.vms)]))
        wide = width >= 70
        words = 26 if wide else 12
        bars = max(5, width - name - words - 12)
        table = _grid(name, bars, 5, words)
        for vm in self._now.vms:
            busy = bar(vm.cpu, bars) if vm.phase == "up" else Text(clean(vm.phase).ljust(bars), "dim")
            share = Text(f"{100 * vm.cpu:3.0f} %") if vm.phase == "up" else Text("")
            table.add_row(Text(clean(vm.name)), busy, share, _membership(vm, wide=wide))
        count = sum(vm.in_service for vm in self._now.vms)
        return Panel(table, title=f"VMs, {count} in service: CPU, pool", title_align="left", border_style="blue", padding=(0, 1))

    def _loop(self, width: int, height: int) -> Panel:
        now = self._now
        rows: list[tuple[str, Text]] = [("alert", self._alert()), ("build", self._build())]
        if now.event is not None:
            status = now.event.get("status", {})
            colour = {"Succeeded": "green", "Failed": "red", "RollingBack": "red"}.get(now.phase, "")
            said = f"{now.event['metadata']['name']} {now.phase} {status.get('duration', '')}".rstrip()
            rows.append(("event", Text(clean(said), colour)))
            actions = status.get("actions", [])
            shown = actions if height >= 15 else [a for a in actions if a["state"] == "Started"][-1:]
            rows += [("action", _action(action, width - 14)) for action in shown[-8:]]
        for instance in now.instances:
            phase = instance.get("status", {}).get("phase", "Pending")
            address = instance.get("status", {}).get("address", "")
            rows.append(("vmi", Text(clean(f"{phase} {address}".rstrip()))))
        rows += [("trouble", Text(clean(one), "red")) for one in now.trouble[:2]]
        table = _grid(8, width - 14)
        for label, text in rows:
            table.add_row(label, text)
        return Panel(table, title="loop", title_align="left", border_style="blue", padding=(0, 1))

    def _alert(self) -> Text:
        now = self._now
        if now.alert_since is not None:
            return Text(f"firing for {now.at - now.alert_since:.0f} s", "bold red")
        if now.rule.state != "inactive" and now.rule.since is not None:
            return Text(f"{now.rule.state} for {now.at - now.rule.since:.0f} s", "yellow")
        return Text("inactive", "green")

    def _build(self) -> Text:
        if not self._now.builds:
            return Text("none", "dim")
        running = next((b for b in self._now.builds if b.result is None), None)
        if running is not None:
            return Text(clean(f"#{running.number} stage {running.stage}"), "bold yellow")
        last = max(self._now.builds, key=lambda build: build.number)
        text = Text(f"#{last.number} {last.result}", _RESULTS.get(last.result or "", ""))
        return text.append(clean(f" {last.description}"), "dim") if last.description else text

    def _hops(self, width: int) -> Panel:
        table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
        table.add_column("", width=17, no_wrap=True)
        table.add_column("s", justify="right", width=6)
        table.add_column("since", justify="right", width=7)
        wide = width >= 50
        if wide:
            table.add_column("", ratio=1, no_wrap=True, overflow="ellipsis")
        lines = {line.label: line for line in self._timeline.lines()} if self._timeline else {}
        waiting = False
        labels = self._timeline.labels if self._timeline else LABELS
        for label in (*lines, *(label for label in labels if label not in lines)):  # what was seen, in its own order
            if line := lines.get(label):
                since = f"+{line.since_previous:.1f}" if line.since_raise else ""
                said = [Text(clean(line.detail), "dim")] if wide else []
                table.add_row(Text(f"● {label}", "green"), f"{line.since_raise:.1f}", Text(since, "dim"), *said)
                continue
            first = bool(lines) and not waiting
            waiting = waiting or first
            table.add_row(Text(f"{'◌' if first else '·'} {label}", "bold yellow" if first else "dim"), "", "")
        details = [] if wide else [Text(clean(line.detail), "dim") for line in lines.values() if line.detail][-2:]
        return Panel(
            Group(table, Text(""), *details), title="hops: s since the load rose", title_align="left", border_style="blue", padding=(0, 1)
        )


def _grid(*widths: int) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for width in widths:
        table.add_column(width=width, no_wrap=True, overflow="ellipsis")
    return table


def _action(action: Json, width: int) -> Text:
    colour = {"Done": "green", "Failed": "red"}.get(action["state"], "yellow")
    took = action.get("duration") or "..."
    said = clean(action.get("message", "")) if width >= 50 else ""  # a few letters of it tell nothing
    return Text(f"{clean(action['name']):<12} {took:>4}  ", colour).append(said, "dim")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _membership(vm: Vm, *, wide: bool) -> Text:
    words = f"{vm.session}, {vm.state}" if wide and vm.session else vm.membership
    return Text(clean(words), "green" if vm.in_service else "yellow" if vm.session else "dim")
