"""What every benchmark prints: a small table, or JSON with `--json`. Medians over interleaved repetitions, ratios to a base arm.

report = Report("splice", base="splice")
for _ in range(repeat): report.add("splice", {"CPU s": 1.2}); report.add("ruamel", {"CPU s": 3.4})
sys.exit(report.finish())
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Sample = dict[str, float]


class Report:
    """Samples by arm. `ratios` names the figures that are also shown as a multiple of the base arm's."""

    def __init__(self, title: str, *, base: str, ratios: Sequence[str], options: argparse.Namespace) -> None:
        self.title = title
        self._base, self._ratios, self._options = base, tuple(ratios), options
        self._runs: dict[str, list[Sample]] = {}
        self.notes: list[str] = []
        self.broken: list[str] = []
        """What must hold and did not: the exit status is 1 then."""

    def add(self, arm: str, sample: Sample) -> None:
        """One repetition of one arm."""
        self._runs.setdefault(arm, []).append(sample)

    def must(self, holds: bool, said: str) -> None:
        """Something that is no matter of speed."""
        if not holds:
            self.broken.append(said)

    def medians(self) -> dict[str, Sample]:
        """By arm, over its repetitions."""
        return {
            arm: {name: statistics.median(run[name] for run in runs if name in run) for name in _names(runs)}
            for arm, runs in self._runs.items()
        }

    def ratios(self) -> dict[str, Sample]:
        """By arm: its median as a multiple of the base arm's, where both have the figure and the base's is not 0."""
        medians = self.medians()
        base = medians[self._base]
        return {
            arm: {name: one[name] / base[name] for name in self._ratios if name in one and base.get(name)}
            for arm, one in medians.items()
            if arm != self._base
        }

    def finish(self) -> int:
        """Print it; the exit status."""
        if self._options.json:
            sys.stdout.write(json.dumps(self._data(), indent=2) + "\n")
        else:
            self._print(Console(file=sys.stdout, width=None if sys.stdout.isatty() else 150, highlight=False))
        return 1 if self.broken else 0

    def _data(self) -> dict[str, Any]:
        return {
            "bench": self.title,
            "options": {key: value for key, value in vars(self._options).items() if key != "json"},
            "machine": machine(),
            "medians": self.medians(),
            "ratios": {"to": self._base, **self.ratios()},
            "runs": self._runs,
            "notes": self.notes,
            "broken": self.broken,
        }

    def _print(self, console: Console) -> None:
        medians, ratios = self.medians(), self.ratios()
        names = _names([sample for runs in self._runs.values() for sample in runs])
        repeats = max(len(runs) for runs in self._runs.values())
        what = f"{self.title}: medians of {repeats}, in brackets as a multiple of {self._base}" if repeats > 1 else f"{self.title}: one run"
        table = Table(title=what, title_justify="left", box=None, padding=(0, 2, 0, 0))
        table.add_column("")
        for name in names:
            table.add_column(name, justify="right")
        for arm, sample in medians.items():
            table.add_row(arm, *(_cell(sample.get(name), ratios.get(arm, {}).get(name)) for name in names))
        console.print(table)
        for note in self.notes:
            console.print(f"  {note}")
        for said in self.broken:
            console.print(f"  BROKEN: {said}", style="red")


def _names(runs: Sequence[Sample]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run))


def _cell(value: float | None, ratio: float | None) -> str:
    if value is None:
        return "-"
    text = f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"
    return f"{text} ({ratio:.2g}x)" if ratio is not None and ratio < 100 else f"{text} ({ratio:.0f}x)" if ratio is not None else text


def machine() -> dict[str, float | int | str]:
    """Enough to read the absolute figures with the right doubt."""
    return {"cores": os.cpu_count() or 0, "load": round(os.getloadavg()[0], 1), "python": sys.version.split()[0]}


def arguments(what: str | None, **numbers: tuple[int, str]) -> argparse.ArgumentParser:
    """A parser with --json, --repeat and these numbers (default, help)."""
    parser = argparse.ArgumentParser(description=(what or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    for name, (default, said) in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{said} (default {default})")
    return parser
