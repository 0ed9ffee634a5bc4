"""The sign of life that an operator process leaves: its Lease. Pure; read by adapters/kube/lease.py, judged by decide/standing.py."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Heartbeat:
    """The operator's Lease: who holds it (empty: it was given back), when it was renewed, and for how long that holds."""

    holder: str
    renewed: datetime | None
    duration: timedelta

    def runs(self, now: datetime) -> bool:
        """Whether an operator renews it. Two hosts' clocks may differ, so a late one has twice its time and some seconds."""
        return bool(self.holder) and self.renewed is not None and now - self.renewed <= 2 * self.duration + timedelta(seconds=10)
