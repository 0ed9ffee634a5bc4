"""A network gets another name in its Site: the leases of before keep the old one, and their addresses are theirs."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.world import World
from tests.flows.failing import about_to

from vmscaler.api.iplease import LeasePhase
from vmscaler.api.meta import Json
from vmscaler.api.site import Site

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


def renamed(spec: Json) -> None:
    spec["networks"][0]["name"] = "front"
    for tenant in spec["tenants"]:
        for grant in tenant["networks"]:
            grant["name"] = "front"


async def test_an_address_at_rest_rests_under_either_name() -> None:
    world = await about_to(await World.make())
    await world.build(1)
    (vmi,) = await world.instances()
    await world.delete(vmi)
    await world.quiet()
    await world.edit(renamed, kind=Site, name="default")
    await asyncio.sleep(240)
    (lease,) = await world.leases()
    assert lease.status.phase == LeasePhase.QUARANTINED and await world.condition("Ready") == ("True", "AllReady")
    await world.build(2)
    (vmi,) = await world.instances()
    assert (vmi.status.address, vmi.status.lease) == ("192.0.2.101", "default.front.192.0.2.101")
    await world.stop()
