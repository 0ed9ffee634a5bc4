"""The brake on mass deletion: `kubectl delete -f crds/`, a pruned folder, a namespace gone by mistake. Asked before a clean-up begins.

One VM that a person deletes goes at once. Where many go that no decision of ours names, somebody deleted the records, and
perhaps did not mean the VMs: they stay as they are until an administrator says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, DeletionPolicy
from vmscaler.api.scaleevent import EventPhase, ScaleOutEvent
from vmscaler.api.vminstance import VmInstance
from vmscaler.decide.conditions import find

FEW = 3
"""So many instances of one Site may be under deletion at a time without being asked about."""
GATHER = timedelta(seconds=3)
"""A deletion of many comes one by one: so long after its deletion an instance is looked at for the first time."""
ANNOTATION, CONFIRMED = "vmscaler.io/removal", "confirmed"


@dataclass(frozen=True)
class Hold:
    """Why the clean-up does not begin, and in how many seconds to look again."""

    reason: str
    message: str
    after: float


def held(
    vmi: VmInstance,
    terminating: Sequence[VmInstance],
    *,
    events: Iterable[ScaleOutEvent],
    policies: Iterable[AutoscalingPolicy],
    now: datetime,
) -> Hold | None:
    """None where the clean-up of `vmi` may begin. `terminating` are the Site's instances under deletion, `vmi` among them."""
    rolled_back = _rolled_back(events)
    if _confirmed(vmi) or rolled_back(vmi):
        return None
    deleted = vmi.metadata.deletion_timestamp
    if deleted is not None and now < deleted + GATHER:
        return Hold("Gathering", "looking whether it is one of many", (deleted + GATHER - now).total_seconds())
    site, before = vmi.spec.site_ref.name, find(vmi.status.conditions, c.REMOVED)
    destroyed = _destroyed(policies, terminating)
    if destroyed(vmi):
        return None
    unasked = [other for other in terminating if not (_confirmed(other) or rolled_back(other) or destroyed(other))]
    # Held once, held until confirmed: else the last few of many would go when the others are settled.
    if len(unasked) <= FEW and not (before is not None and before.reason == "MassDeletion"):
        return None
    message = (
        f"{len(unasked)} instances of Site {site} are being deleted, more than the {FEW} that go without asking: VM, member and address"
        f" stay as they are. If the VMs are to be destroyed: kubectl annotate vmi -n {vmi.metadata.namespace} {vmi.metadata.name}"
        f" {ANNOTATION}={CONFIRMED}. If not: docs/operations.md, A brake on mass deletion"
    )
    return Hold("MassDeletion", message, 30.0)


def _confirmed(vmi: VmInstance) -> bool:
    return vmi.metadata.annotations.get(ANNOTATION) == CONFIRMED


def _rolled_back(events: Iterable[ScaleOutEvent]) -> Callable[[VmInstance], bool]:
    """Whether an instance's event failed: it goes by our own decision, and at once."""
    failed = {
        (event.metadata.namespace, event.metadata.name)
        for event in events
        if event.status.phase in (EventPhase.ROLLING_BACK, EventPhase.FAILED)
    }
    return lambda vmi: (vmi.metadata.namespace, vmi.spec.event_ref.name) in failed


def _destroyed(policies: Iterable[AutoscalingPolicy], terminating: Sequence[VmInstance]) -> Callable[[VmInstance], bool]:
    """Whether an instance goes with its policy (`deletionPolicy: Destroy`).

    We delete one of a policy at a time: where several go at once somebody else deleted them, as `kubectl delete -f crds/` does with policies and
    instances alike.
    """
    going = Counter(vmi.spec.policy_ref.uid for vmi in terminating)
    destroying = {policy.uid for policy in policies if policy.deleting and policy.spec.deletion_policy == DeletionPolicy.DESTROY}
    return lambda vmi: vmi.spec.policy_ref.uid in destroying and going[vmi.spec.policy_ref.uid] == 1
