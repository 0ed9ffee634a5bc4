"""How far a Go build is, and how that is shown: a bar on a terminal, else a plain line now and then.

Called by `lab.gobuild` and `lab.gotoolchain`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_PLAIN_EVERY = 10.0


@dataclass(frozen=True)
class Step:
    """What is going on. `total` is 0 while it is not known; `done` counts modules fetched or packages compiled."""

    doing: str
    done: int = 0
    total: int = 0


class BuildProgress:
    """Counts the lines of `go list` and `go build -v`; knows nothing of processes or screens."""

    def __init__(self) -> None:
        self._modules = 0
        self._expected: frozenset[str] = frozenset()
        self._compiled: set[str] = set()

    def step(self, doing: str) -> Step:
        """The present count under another heading."""
        return Step(doing, len(self._compiled), len(self._expected))

    def fetched(self, line: str) -> Step:
        """A line of stderr of `go list`, which downloads what is missing."""
        if line.startswith("go: downloading "):
            self._modules += 1
        return Step("downloading modules", self._modules) if self._modules else Step("looking at packages")

    def expect(self, packages: Collection[str]) -> None:
        """The packages that are not in Go's own cache (`.Stale`): the build will name each of them once."""
        self._expected = frozenset(packages)

    def compiled(self, line: str) -> Step:
        """A line of stderr of `go build -v`: the import path of a package that it begins; other lines do not count."""
        if line in self._expected:
            self._compiled.add(line)
        linking = bool(self._expected) and len(self._compiled) == len(self._expected)
        return self.step("linking" if linking else "compiling")


class PlainLines:
    """One line when the heading changes and about every 10 s; `clock` gives seconds."""

    def __init__(self, name: str, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self._last: tuple[str, float] | None = None

    def __call__(self, step: Step) -> None:
        """Write the step, if it is time to."""
        now = self._clock()
        if self._last is not None and self._last[0] == step.doing and now - self._last[1] < _PLAIN_EVERY:
            return
        self._last = (step.doing, now)
        count = f" {step.done}/{step.total}" if step.total else f" {step.done}" if step.done else ""
        print(f"building {self._name}: {step.doing}{count} ({now - self._began:.0f} s)", file=self._stream, flush=True)


@contextlib.contextmanager
def show(name: str, stream: TextIO | None = None) -> Iterator[Callable[[Step], None]]:
    """The default report: nothing at all until there is something to wait for, so that a cached build is silent."""
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield PlainLines(name, stream)
        return
    with contextlib.ExitStack() as stack:
        bar = Progress(
            TextColumn("building {task.fields[name]}: {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=stream),
            transient=True,
        )
        task = bar.add_task("", start=True, total=None, visible=False, name=name)

        def report(step: Step) -> None:
            if not bar.live.is_started:
                stack.enter_context(bar)
            bar.update(task, description=step.doing, completed=step.done, total=step.total or None, visible=True)

        yield report
