"""Guarantee 1: the operator dies at every single write, and what was begun is finished once or undone wholly.

A death after write N leaves the same world as one before write N+1, so each run dies after its Nth write (and one before the first).
The operator is then started anew over the same systems and the build's step is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.fakes.world import World
from tests.fakes.world_snapshot import snapshot

from vmscaler.api.iplease import LeasePhase
from vmscaler.api.meta import Json
from vmscaler.api.scaleevent import EventPhase

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

Scenario = Callable[[World], Awaitable[None]]
MOST_WRITES = 80


async def provisioned(world: World) -> None:
    await world.start()
    await world.ready()
    world.fires()


async def at_every_write(world: World, run: Scenario, check: Scenario, *, every: int = 1, first: int = 0) -> int:
    """Let the operator die at each write of `run` in turn (or every third, from `first` on), from the same beginning each time. Returns
    how many writes there are."""
    await world.stop()
    again = snapshot(world)
    wrong: list[str] = []
    for number in range(first, MOST_WRITES, every):
        again()
        world.effects.crash_at, world.effects.crash_after = max(number, 1), number > 0
        await world.start()
        died_at = "no write"
        try:
            await run(world)
            if world.crashes:
                died_at = f"{'after' if number else 'before'} write {max(number, 1)}: {world.effects.calls[max(number, 1) - 1]}"
            await world.quiet()
            await check(world)
        except AssertionError as error:
            wrong.append(f"died {died_at}\n    {str(error).splitlines()[0] if str(error) else error!r}")
        over = world.crashes == 0
        await world.stop()
        if over:
            assert not wrong, "\n".join([f"{len(wrong)} of {number} deaths did harm:", *wrong])
            return number - 1
    raise AssertionError(f"more than {MOST_WRITES} writes")


async def one_of_each(world: World) -> None:
    (event,) = await world.events()
    assert event.status.phase == EventPhase.SUCCEEDED, (event.status.phase, event.status.reason, event.status.message)
    assert all(action.state.value == "Done" for action in event.status.actions), event.status.actions
    instances, leases = await world.instances(), await world.leases()
    assert [i.status.phase.value for i in instances] == ["InService"]
    assert [(lease.spec.address, lease.status.phase.value) for lease in leases] == [("192.0.2.100", "Leased")]
    assert all(lease.status.since for lease in leases)
    assert [vm.name for vm in world.vsphere.vms.values()] == [instances[0].metadata.name]
    assert world.members() == ["192.0.2.100:8080"]
    assert all(task.state != "running" for task in world.vsphere.tasks.values())
    claim = (await world.policy()).status.claim
    assert claim is not None and claim.active is None and claim.sequence == 1 and claim.failures == 0
    assert b"192.0.2.100" in world.hosts.files["/etc/prometheus/vmscaler/targets/vmscaler-acme.web.json"]


async def one_of_each_saved(world: World) -> None:
    await one_of_each(world)
    assert not world.bigip.unsaved, "a reboot of the BIG-IP would disable the member"


async def nothing_left(world: World, *, rest: bool = True) -> None:
    assert await world.instances() == []
    assert world.vsphere.vms == {} and world.members() == [] and world.nodes() == set()
    assert not world.bigip.unsaved, "a reboot of the BIG-IP would bring the member or its node back"
    assert all(lease.status.phase == LeasePhase.QUARANTINED for lease in await world.leases())
    assert len(await world.leases()) <= int(rest)
    claim = (await world.policy()).status.claim
    assert claim is not None and claim.active is None
    assert b"192.0.2.100" not in world.hosts.files["/etc/prometheus/vmscaler/targets/vmscaler-acme.web.json"]


async def test_scale_out() -> None:
    async def run(world: World) -> None:
        await world.build(1)

    world = await World.make()
    await provisioned(world)
    writes = await at_every_write(world, run, one_of_each_saved)
    assert writes >= 30


async def test_an_operator_that_dies_at_every_write() -> None:
    """Each process gets one write done, or none: the scale-out ends all the same."""
    for turn in (0, 1):
        world = await World.make()
        await provisioned(world)
        await world.stop()
        world.effects.calls.clear()
        start = world.start

        async def dying(world: World = world, start: Callable[[], Awaitable[object]] = start, turn: int = turn) -> object:
            world.effects.crash_at = len(world.effects.calls) + 1
            # By turns: a write that is lost, and one that is done but not known of.
            world.effects.crash_after = (world.crashes + turn) % 2 == 1
            return await start()

        world.start = dying  # type: ignore[method-assign, assignment]
        await world.build(1)
        assert 60 < world.crashes < 300
        world.start = start  # type: ignore[method-assign]
        world.effects.crash_at = None
        await world.restart()
        await world.quiet()
        await one_of_each(world)
        await world.stop()


async def test_clean_up_of_an_instance() -> None:
    async def run(world: World) -> None:
        (vmi,) = await world.instances()
        await world.delete(vmi)

        async def gone() -> bool:
            return not await world.instances()

        await world.until("the instance is gone", gone)

    world = await World.make()
    await provisioned(world)
    await world.build(1)
    await world.quiet()
    writes = await at_every_write(world, run, nothing_left)
    assert writes >= 8


@pytest.mark.parametrize(("failure", "first"), [("clone", 0), ("boot", 1), ("member", 2)])
async def test_a_failed_scale_out(failure: str, first: int) -> None:
    """The three share most of their writes, so that each takes every third of them."""

    async def run(world: World) -> None:
        world.vsphere.clone_fault = "NoDiskSpace" if failure == "clone" else None
        world.vsphere.boots = failure != "boot"
        world.comes_up = failure != "member"
        await world.build(1)

    async def check(world: World) -> None:
        (event,) = await world.events()
        assert event.status.phase == EventPhase.FAILED and event.status.rollback is not None
        reason = {"clone": "CloneFailed", "boot": "NeverBooted", "member": "JoinTimeout"}[failure]
        assert event.status.reason == reason, (event.status.reason, event.status.message)
        await nothing_left(world)

    def impatient(policy: Json) -> None:
        policy["spec"]["timeouts"] = {"boot": "20s", "member": "15s"}

    world = await World.make(policy=impatient)
    await provisioned(world)
    await at_every_write(world, run, check, every=3, first=first)


async def test_provisioning_and_removal() -> None:
    async def run(world: World) -> None:
        await world.until("ready", lambda: ready(world))

    async def ready(world: World) -> bool:
        return (await world.condition("Ready"))[0] == "True"

    async def check(world: World) -> None:
        assert sorted(world.jenkins.jobs) == ["autoscale-acme-web"] and len(world.jenkins.credentials) == 2
        assert len(world.kube.secrets) == 1
        (secret,) = world.kube.secrets.values()
        assert set(world.jenkins.credentials.values()) == set(secret.data.values())
        assert world.hosts.files["/etc/alertmanager/vmscaler/tokens/vmscaler-acme.web.token"].decode() == secret.data["hookToken"]

    world = await World.make()
    people = dict(world.hosts.files)
    await at_every_write(world, run, check)

    async def remove(world: World) -> None:
        await world.delete(await world.policy())

        async def gone() -> bool:
            return not any(kind == "AutoscalingPolicy" for kind, _, _ in world.kube.objects)

        await world.until("the policy is gone", gone)

    async def removed(world: World) -> None:
        assert world.jenkins.jobs == {} and world.jenkins.credentials == {} and world.kube.secrets == {}
        assert world.hosts.files["/etc/alertmanager/alertmanager.yml"] == people["/etc/alertmanager/alertmanager.yml"]
        assert not [path for path in world.hosts.files if "acme.web" in path]

    await world.start()
    await world.ready()
    await at_every_write(world, remove, removed)
    await asyncio.sleep(0)
