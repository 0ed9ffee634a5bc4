"""The stage `allocate` in detail: what is recorded, whose leases count, and that nothing is handed out on a grant that was not seen."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.samples import sample
from tests.fakes.world import World
from tests.flows.failing import about_to, failed

from vmscaler.api.iplease import IpLease
from vmscaler.api.meta import Json
from vmscaler.api.scaleevent import ActionState
from vmscaler.api.site import Site
from vmscaler.decide import actions
from vmscaler.flows.steps import Outcome
from vmscaler.ports.errors import Retryable

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def claimed() -> World:
    world = await about_to()
    answer = await world.step("claim", await world.ref(), await world.build_ref(1))
    assert getattr(answer, "state", "") == "succeeded"
    return world


async def allocating(world: World) -> asyncio.Task[object]:
    return asyncio.ensure_future(world.step("allocate", await world.ref(), await world.build_ref(1)))


async def test_the_address_is_recorded_wherever_it_is_looked_for() -> None:
    world = await claimed()
    await (await allocating(world))
    (vmi,) = await world.instances()
    (lease,) = await world.leases()
    (event,) = await world.events()
    assert (vmi.status.address, vmi.status.lease) == ("192.0.2.100", "default.frontend.192.0.2.100")
    assert lease.status.since is not None and lease.metadata.labels == {
        "vmscaler.io/site": "default",
        "vmscaler.io/holder-uid": vmi.uid,
    }
    assert (lease.spec.holder.namespace, lease.spec.holder.name, lease.spec.holder.uid) == ("acme", vmi.metadata.name, vmi.uid)
    for name in (actions.ADDRESS, actions.PROBE):
        action = actions.find(event.status.actions, name, vmi.metadata.name)
        assert action is not None and (action.state, action.address) == (ActionState.DONE, "192.0.2.100")
    await world.stop()


async def test_a_spec_that_was_not_looked_at_takes_no_address() -> None:
    """Between the claim and the reconcile of a change: what was granted is not what the policy now says."""
    world = await claimed()
    assert world.operator is not None
    world.operator.background[0].cancel()  # no reconcile
    await asyncio.sleep(0)
    await world.edit(lambda spec: spec["network"]["ipPool"].update(start="192.0.2.200", end="192.0.2.210"))
    step = await allocating(world)
    await asyncio.sleep(30)
    assert not step.done() and await world.instances() == [] and await world.leases() == []
    assert any("is being looked at" in line for line in world.said)
    step.cancel()
    await asyncio.wait([step])
    await world.stop()


async def test_a_grant_that_cannot_be_seen_is_none() -> None:
    world = await claimed()
    world.systems_error = Retryable("kubernetes", "Down", "the API server is away")
    await asyncio.sleep(65)  # the resync looks at the policy
    assert await world.condition("Granted") == ("Unknown", "Down")
    step = await allocating(world)
    await asyncio.sleep(20)
    assert not step.done() and await world.instances() == []
    world.systems_error = None
    await world.step("allocate", await world.ref(), await world.build_ref(1))
    assert [vmi.status.address for vmi in await world.instances()] == ["192.0.2.100"]
    await step
    await world.stop()


async def test_a_network_that_the_site_has_no_more() -> None:
    world = await claimed()
    await world.edit(lambda spec: spec["networks"][0].update(cidr="198.51.100.0/24", gateway=None, reserved=[]), kind=Site, name="default")
    await world.quiet()
    answer = await (await allocating(world))
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "NetworkNotFound")
    assert await world.leases() == []
    await world.stop()


async def test_when_no_address_is_free_the_probe_has_failed() -> None:
    world = await claimed()
    world.probe.pings |= {f"192.0.2.{number}" for number in range(100, 120)}
    await (await allocating(world))
    event = await failed(world, "NoAddressFree", "allocate", leases=0)
    probe = actions.find(event.status.actions, actions.PROBE, event.spec.instances[0])
    assert probe is not None and probe.state == ActionState.FAILED and "20 addresses were asked for" in probe.message


async def test_another_sites_lease_is_none_of_this_sites() -> None:
    """Two data centres may use the same private addresses, and call their networks alike."""

    def other(body: Json) -> None:
        body["metadata"]["name"] = "other"

    world = await World.make()
    await world.apply(Site, sample("site", other))
    holder = {"namespace": "acme", "name": "theirs", "uid": "uid-theirs"}
    spec = {"siteRef": {"name": "other"}, "network": "frontend", "address": "192.0.2.100", "holder": holder}
    meta = {"name": "other.frontend.192.0.2.100", "labels": {"vmscaler.io/site": "other"}}
    await world.apply(IpLease, {"metadata": meta, "spec": spec})
    await about_to(world)
    await world.build(1)
    assert [vmi.status.address for vmi in await world.instances()] == ["192.0.2.100"]
    await world.stop()
