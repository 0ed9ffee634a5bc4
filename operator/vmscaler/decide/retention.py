"""Which scale events have been kept long enough: bounded by count and by age, per policy. Called by flows/resync.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from vmscaler.api.scaleevent import EventPhase, ScaleOutEvent

KEPT_PER_POLICY = 100
ALWAYS_KEPT = 5
"""The newest of a policy stay however old they are."""
LONGEST = timedelta(days=90)


def expired(events: Iterable[ScaleOutEvent], now: datetime) -> list[ScaleOutEvent]:
    """Finished events beyond the newest KEPT_PER_POLICY of their policy, or older than LONGEST. One that runs is never among them."""
    by_policy: dict[str, list[tuple[datetime, ScaleOutEvent]]] = defaultdict(list)
    for event in events:
        finished = event.status.finished_at
        if event.status.phase in (EventPhase.SUCCEEDED, EventPhase.FAILED) and finished is not None:
            by_policy[event.spec.policy_ref.uid].append((finished, event))
    gone = []
    for finished_events in by_policy.values():
        newest_first = sorted(finished_events, key=lambda pair: pair[0], reverse=True)
        for place, (finished, event) in enumerate(newest_first):
            if place >= KEPT_PER_POLICY or (place >= ALWAYS_KEPT and now - finished > LONGEST):
                gone.append(event)
    return gone
