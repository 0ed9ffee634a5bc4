"""The hops of the loop and when each happened: pure. Fed with Snapshots by `lab.demo.play`, shown by the views and the report.

Times are those that the systems themselves recorded, where they record them (Prometheus, Alertmanager, Jenkins, the ScaleOutEvent);
the first request on the new VM and the end of the alert are when the demo saw them, about half a second late at most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lab.demo.snapshot import Snapshot
from lab.process import Json

Seen = tuple[float, str] | None
Hops = tuple[tuple[str, Callable[[Snapshot], Seen]], ...]


@dataclass(frozen=True)
class Hop:
    """One hop that happened: `at` epoch, s."""

    label: str
    at: float
    detail: str = ""


@dataclass(frozen=True)
class Line:
    """A hop as it is shown: seconds since the load was raised, and since the hop before."""

    label: str
    since_raise: float
    since_previous: float
    detail: str


def moment(text: object) -> float | None:
    """Epoch seconds of an RFC 3339 time; None of anything else."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def _action(event: Json | None, *names: str) -> tuple[float, str] | None:
    """When the last of these actions was done (all must be), and what came of it."""
    done: dict[str, tuple[float, str]] = {}
    for action in (event or {}).get("status", {}).get("actions", []):
        if action["name"] in names and action["state"] == "Done" and (at := moment(action.get("finishedAt"))):
            done[action["name"]] = (at, action.get("message", ""))
    return max(done.values(), key=lambda one: one[0]) if len(done) == len(names) else None


def _pending(now: Snapshot) -> Seen:
    return (now.rule.since, f"CPU in use {now.rule.value:.0f} %" if now.rule.value is not None else "") if now.rule.since else None


def _firing(now: Snapshot) -> Seen:
    return (now.alert_since, "Alertmanager calls the service's job") if now.alert_since else None


def _build(now: Snapshot) -> Seen:
    number = (now.event or {}).get("spec", {}).get("build", {}).get("number")
    wanted = [b for b in now.builds if number is None or b.number == number]
    first = min(wanted, key=lambda build: build.number, default=None)
    return (first.started, f"build {first.number}") if first else None


def _claim(now: Snapshot) -> Seen:
    if now.event is None:
        return None
    spec = now.event["spec"]
    at = moment(now.event.get("status", {}).get("startedAt"))  # creationTimestamp has whole seconds only
    return (at, f"{now.event['metadata']['name']}: {spec['fromInstances']} to {spec['toInstances']} instances") if at else None


def _first_request(now: Snapshot) -> Seen:
    vm = now.new_vm
    return (now.at, f"{vm.name} at {vm.address}") if vm is not None and vm.served > 0 else None


def _relief(now: Snapshot) -> str:
    busy = [vm.cpu for vm in now.vms if vm.in_service]
    return f"CPU in use {100 * sum(busy) / len(busy):.0f} % on {len(busy)} VMs" if busy else ""


def _failed(now: Snapshot) -> Seen:
    status = (now.event or {}).get("status", {})
    at = moment(status.get("rollback", {}).get("startedAt"))
    return (at, f"{status.get('failedStage')}: {status.get('reason')}: {status.get('message')}") if at else None


def _rolled_back(now: Snapshot) -> Seen:
    rollback = (now.event or {}).get("status", {}).get("rollback", {})
    at = moment(rollback.get("finishedAt"))
    return (at, rollback.get("message", "")) if at else None


HOPS: Hops = (
    ("rule pending", _pending),
    ("alert firing", _firing),
    ("build started", _build),
    ("claim", _claim),
    ("address", lambda now: _action(now.event, "address", "probe")),
    ("VM cloned", lambda now: _action(now.event, "vm-creation")),
    ("booted, healthy", lambda now: _action(now.event, "boot", "health")),
    ("in the pool", lambda now: _action(now.event, "f5-pool-add")),
    ("first request", _first_request),
)
RAISED, RESOLVED = "load raised", "alert resolved"
LABELS = (RAISED, *(label for label, _ in HOPS), RESOLVED)


def failing_after(last: str) -> Hops:
    """The hops of a scale-out that fails after the hop `last`: up to that, then its end. No alert is waited for."""
    reached = [label for label, _ in HOPS].index(last) + 1
    return (*HOPS[:reached], ("stage failed", _failed), ("rolled back", _rolled_back))


class Timeline:
    """Collects the hops of one run of the loop."""

    def __init__(self, raised: float, detail: str = "", hops: Hops = HOPS) -> None:
        """`raised`: when the load was raised (epoch, s); `detail`: to what."""
        self.raised = raised
        self._looks = hops
        self.labels = (RAISED, *(label for label, _ in hops), *([RESOLVED] if hops is HOPS else []))
        self.hops: dict[str, Hop] = {RAISED: Hop(RAISED, raised, detail)}

    def observe(self, now: Snapshot) -> list[Hop]:
        """The hops that this look shows for the first time; what is older than the raised load is another story."""
        new = []
        for label, look in self._looks:
            if label not in self.hops and (seen := look(now)) is not None and seen[0] >= self.raised - 1:
                new.append(Hop(label, max(seen[0], self.raised), seen[1]))
        # An alert that came back is not resolved: what counts is the end of the last one that was active.
        if (
            RESOLVED in self.labels
            and "alert firing" in self.hops
            and now.alert_since is None
            and not now.trouble
            and now.rule.state != "firing"
        ):
            if RESOLVED not in self.hops:
                new.append(Hop(RESOLVED, now.at, _relief(now)))
        elif now.alert_since is not None:
            self.hops.pop(RESOLVED, None)
        for hop in new:
            self.hops[hop.label] = hop
        return sorted(new, key=lambda hop: hop.at)

    def at(self, label: str) -> float | None:
        """When it happened (epoch, s)."""
        found = self.hops.get(label)
        return found.at if found else None

    def missing(self) -> str | None:
        """The first hop that has not happened."""
        return next((label for label in self.labels if label not in self.hops), None)

    def lines(self) -> list[Line]:
        """In order of time."""
        lines, previous = [], self.raised
        for hop in sorted(self.hops.values(), key=lambda one: (one.at, self.labels.index(one.label))):
            lines.append(Line(hop.label, hop.at - self.raised, hop.at - previous, hop.detail))
            previous = hop.at
        return lines
