"""The story: load as usual, load raised until the loop is closed, load as usual again. Called by `lab.demo.command`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.attached import Attached
from lab.demo import checks
from lab.demo.checks import Check
from lab.demo.faults import Fault, left_over
from lab.demo.hops import HOPS, RESOLVED, Hop, Timeline, failing_after
from lab.demo.snapshot import Snapshot
from lab.demo.summary import Column, Window, column
from lab.demo.watch import NAMESPACE, POLICY, POOL, Watch
from lab.kubectl import KubectlError
from lab.process import Json, PartError
from vmscaler.decide.names import receiver


class Show(Protocol):
    """A view of the story."""

    def phase(self, title: str, now: Snapshot) -> None:
        """A new phase."""

    def hops(self, new: Sequence[Hop], timeline: Timeline) -> None:
        """Hops that were just seen."""

    def tick(self, now: Snapshot, timeline: Timeline | None) -> None:
        """Another look."""


@dataclass(frozen=True)
class Plot:
    """Requests a second, and seconds; `hop_deadline` bounds the wait for each hop. With a `fault` the scale-out is to fail."""

    usual: float = 40.0
    raised: float = 105.0
    before: float = 12.0
    spread: float = 12.0
    after: float = 10.0
    hop_deadline: float = 90.0
    fault: Fault | None = None


@dataclass(frozen=True)
class Outcome:
    """What the story came to."""

    columns: list[Column]
    timeline: Timeline
    checks: list[Check]
    event: Json | None
    last: Snapshot


async def play(lab: Attached, watch: Watch, show: Show, plot: Plot) -> Outcome:
    """Play it. What went wrong with the product is a failed check, not an exception; PartError when the lab itself fails."""
    story = _Story(watch, show)
    windows: list[Window] = []

    await lab.rate(plot.usual)
    await watch.next()
    start = await story.phase(f"before: {plot.usual:.0f} requests/s as usual", plot.before)
    windows.append(Window("before", start + 2, watch.now.at))  # the first seconds warm everything up

    few = sum(vm.in_service for vm in watch.now.vms)
    fault = plot.fault
    if fault is not None:
        watch.first_event = True
        await lab.control(fault.part, "PUT", "/faults", fault.faults)
    await lab.rate(plot.raised)
    raised = watch.now.at
    hops = HOPS if fault is None else failing_after(fault.last_hop)
    timeline = story.timeline = Timeline(raised, f"to {plot.raised:.0f} requests/s", hops)
    show.phase(f"during: load raised to {plot.raised:.0f} requests/s{f'; {fault.says}' if fault else ''}", watch.now)
    show.hops([timeline.hops["load raised"]], timeline)
    stuck = await story.closed(plot)
    joined = timeline.at("first request") or watch.now.at
    windows.append(Window(f"during, {few} VMs", raised, joined))
    if timeline.at("first request") is not None:
        while watch.now.at < joined + plot.spread:
            await story.look()
        many = sum(vm.in_service for vm in watch.now.vms)
        windows.append(Window(f"during, {many} VMs", joined, watch.now.at))
    story.over = True  # an alert that ends because the load was lowered proves nothing

    await lab.rate(plot.usual)
    start = await story.phase(f"after: {plot.usual:.0f} requests/s again", plot.after)
    windows.append(Window("after", start + 2, watch.now.at))
    judged = await (_judged(lab, timeline, watch.now, stuck) if fault is None else _judged_failed(lab, fault, watch.now, stuck))
    if fault is not None:
        await lab.control(fault.part, "PUT", "/faults", {})
    return Outcome(
        columns=[column(window, watch.seconds, watch.samples) for window in windows],
        timeline=timeline,
        checks=judged,
        event=watch.now.event,
        last=watch.now,
    )


class _Story:
    def __init__(self, watch: Watch, show: Show) -> None:
        self._watch, self._show = watch, show
        self.timeline: Timeline | None = None
        self.over = False

    async def look(self) -> Snapshot:
        """Another look, shown."""
        now = await self._watch.next()
        if self.timeline is not None and not self.over and (new := self.timeline.observe(now)):
            self._show.hops(new, self.timeline)
        self._show.tick(now, self.timeline)
        return now

    async def phase(self, title: str, seconds: float) -> float:
        """A phase that only lasts; when it began (epoch, s)."""
        start = self._watch.now.at
        self._show.phase(title, self._watch.now)
        while self._watch.now.at < start + seconds:
            await self.look()
        return start

    async def closed(self, plot: Plot) -> str | None:
        """Until the event is over and every hop was seen; else what was waited for in vain."""
        assert self.timeline is not None
        known, last_step = len(self.timeline.hops), self._watch.now.at
        while True:
            now = await self.look()
            wanted, other = ("Succeeded", "Failed") if plot.fault is None else ("Failed", "Succeeded")
            if now.phase == other:
                return f"the scale-out {other.lower()}"
            waiting = self.timeline.missing() or (None if now.phase == wanted else "the event's end")
            if waiting is None:
                return None
            if len(self.timeline.hops) != known:
                known, last_step = len(self.timeline.hops), now.at
            elif now.at - last_step > plot.hop_deadline:
                trouble = f" ({'; '.join(now.trouble)})" if now.trouble else ""
                return f"waited {plot.hop_deadline:.0f} s in vain for: {waiting}{trouble}"


async def _judged(lab: Attached, timeline: Timeline, now: Snapshot, stuck: str | None) -> list[Check]:
    own: Json | None = None
    if (vm := now.new_vm) is not None:
        try:
            own = await lab.get_json(f"http://{vm.address}:8080/stats")
        except PartError:
            own = None
    resolved = timeline.at(RESOLVED)
    found = [] if stuck is None else [Check("every hop was seen", False, stuck)]
    found += [
        checks.event_succeeded(now.event),
        checks.served(own),
        checks.resolved(None if resolved is None else resolved - timeline.raised),
    ]
    return found + await _people(lab)


async def _judged_failed(lab: Attached, fault: Fault, now: Snapshot, stuck: str | None) -> list[Check]:
    left: list[str] | None = None
    if now.event is not None:
        try:
            left = await left_over(lab, now.event, POOL)
        except (PartError, KubectlError):
            left = None
    found = [] if stuck is None else [Check("every hop was seen", False, stuck)]
    found += [
        checks.event_failed(now.event, fault.stage, fault.reason),
        checks.nothing_left(left),
        checks.people_serve(now.vms, [instance["spec"]["vmName"] for instance in now.instances]),
    ]
    return found + await _people(lab)


async def _people(lab: Attached) -> list[Check]:
    """What people wrote in the two files."""
    monitoring = lab.state["monitoring"]
    found = []
    ours = {
        "prometheus.yml": ("prometheus", str(Path(monitoring["prometheus"]["rulesDir"]) / "vmscaler-*.yml")),
        "alertmanager.yml": ("alertmanager", receiver(NAMESPACE, POLICY)),
    }
    for file, (part, name) in ours.items():
        original = await asyncio.to_thread((lab.home.people / file).read_bytes)
        current = await asyncio.to_thread(Path(monitoring[part]["configFile"]).read_bytes)
        found.append(checks.people(file, original, current, name))
    return found
