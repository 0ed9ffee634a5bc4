"""A failure at each stage ends in a Failed event with stage and cause, and with nothing left but a resting address."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.world import POOL, World
from tests.flows.failing import about_to, failed

from vmscaler.api.iplease import IpLease
from vmscaler.api.meta import Json
from vmscaler.api.scaleevent import EventPhase
from vmscaler.api.site import Site
from vmscaler.flows.steps import Outcome
from vmscaler.ports.bigip import SYSTEM
from vmscaler.ports.errors import Rejected, Retryable

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def test_no_address_is_free() -> None:
    world = await about_to()
    world.probe.pings |= {f"192.0.2.{number}" for number in range(100, 120)}
    answers = await world.build(1)
    assert [getattr(a, "state", "") for a in answers] == ["succeeded", "failed", "succeeded"]
    event = await failed(world, "NoAddressFree", "allocate", leases=0)
    assert "widen spec.network.ipPool" in event.status.message


@pytest.mark.parametrize(
    ("break_it", "reason", "stage"),
    [
        (lambda w: setattr(w.vsphere, "clone_fault", "NoDiskSpace"), "CloneFailed", "clone"),
        (lambda w: setattr(w.vsphere, "clone_seconds", 90.0), "CloneTimeout", "clone"),
        (lambda w: setattr(w.vsphere, "boots", False), "NeverBooted", "verify"),
        (lambda w: setattr(w, "healthy", False), "Unhealthy", "verify"),
        (lambda w: setattr(w, "comes_up", False), "JoinTimeout", "join"),
    ],
)
async def test_a_stage_fails(break_it: Callable[[World], Any], reason: str, stage: str) -> None:
    world = await about_to()
    break_it(world)
    await world.build(1)
    await failed(world, reason, stage, leases=1)


async def test_the_big_ip_is_away_for_the_whole_join_and_comes_back() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.build(1, stop_before="join")
    away = Retryable(SYSTEM, "ServiceUnavailable", "the BIG-IP answers 503")
    for method in ("pool", "member", "add_member", "set_member", "remove_member", "remove_node", "current_connections", "virtual_servers"):
        world.bigip.fail(method, away, times=None)
    answer = await world.step("join", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "JoinTimeout")
    assert "503" in answer.message
    rollback = asyncio.ensure_future(world.step("rollback", ref, build))
    await asyncio.sleep(30)
    assert not rollback.done()
    (event,) = await world.events()
    assert event.status.phase == EventPhase.ROLLING_BACK
    assert len(world.vsphere.vms) == 1  # not destroyed while it may be in a pool
    world.bigip.heal()
    done = await rollback
    assert isinstance(done, Outcome) and done.state == "succeeded"
    await failed(world, "JoinTimeout", "join", leases=1)


async def test_a_pool_that_has_lost_its_monitor() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.build(1, stop_before="join")
    world.bigip.pools[POOL].monitor = ""
    answer = await world.step("join", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "MemberUnmonitored")
    await failed(world, "MemberUnmonitored", "join", leases=1)


async def test_a_member_may_be_unchecked_until_its_first_check() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.build(1, stop_before="join")
    world.bigip.health["192.0.2.100:8080"] = "unchecked"
    joined = asyncio.ensure_future(world.step("join", ref, build))
    await asyncio.sleep(10)
    assert not joined.done()
    world.bigip.health["192.0.2.100:8080"] = "up"
    answer = await joined
    assert isinstance(answer, Outcome) and answer.state == "succeeded", answer
    await world.stop()


async def test_an_answer_lost_after_the_member_was_made() -> None:
    world = await about_to()
    world.bigip.fail("add_member", Retryable(SYSTEM, "TimedOut", "no answer"), after_effect=True)
    world.bigip.fail("set_member", Retryable(SYSTEM, "TimedOut", "no answer"), after_effect=True)
    answers = await world.build(1)
    assert all(getattr(answer, "state", "") == "succeeded" for answer in answers)
    assert world.members() == ["192.0.2.100:8080"]
    await world.stop()


async def test_a_vm_of_that_name_that_is_not_ours_is_left_alone() -> None:
    world = await about_to()
    folder = "/DC0/vm/vmscaler/acme/web"
    world.vsphere.folders.add(folder)
    ref, build = await world.ref(), await world.build_ref(1)
    await world.step("claim", ref, build)
    await world.step("allocate", ref, build)
    theirs = world.vsphere.add(folder, (await world.instances())[0].metadata.name)
    answer = await world.step("clone", ref, build)
    assert isinstance(answer, Outcome) and answer.reason == "NameTaken"
    await world.step("rollback", ref, build)
    await world.quiet()
    assert list(world.vsphere.vms) == [theirs.mo_ref] and await world.instances() == []
    await world.stop()


async def test_a_clone_that_somebody_renamed_is_not_made_twice_and_is_cleaned_up() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.step("claim", ref, build)
    await world.step("allocate", ref, build)
    world.vsphere.cloned = lambda vm: setattr(vm, "name", "renamed")
    answer = await world.step("clone", ref, build)
    assert isinstance(answer, Outcome) and answer.reason == "VmVanished", answer
    await failed(world, "VmVanished", "clone", leases=1)
    assert len(world.vsphere.orders) == 1


async def test_a_secret_that_is_gone_is_the_cause_that_is_told() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.step("claim", ref, build)
    await world.step("allocate", ref, build)
    world.systems_error = Rejected("kubernetes", "SecretNotFound", "there is no Secret 'vcenter-credentials': create it")
    answer = await world.step("clone", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "SecretNotFound")
    world.systems_error = None
    await world.step("rollback", ref, build)
    await failed(world, "SecretNotFound", "clone", leases=0)


async def test_a_spec_changed_after_the_claim_to_what_is_not_granted_takes_no_address() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.step("claim", ref, build)

    def elsewhere(spec: Json) -> None:
        spec["network"]["ipPool"] |= {"start": "192.0.2.200", "end": "192.0.2.210"}

    await world.edit(elsewhere)
    answer = await world.step("allocate", ref, build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "RangeNotGranted"), answer
    await failed(world, "RangeNotGranted", "allocate", leases=0)


async def test_the_probe_that_could_not_ask_is_no_free_address() -> None:
    world = await about_to()
    world.probe.fail("icmp", Retryable("network", "ProbeFailed", "no route"))
    answers = await world.build(1)
    assert getattr(answers[1], "reason", "") == "AllocationTimeout"
    assert await world.leases() == []
    world.probe.heal()
    await failed(world, "AllocationTimeout", "allocate", leases=0)


async def test_addresses_in_use_are_skipped() -> None:
    world = await World.make(site=lambda body: body["spec"]["networks"][0].update(dnsServers=["192.0.2.104"], reserved=["192.0.2.105"]))
    world.probe.listens("192.0.2.100", 22)
    world.probe.pings.add("192.0.2.101")
    world.vsphere.in_use["192.0.2.102"] = "somebodys-vm"
    world.bigip.put_virtual("/Common/vs-other", "192.0.2.103", 80, POOL)
    await about_to(world)
    await world.build(1)
    (lease,) = await world.leases()
    assert lease.spec.address == "192.0.2.106"
    shown = "\n".join(world.said)
    assert "192.0.2.100 is in use by a listener on TCP port 22" in shown and "192.0.2.101 is in use by a host" in shown
    assert "somebodys-vm" in shown
    await world.stop()


async def test_an_address_that_somebody_takes_meanwhile_is_skipped() -> None:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    holder = {"namespace": "acme", "name": "other", "uid": "uid-other"}
    spec = {"siteRef": {"name": "default"}, "network": "frontend", "address": "192.0.2.100", "holder": holder}
    # It is in no list yet, as one is that is made between the look and the try.
    await world.apply(IpLease, {"metadata": {"name": "default.frontend.192.0.2.100"}, "spec": spec})
    await world.step("claim", ref, build)
    await world.step("allocate", ref, build)
    assert [v.status.address for v in await world.instances()] == ["192.0.2.101"]
    await world.stop()


async def test_a_site_in_use_cannot_go() -> None:
    world = await about_to()
    await world.build(1)
    await world.delete(await world.kube.get(Site, "default"))
    await world.quiet()
    site = await world.kube.get(Site, "default")
    ready = next(c for c in site.status.conditions if c.type == "Ready")
    assert (ready.status.value, ready.reason) == ("False", "InUse") and "policy acme/web" in ready.message
    await world.stop()
