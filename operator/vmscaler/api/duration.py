"""Go-style durations ("300s", "5m", "1h30m", "500ms"), as users of Prometheus and Kubernetes write them."""

from __future__ import annotations

import re
from datetime import timedelta

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse(text: str) -> timedelta:
    """Parse a Go-style duration. Raises ValueError with what is allowed."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write it like 90s, 5m or 1h30m (units ms, s, m, h)")
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))


def prometheus(text: str) -> str:
    """The same duration in Prometheus' form (whole milliseconds, no fractions): "1.5m" becomes "90s"."""
    milliseconds = round(parse(text) / timedelta(milliseconds=1))
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def human(span: timedelta) -> str:
    """For people: "42s", "3m07s", "1h02m"."""
    seconds = max(0, round(span.total_seconds()))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
