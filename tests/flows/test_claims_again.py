"""Claims that are asked twice, after their end, or after what they rest on has changed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.fakes.world import POOL, World
from tests.flows.failing import about_to

from vmscaler.api.site import Site
from vmscaler.flows.steps import Outcome
from vmscaler.ports.errors import NotFound

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def unreconciled() -> World:
    """Ready, and no reconcile looks at anything from now on."""
    world = await about_to()
    assert world.operator is not None
    for task in world.operator.background:
        task.cancel()
    await asyncio.sleep(0)
    return world


async def test_a_build_whose_event_is_over_gets_that_event_and_no_second_vm() -> None:
    """The step client was cut off and asks again, long after: a new operator knows the build by its event alone."""
    world = await about_to()
    await world.build(1)
    await asyncio.sleep(1000)  # no cooldown stands in the way
    world.fires()
    await world.restart()
    ref, build = await world.ref(), await world.build_ref(1)
    (event,) = await world.events()
    answer = await world.step("claim", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.event) == ("succeeded", event.metadata.name)
    for stage in ("allocate", "clone", "verify", "join", "finish"):
        again = await world.step(stage, ref, build)
        assert isinstance(again, Outcome) and (again.state, again.event) == ("succeeded", event.metadata.name)
    claim = (await world.policy()).status.claim
    assert claim is not None and claim.sequence == 1 and claim.active is None
    assert len(await world.events()) == 1 and len(world.vsphere.vms) == 1
    # The same number of another generation of the job is another build.
    other = await world.step("claim", ref, build.model_copy(update={"generation": "older"}))
    assert isinstance(other, Outcome) and (other.state, other.reason) == ("refused", "StaleJob")
    await world.stop()


async def test_an_event_that_is_over_takes_no_claim_of_a_later_one() -> None:
    """All events are looked at when an operator starts."""
    world = await about_to()
    await world.build(1)
    await asyncio.sleep(301)
    ref, build = await world.ref(), await world.build_ref(2)
    await world.step("claim", ref, build)
    before = (await world.policy()).status.claim
    (first, second) = await world.events()
    assert before is not None and before.active is not None and before.active.event == second.metadata.name
    operator = await world.restart()
    operator.queue.wake("ScaleOutEvent", "acme", first.metadata.name)
    await asyncio.sleep(10)
    assert (await world.policy()).status.claim == before
    await world.stop()


async def test_the_cooldown_counts_from_the_events_end_also_if_that_is_seen_late() -> None:
    world = await about_to()
    await world.build(1, stop_before="finish")
    await world.stop()  # between the event's end and the claim's
    (event,) = await world.events()
    ended = world.clock.now().replace(microsecond=0)
    with world._people():
        await world.kube.patch_status(event, {"phase": "Succeeded", "finishedAt": ended.isoformat().replace("+00:00", "Z")})
    await asyncio.sleep(100)
    await world.start()
    await asyncio.sleep(70)
    claim = (await world.policy()).status.claim
    assert claim is not None and claim.active is None and claim.cooldown_until == ended + timedelta(seconds=300)
    await world.stop()


async def test_the_token_of_a_policy_that_was_made_anew_claims_nothing() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    answer = await world.step("claim", ref.model_copy(update={"uid": "an-earlier-one"}), build)
    assert isinstance(answer, NotFound) and answer.reason == "PolicyGone"
    assert await world.events() == []
    await world.stop()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda spec: spec.update(tenants=[]), "TenantCap"),
        (lambda spec: spec["tenants"][0].update(maxInstances=1), "ScaleOut"),
    ],
)
async def test_a_grant_that_was_taken_back_counts_at_once(change: Any, reason: str) -> None:
    world = await unreconciled()
    await world.edit(change, kind=Site, name="default")
    answer = await world.step("claim", await world.ref(), await world.build_ref(1))
    assert isinstance(answer, Outcome) and answer.reason == reason, answer
    await world.stop()


async def test_instances_of_another_site_do_not_count_against_the_cap() -> None:
    world = await about_to()
    await world.build(1)
    (mine,) = await world.instances()
    for number in range(3):
        body = mine.manifest()
        body["metadata"] = {"name": f"elsewhere-{number}", "namespace": "acme", "labels": {}}
        body["spec"]["siteRef"] = {"name": "other"}
        await world.apply(type(mine), body)
    await world.edit(lambda spec: spec["tenants"][0].update(maxInstances=4), kind=Site, name="default")
    await asyncio.sleep(301)
    answer = await world.step("claim", await world.ref(), await world.build_ref(2))
    assert isinstance(answer, Outcome) and answer.reason == "ScaleOut", answer
    await world.stop()


async def test_members_that_people_have_disabled_do_not_serve() -> None:
    world = await World.make(policy=lambda body: body["spec"]["scaling"].update(maxInstances=2))
    await about_to(world)
    refused = await world.step("claim", await world.ref(), await world.build_ref(1))
    assert isinstance(refused, Outcome) and refused.reason == "AtMaximum"
    world.bigip.pools[POOL].members["192.0.2.11:8080"].session = "user-disabled"
    answer = await world.step("claim", await world.ref(), await world.build_ref(2))
    assert isinstance(answer, Outcome) and answer.reason == "ScaleOut", answer
    (event,) = await world.events()
    assert (event.spec.from_instances, event.spec.to_instances) == (1, 2)
    told = [key for key in world.kube.events if "ScaleOut" in repr(key) and event.metadata.name in repr(key)]
    assert len(told) == 1, world.kube.events
    await world.stop()


@pytest.mark.parametrize("type_", ["Granted", "TemplateResolved", "AddressesResolved"])
async def test_what_cannot_be_seen_is_no_yes(type_: str) -> None:
    world = await unreconciled()
    policy = await world.policy()
    conditions = [c.wire() for c in policy.status.conditions]
    for condition in conditions:
        if condition["type"] == type_:
            condition.update(status="Unknown", reason="Unreachable", message="away")
    await world.kube.patch_status(policy, {"conditions": conditions})
    answer = await world.step("claim", await world.ref(), await world.build_ref(1))
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("refused", "PolicyNotReady")
    assert answer.message == f"{type_}: away"
    await world.stop()
