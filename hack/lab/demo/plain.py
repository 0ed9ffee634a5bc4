"""The demo as plain lines: each hop when it happens, and every few seconds how things stand. For pipes, logs and small terminals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from lab.demo.hops import Hop, Line, Timeline
from lab.demo.snapshot import Snapshot

_EVERY = 5.0


def clean(text: str) -> str:
    """What came from outside cannot move the cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)


def state_line(now: Snapshot) -> str:
    """How things stand, in one line."""
    last = now.seconds[-1] if now.seconds else None
    felt = "no load yet"
    if last is not None:
        p95 = "-" if last["p95"] is None else f"{last['p95']:.0f} ms"
        felt = f"{now.rate:.0f}/s asked, {last['requests'] - last['errors']} served, {last['errors']} errors, p95 {p95}"
    vms = ", ".join(f"{vm.name} {100 * vm.cpu:.0f}{'' if vm.in_service else f' ({vm.membership})'}" for vm in now.vms)
    return f"{felt}; CPU %: {vms}"


class PlainShow:
    """One of the two views; see `lab.demo.screen` for the other."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began: float | None = None
        self._last_state = 0.0
        self._builds: dict[int, str | None] = {}

    def __enter__(self) -> PlainShow:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put back."""

    def phase(self, title: str, now: Snapshot) -> None:
        """A new phase of the story."""
        self._line(now.at, f"== {title}")
        self._last_state = now.at - _EVERY / 2

    def hops(self, new: Sequence[Hop], timeline: Timeline) -> None:
        """Hops that were just seen."""
        lines: dict[str, Line] = {line.label: line for line in timeline.lines()}
        for hop in new:
            line = lines[hop.label]
            after = f", {line.since_raise:.1f} s after the load was raised: " if line.since_raise else " "
            self._line(hop.at, f"{hop.label}{after}{hop.detail}".rstrip(": "))

    def tick(self, now: Snapshot, timeline: Timeline | None) -> None:
        """Another look."""
        if self._began is None:
            self._began = now.at
        for build in reversed(now.builds):
            if build.result is not None and self._builds.get(build.number) is None:
                self._line(now.at, f"build {build.number} ended: {build.result} {build.description}".rstrip())
            self._builds[build.number] = build.result
        if now.at - self._last_state >= _EVERY:
            self._state(now)

    def _state(self, now: Snapshot) -> None:
        self._last_state = now.at
        self._line(now.at, state_line(now))

    def _line(self, at: float, text: str) -> None:
        if self._began is None:
            self._began = at
        print(f"{max(0.0, at - self._began):6.1f} s  {clean(text)}", file=self._stream, flush=True)
