"""What a namespace writes into its own policies keeps no other namespace from anything."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fakes.samples import sample
from tests.fakes.world import World

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.site import Tenant
from vmscaler.decide.grants import job_of_another

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]
Json = dict[str, Any]


async def another(world: World, namespace: str) -> None:
    """An older policy (all were made in the same second, and it comes first by name) that wants the same range."""

    def change(body: Json) -> None:
        body["metadata"].update(namespace=namespace, name="web")

    await world.apply(AutoscalingPolicy, sample("autoscalingpolicy", change))


async def test_a_range_that_is_not_granted_is_kept_from_nobody() -> None:
    world = await World.make()
    await another(world, "aaa-granted-nothing")
    await world.start()
    await world.ready()
    await world.stop()


async def test_a_range_that_is_granted_is() -> None:
    def grant(body: Json) -> None:
        body["spec"]["tenants"].append({**body["spec"]["tenants"][0], "namespaces": ["aaa-granted"]})

    world = await World.make(site=grant)
    await another(world, "aaa-granted")
    await world.start()

    async def refused() -> bool:
        return await world.condition("AddressesResolved") == ("False", "RangeOverlaps")

    await world.until("the younger one is told", refused)
    await world.stop()


async def test_the_names_that_anothers_jobs_get_are_not_to_be_had() -> None:
    a, b = Tenant(namespaces=["a"]), Tenant(namespaces=["shop", "a-b"])
    for job, reason in (
        ("autoscale-shop-web", "JobNameNotGranted"),
        ("autoscale-a-web", None),
        ("autoscale-a-b-web", None),  # also what its own service b-web is called: the second is refused, whoever it is
        ("autoscale-nightly", None),
        ("autoscale-shopping", None),
    ):
        refusal = job_of_another(job, "a", a, [a, b])
        assert (refusal.reason if refusal else None) == reason, job
