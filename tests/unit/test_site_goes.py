"""Deletion of a Site: held while it is used, and its two entries in prometheus.yml go with it."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.monitoring_hosts import PROMETHEUS_YML
from tests.fakes.samples import sample
from tests.fakes.world import World

from vmscaler.api.meta import Condition
from vmscaler.api.site import Site

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def wired() -> tuple[World, bytes]:
    """A policy that is Ready, and prometheus.yml as people wrote it."""
    world = await World.make()
    original = world.hosts.files[PROMETHEUS_YML]
    await world.start()
    await world.ready()
    assert world.hosts.files[PROMETHEUS_YML] != original
    return world, original


async def sites(world: World) -> list[Site]:
    return await world.kube.list_objects(Site)


async def ready(world: World) -> Condition:
    (site,) = await sites(world)
    return next(condition for condition in site.status.conditions if condition.type == "Ready")


async def test_is_held_by_what_uses_it_and_then_leaves_every_byte() -> None:
    world, original = await wired()
    (site,) = await sites(world)
    await world.delete(site)
    await asyncio.sleep(30)
    held = await ready(world)
    assert (held.status, held.reason) == ("False", "InUse")
    assert "policy acme/web: delete those first" in held.message
    await world.delete(await world.policy())

    async def gone() -> bool:
        return not await sites(world)

    assert world.forgotten == []
    await world.until("the Site is gone", gone, 5)  # the policy's removal wakes it
    assert world.forgotten == ["default"]  # its clients would stay logged in for as long as the operator runs
    assert world.hosts.files[PROMETHEUS_YML] == original
    await world.stop()


async def test_says_why_its_entries_cannot_be_taken_out() -> None:
    world, original = await wired()
    await world.delete(await world.policy())
    await asyncio.sleep(30)
    world.hosts.down = True
    (site,) = await sites(world)
    await world.delete(site)
    await asyncio.sleep(30)
    held = await ready(world)
    assert (held.status, held.reason) == ("False", "Unreachable")
    assert "entries in prometheus.yml stay" in held.message
    world.hosts.down = False
    await asyncio.sleep(30)
    assert not await sites(world)
    assert world.hosts.files[PROMETHEUS_YML] == original
    await world.stop()


async def test_another_site_on_the_same_file_keeps_the_entries() -> None:
    world, original = await wired()
    world.hosts.host = "prom-1"
    (site,) = await sites(world)
    other = sample("site")
    other["metadata"]["name"] = "other"
    await world.apply(Site, other)
    await world.delete(await world.policy())
    await asyncio.sleep(30)
    await world.delete(site)
    await asyncio.sleep(30)
    (left,) = await sites(world)
    assert left.metadata.name == "other"
    assert world.hosts.files[PROMETHEUS_YML] != original
    await world.delete(left)
    await asyncio.sleep(30)
    assert not await sites(world)
    assert world.hosts.files[PROMETHEUS_YML] == original
    await world.stop()


async def test_one_whose_prometheus_never_answered_can_go() -> None:
    world = await World.make()
    world.prometheus.down = world.hosts.down = True
    await world.delete(await world.policy())
    await world.start()
    await asyncio.sleep(30)
    (site,) = await sites(world)
    await world.delete(site)
    await asyncio.sleep(30)
    assert not await sites(world)
    await world.stop()
