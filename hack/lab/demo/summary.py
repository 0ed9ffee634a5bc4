"""The summary table: what users felt and the VMs did before, during and after. Pure; called by `lab.demo.report`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median

from lab.process import Json


@dataclass(frozen=True)
class Sample:
    """CPU (0-1) of each VM in service, and how many these are, at one moment (epoch, s)."""

    at: float
    cpu: dict[str, float]
    in_service: int


@dataclass(frozen=True)
class Window:
    """A stretch of time (epoch, s) under a heading."""

    title: str
    start: float
    end: float


@dataclass(frozen=True)
class Column:
    """One stretch's figures; rates per second, times in ms (the median of the seconds, and the worst second's p95), CPU 0-1 mean."""

    title: str
    seconds: int
    asked: float
    served: float
    errors_percent: float
    p50: float | None
    p95: float | None
    worst_p95: float | None
    cpu: dict[str, float]
    in_service: int


def column(window: Window, seconds: Sequence[Json], samples: Sequence[Sample]) -> Column:
    """The window's figures. A load second `t` (its beginning, epoch) counts when it lies wholly inside."""
    inside = [s for s in seconds if window.start <= s["t"] and s["t"] + 1 <= window.end]
    seen = [s for s in samples if window.start <= s.at < window.end]
    requests, errors = sum(s["requests"] for s in inside), sum(s["errors"] for s in inside)
    names = list(dict.fromkeys(name for sample in seen for name in sample.cpu))
    p50 = [s["p50"] for s in inside if s["p50"] is not None]
    p95 = [s["p95"] for s in inside if s["p95"] is not None]
    return Column(
        title=window.title,
        seconds=len(inside),
        asked=mean(s["rate"] for s in inside) if inside else 0.0,
        served=(requests - errors) / len(inside) if inside else 0.0,
        errors_percent=100 * errors / requests if requests else 0.0,
        p50=median(p50) if p50 else None,
        p95=median(p95) if p95 else None,
        worst_p95=max(p95, default=None),
        cpu={name: mean(s.cpu[name] for s in seen if name in s.cpu) for name in names},
        in_service=round(median(s.in_service for s in seen)) if seen else 0,
    )


def rows(columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """The table's cells, the heading first."""
    vms = list(dict.fromkeys(name for one in columns for name in one.cpu))

    def ms(value: float | None) -> str:
        return "-" if value is None else f"{value:.0f} ms"

    table = [
        ("", *(one.title for one in columns)),
        ("seconds", *(str(one.seconds) for one in columns)),
        ("load asked", *(f"{one.asked:.0f}/s" for one in columns)),
        ("served", *(f"{one.served:.1f}/s" for one in columns)),
        ("errors", *(f"{one.errors_percent:.1f} %" for one in columns)),
        ("p50", *(ms(one.p50) for one in columns)),
        ("p95", *(ms(one.p95) for one in columns)),
        ("worst p95", *(ms(one.worst_p95) for one in columns)),
    ]
    for name in vms:
        table.append((f"CPU {name}", *(f"{100 * one.cpu[name]:.0f} %" if name in one.cpu else "-" for one in columns)))
    table.append(("VMs in service", *(str(one.in_service) for one in columns)))
    return table
