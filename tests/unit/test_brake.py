"""When the clean-up of an instance may begin (decide/brake.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fakes.policies import policy as made_policy

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, DeletionPolicy
from vmscaler.api.meta import FINALIZER, ConditionStatus, Json, NameRef, ObjectMeta, PolicyRef
from vmscaler.api.scaleevent import BuildRef, Cause, EventPhase, ScaleEventSpec, ScaleEventStatus, ScaleOutEvent
from vmscaler.api.vminstance import VmInstance
from vmscaler.decide.brake import FEW, GATHER, held
from vmscaler.decide.conditions import set_condition
from vmscaler.flows.brake import brake
from vmscaler.ports.errors import Retryable

DELETED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = DELETED + GATHER


def instance(number: int, *, policy: str = "policy-uid", **meta: Json) -> VmInstance:
    name = f"web-1-{number}"
    return VmInstance.parse(
        {
            "metadata": {"name": name, "namespace": "acme", "deletionTimestamp": DELETED.isoformat(), **meta},
            "spec": {
                "policyRef": {"namespace": "acme", "name": "web", "uid": policy},
                "siteRef": {"name": "default"},
                "eventRef": {"name": f"web-{number}"},
                "installation": "sample",
                "service": "web",
                "vmName": name,
                "template": {"inventoryPath": "/DC0/vm/templates/tmpl-web", "moRef": "vm-1"},
                "placement": {"folder": "/DC0/vm/vmscaler/acme/web"},
                "network": {
                    "name": "frontend",
                    "portGroup": "frontend",
                    "cidr": "192.0.2.0/24",
                    "start": "192.0.2.100",
                    "end": "192.0.2.119",
                },
                "pool": {"name": "/Common/pool-web", "memberPort": 8080, "healthCheckPath": "/"},
                "metrics": {"prometheusJob": "acme-web", "port": 9100},
            },
            "status": {},
        }
    )


def event(number: int, phase: EventPhase) -> ScaleOutEvent:
    spec = ScaleEventSpec(
        policy_ref=PolicyRef(namespace="acme", name="web", uid="policy-uid"),
        site_ref=NameRef(name="default"),
        sequence=number,
        from_instances=2,
        to_instances=3,
        cause=Cause(alert="VmscalerHighCpu"),
        build=BuildRef(job="autoscale-acme-web", generation="1", number=number, url="https://jenkins.example.org/job/x/1/"),
        instances=[f"web-1-{number}"],
    )
    return ScaleOutEvent(metadata=ObjectMeta(name=f"web-{number}", namespace="acme"), spec=spec, status=ScaleEventStatus(phase=phase))


def reason(
    vmi: VmInstance, terminating: list[VmInstance], *, now: datetime = LATER, events: list[ScaleOutEvent] | None = None
) -> str | None:
    hold = held(vmi, terminating, events=events or [], policies=list[AutoscalingPolicy](), now=now)
    return hold.reason if hold is not None else None


@pytest.mark.parametrize(("many", "wanted"), [(1, None), (FEW, None), (FEW + 1, "MassDeletion"), (40, "MassDeletion")])
def test_a_few_go_and_many_are_held(many: int, wanted: str | None) -> None:
    terminating = [instance(number) for number in range(many)]
    assert [reason(vmi, terminating) for vmi in terminating] == [wanted] * many


def test_it_waits_until_it_can_tell_one_from_many() -> None:
    vmi = instance(1)
    hold = held(vmi, [vmi], events=[], policies=[], now=LATER - timedelta(seconds=1))
    assert hold is not None and (hold.reason, hold.after) == ("Gathering", 1.0)
    assert reason(vmi, [vmi]) is None


def test_what_was_held_is_held_until_it_is_confirmed() -> None:
    vmi = instance(1)
    conditions = set_condition([], c.REMOVED, ConditionStatus.FALSE, "MassDeletion", "held", now=DELETED)
    before = vmi.model_copy(update={"status": vmi.status.model_copy(update={"conditions": conditions})})
    assert reason(before, [before]) == "MassDeletion"
    confirmed = instance(1, annotations={"vmscaler.io/removal": "confirmed"})
    confirmed = confirmed.model_copy(update={"status": before.status})
    assert reason(confirmed, [confirmed], now=DELETED) is None
    assert reason(instance(1, annotations={"vmscaler.io/removal": "yes"}), [before] * (FEW + 1)) == "MassDeletion"


def test_confirmed_and_decided_ones_are_not_counted() -> None:
    others = [instance(number) for number in range(FEW)]
    confirmed = instance(7, annotations={"vmscaler.io/removal": "confirmed"})
    rolled_back = instance(8)
    events = [event(8, EventPhase.ROLLING_BACK), *(event(number, EventPhase.SUCCEEDED) for number in range(FEW))]
    assert reason(others[0], [*others, confirmed, rolled_back], events=events) is None
    assert reason(others[0], [*others, confirmed, rolled_back]) == "MassDeletion"


@pytest.mark.parametrize(
    ("phase", "wanted"),
    [
        (EventPhase.ROLLING_BACK, None),
        (EventPhase.FAILED, None),
        (EventPhase.SUCCEEDED, "MassDeletion"),
        (EventPhase.RUNNING, "MassDeletion"),
    ],
)
def test_a_rollback_is_a_decision_and_goes_at_once(phase: EventPhase, wanted: str | None) -> None:
    vmi = instance(9)
    terminating = [vmi, *(instance(number) for number in range(FEW))]
    assert reason(vmi, terminating, events=[event(9, phase)]) == wanted
    assert wanted or reason(vmi, terminating, events=[event(9, phase)], now=DELETED) is None


@pytest.mark.parametrize(
    ("deleting", "deletion_policy", "wanted"),
    [(True, "Destroy", None), (False, "Destroy", "MassDeletion"), (True, "Retain", "MassDeletion"), (False, "Retain", "MassDeletion")],
)
def test_a_policy_that_goes_with_its_instances_is_a_decision_and_one_that_stays_is_none(
    deleting: bool, deletion_policy: str, wanted: str | None
) -> None:
    policy = made_policy()
    spec = policy.spec.model_copy(update={"deletion_policy": DeletionPolicy(deletion_policy)})
    meta = policy.metadata.model_copy(update={"uid": "policy-uid", "deletion_timestamp": DELETED if deleting else None})
    policy = policy.model_copy(update={"spec": spec, "metadata": meta})
    one, others = instance(0), [instance(number, policy="another-uid") for number in range(FEW)]
    hold = held(one, [one, *others], events=[], policies=[policy], now=LATER)
    assert (hold.reason if hold is not None else None) == wanted
    assert reason(others[0], [one, *others]) == "MassDeletion"
    hold = held(others[0], [one, *others], events=[], policies=[policy], now=LATER)
    assert (hold.reason if hold is not None else None) == wanted, "one that was decided on does not count"
    hold = held(one, [one], events=[], policies=[policy], now=LATER - timedelta(seconds=1))
    assert hold is not None and hold.reason == "Gathering", "first it is seen whether somebody deletes them all"
    many = [instance(number) for number in range(FEW + 1)]
    hold = held(many[0], many, events=[], policies=[policy], now=LATER)
    assert hold is not None and hold.reason == "MassDeletion", "we delete one at a time: somebody else did this"
    others = [instance(number, policy="another-uid") for number in range(FEW + 1)]
    hold = held(others[0], others, events=[], policies=[policy], now=LATER)
    assert hold is not None and hold.reason == "MassDeletion", "another policy's"


def test_one_that_was_only_looked_at_is_not_held() -> None:
    vmi = instance(1)
    conditions = set_condition([], c.REMOVED, ConditionStatus.FALSE, "Gathering", "looking", now=DELETED)
    before = vmi.model_copy(update={"status": vmi.status.model_copy(update={"conditions": conditions})})
    assert reason(before, [before]) is None


@pytest.mark.parametrize("finalizers", [[FINALIZER], ["example.org/theirs"], []])
async def test_those_that_we_have_cleaned_up_are_not_counted(finalizers: list[Json]) -> None:
    many = [instance(number, finalizers=[FINALIZER]) for number in range(FEW)] + [instance(9, finalizers=finalizers)]

    async def list_objects(kind: type) -> list[VmInstance]:
        return many if kind is VmInstance else []

    ctx: Any = SimpleNamespace(kube=SimpleNamespace(list_objects=list_objects), clock=SimpleNamespace(now=lambda: LATER))
    if FINALIZER in finalizers:
        with pytest.raises(Retryable, match="4 instances of Site default") as refused:
            await brake(ctx, many[0])
        assert refused.value.reason == "MassDeletion"
    else:
        await brake(ctx, many[0])
