"""Claims that are answered no: nothing is made, and the reason is kept for `vmscaler explain`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.world import POOL, World

from vmscaler.api.autoscalingpolicy import BuildRef
from vmscaler.api.meta import Json
from vmscaler.api.site import Site
from vmscaler.decide.explain import decision_rows, event_rows
from vmscaler.decide.standing import Seen, headline
from vmscaler.flows.steps import Outcome
from vmscaler.ports.errors import Retryable

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def ready(**changes: Callable[[Json], None]) -> World:
    world = await World.provisioned(**changes)
    world.fires()
    return world


async def refused(world: World, build: BuildRef) -> str:
    answer = await world.step("claim", await world.ref(), build)
    assert isinstance(answer, Outcome) and answer.state == "refused", answer
    assert answer.message and answer.event is None
    claim = (await world.policy()).status.claim
    assert claim is not None and claim.decisions[0].reason == answer.reason and claim.decisions[0].build.number == build.number
    shown = "\n".join(" ".join(row) for row in decision_rows(claim.decisions, world.clock.now()))
    assert answer.reason in shown and answer.message in shown
    return answer.reason


def setting(path: str, value: Any) -> Callable[[Json], None]:
    def change(spec: Json) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            spec = spec.setdefault(parent, {})
        spec[last] = value

    return change


async def test_a_second_alert_while_one_runs() -> None:
    world = await ready()
    ref = await world.ref()
    first, second = await world.build_ref(1), await world.build_ref(2)
    assert getattr(await world.step("claim", ref, first), "state", "") == "succeeded"
    assert await refused(world, second) == "AlreadyRunning"
    assert len(await world.events()) == 1
    await world.stop()


async def test_within_the_cooldown_and_after_it() -> None:
    world = await ready()
    await world.build(1)
    assert await refused(world, await world.build_ref(2)) == "Cooldown"
    await asyncio.sleep(301)
    answers = await world.build(3)
    assert all(getattr(a, "state", "") == "succeeded" for a in answers)
    assert sorted(e.metadata.name[-2:] for e in await world.events()) == ["-1", "-2"]
    await asyncio.sleep(301)
    assert await refused(world, await world.build_ref(4)) == "AtMaximum"  # 2 of people's and 2 of ours
    assert len(world.vsphere.vms) == 2
    await world.stop()


@pytest.mark.parametrize(("mode", "reason"), [("Off", "ModeOff"), ("Observe", "Observing")])
async def test_modes(mode: str, reason: str) -> None:
    world = await ready()
    await world.edit(setting("mode", mode))
    await world.quiet()
    assert await refused(world, await world.build_ref(1)) == reason
    assert await world.events() == [] and await world.instances() == []
    claim = (await world.policy()).status.claim
    assert claim is not None and claim.cooldown_until is None and claim.sequence == 0  # Observe eats no cooldown
    assert f": {reason}: mode is {mode}" in headline(Seen(await world.policy(), world.clock.now()))
    await world.stop()


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (lambda w: w.fires(False), "AlertNotFiring"),
        (lambda w: w.fires(suppressed=True), "AlertNotFiring"),
        (lambda w: setattr(w.alertmanager, "down", True), "AlertUnseen"),
        (lambda w: w.bigip.fail("pool", Retryable("bigip", "Down", "503"), times=None), "PoolUnseen"),
        (lambda w: w.vsphere.down(), "InventoryUnseen"),
        (lambda w: setattr(w, "systems_error", Retryable("kubernetes", "Down", "the API server is away")), "AlertUnseen"),
    ],
)
async def test_what_cannot_be_seen_or_does_not_fire(trouble: Callable[[World], Any], reason: str) -> None:
    world = await ready()
    trouble(world)
    assert await refused(world, await world.build_ref(1)) == reason
    assert world.vsphere.orders == []
    await world.stop()


async def test_vcenter_is_asked_by_no_claim_that_is_refused_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await ready()
    asked: list[str] = []

    async def about() -> str:
        asked.append("about")
        return "VMware vCenter Server 8.0.3"

    monkeypatch.setattr(world.vsphere, "about", about)
    world.fires(False)
    assert await refused(world, await world.build_ref(1)) == "AlertNotFiring"
    assert not asked
    world.fires(True)
    assert getattr(await world.step("claim", await world.ref(), await world.build_ref(2)), "state", "") == "succeeded"
    assert asked == ["about"]
    await world.stop()


async def test_an_alert_of_another_policy_is_none_of_ours() -> None:
    world = await ready()
    world.alertmanager.alerts[0].labels["vmscaler_policy"] = "acme/web2"  # type: ignore[index]
    assert await refused(world, await world.build_ref(1)) == "AlertNotFiring"
    await world.stop()


async def test_an_alert_that_people_raise_of_a_vm_of_ours_is_no_demand() -> None:
    """The VM's series have the policy's label, and so has each alert on them: only our rules add the site's."""
    world = await ready()
    labels = world.alertmanager.alerts[0].labels
    labels["alertname"] = "MachineDown"  # type: ignore[index]
    del labels["vmscaler_site"]  # type: ignore[attr-defined]
    assert await refused(world, await world.build_ref(1)) == "AlertNotFiring"
    await world.stop()


async def test_a_build_of_an_old_job_or_of_a_copy() -> None:
    world = await ready()
    now = await world.build_ref(1)
    assert await refused(world, now.model_copy(update={"generation": "older"})) == "StaleJob"
    assert await refused(world, now.model_copy(update={"job": "copy-of-it"})) == "OtherJob"
    await world.stop()


async def test_the_tenants_cap_counts_all_its_policies() -> None:
    world = await ready()
    await world.edit(lambda spec: spec["tenants"][0].update(maxInstances=4), kind=Site, name="default")
    await world.quiet()
    await world.build(1)
    for number in range(3):  # three of another policy of the namespace
        (mine,) = [v for v in await world.instances() if v.metadata.name.startswith("web-")]
        body = mine.manifest()
        body["metadata"] = {"name": f"other-{number}", "namespace": "acme", "labels": {}}
        await world.apply(type(mine), body)
    await asyncio.sleep(301)
    assert await refused(world, await world.build_ref(2)) == "TenantCap"
    await world.stop()


async def test_a_policy_that_is_not_ready() -> None:
    world = await ready()
    build = await world.build_ref(1)
    del world.bigip.pools[POOL]
    await world.quiet()
    assert await refused(world, build) in ("PolicyNotReady", "PoolUnseen")
    await world.stop()


async def test_a_spec_that_was_not_looked_at_yet() -> None:
    world = await ready()
    build = await world.build_ref(1)
    await world.stop()
    await world.edit(setting("f5.poolName", "/Common/somebody-elses"))
    operator = await world.start()
    for task in operator.background:
        task.cancel()  # before its first reconcile
    answer = await world.step("claim", await world.ref(), build)
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("refused", "PolicyNotReady")
    assert "was not looked at yet" in answer.message
    await world.stop()


async def test_a_storm_of_hooks_writes_little() -> None:
    world = await ready()
    world.fires(False)
    ref = await world.ref()
    before = len(world.effects.calls)
    for number in range(1, 40):
        await world.step("claim", ref, await world.build_ref(number))
    patches = [c for c in world.effects.calls[before:] if c[1] == "autoscalingpolicy.status.patch"]
    assert len(patches) == 1
    await asyncio.sleep(61)
    await world.step("claim", ref, await world.build_ref(41))
    claim = (await world.policy()).status.claim
    assert claim is not None and [d.count for d in claim.decisions] == [2] and claim.decisions[0].build.number == 41
    await world.stop()


HOSTILE = '\x1b[31m${jndi:x}</script>"} or vector(1) #\u202e\ud800\r\nX-Evil: 1' + "A" * 100_000


async def test_hostile_words_of_an_alert_are_cut_and_plain() -> None:
    world = await ready()
    world.fires(value=HOSTILE, summary=HOSTILE)
    world.alertmanager.alerts[0].labels["alertname"] = HOSTILE  # type: ignore[index]
    answers = await world.build(1)
    assert all(getattr(a, "state", "") == "succeeded" for a in answers)
    (event,) = await world.events()
    cause = event.spec.cause
    assert (len(cause.alert), len(cause.value), len(cause.summary)) == (128, 64, 512)
    for text in (cause.alert, cause.value, cause.summary):
        assert text.isprintable()
        text.encode()
    assert all(cell.isprintable() for row in event_rows([event], world.clock.now()) for cell in row)
    for content in world.hosts.files.values():
        assert b"X-Evil" not in content
    await world.stop()


async def test_a_failure_backs_off_and_a_success_forgets_it() -> None:
    world = await ready()
    world.vsphere.clone_fault = "NoDiskSpace"
    waits = []
    for number in range(1, 7):
        await world.build(number)
        claim = (await world.policy()).status.claim
        assert claim is not None and claim.cooldown_until is not None and claim.failures == number
        waits.append(round((claim.cooldown_until - world.clock.now()).total_seconds()))
        assert await refused(world, await world.build_ref(100 + number)) == "BackingOff"
        await asyncio.sleep(waits[-1] + 1)
    assert waits == [30, 60, 120, 240, 300, 300]
    world.vsphere.clone_fault = None
    await world.build(50)
    claim = (await world.policy()).status.claim
    assert claim is not None and claim.failures == 0 and claim.cooldown_reason == "Success"
    await world.stop()
