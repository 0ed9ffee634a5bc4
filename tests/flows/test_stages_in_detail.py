"""What each stage of a scale-out does when the systems answer in a way that is rare: it waits, goes on, or says what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.flow_vsphere import FlowVm
from tests.fakes.world import POOL, World
from tests.flows.failing import about_to, failed

from vmscaler.decide.marks import marks
from vmscaler.flows.steps import Outcome
from vmscaler.ports.errors import Retryable
from vmscaler.ports.vsphere import CloneOrder

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


async def up_to(*stages: str) -> tuple[World, Callable[[str], Any]]:
    world = await about_to()
    ref, build = await world.ref(), await world.build_ref(1)
    for stage in stages:
        answer = await world.step(stage, ref, build)
        assert getattr(answer, "state", "") == "succeeded", answer
    return world, lambda stage: world.step(stage, ref, build)


async def test_each_stage_leaves_the_instance_in_its_phase() -> None:
    world, step = await up_to("claim")
    phases = []
    for stage in ("allocate", "clone", "verify", "join"):
        await step(stage)
        phases.append((await world.instances())[0].status.phase.value)
    assert phases == ["Pending", "Booting", "Joining", "InService"]
    vm = (await world.instances())[0].status.vm
    assert vm is not None and (vm.started, vm.vcenter, vm.task) == (True, "vcenter-1", None)
    assert (vm.mo_ref, vm.instance_uuid) == (vm.mo_ref, f"uuid-{vm.mo_ref}") and vm.mo_ref in world.vsphere.vms
    await world.stop()


async def test_a_clone_that_does_not_run_is_powered_on() -> None:
    world, step = await up_to("claim", "allocate")
    world.vsphere.cloned = lambda vm: setattr(vm, "powered_on", False)
    assert getattr(await step("clone"), "state", "") == "succeeded"
    (vm,) = world.vsphere.vms.values()
    assert vm.powered_on and world.effects.operations.count("vsphere vm.power-on") == 1
    assert getattr(await step("verify"), "state", "") == "succeeded"
    await world.stop()


async def test_an_order_whose_task_was_never_written_down_is_waited_for() -> None:
    """The operator died between the order and the note of its task: the clone is under way, and seen by its name at its end only."""
    world, step = await up_to("claim", "allocate")
    (vmi,) = await world.instances()
    folder = vmi.spec.placement.folder
    world.vsphere.folders.add(folder)
    await world.kube.patch_status(vmi, {"vm": {"started": True, "vcenter": "vcenter-1"}})
    order = CloneOrder(
        template_mo_ref="vm-1",
        folder=folder,
        name=vmi.spec.vm_name,
        port_group="vlan-web",
        address="192.0.2.100",
        prefix_length=24,
        gateway="192.0.2.1",
        dns_servers=(),
        domain=None,
        hostname=vmi.spec.vm_name,
        guestinfo=marks(vmi, "192.0.2.100"),
        resource_pool=None,
        datastore=None,
        customization=None,
    )
    await world.vsphere.clone(order)
    assert getattr(await step("clone"), "state", "") == "succeeded"
    assert len(world.vsphere.orders) == 1 and len(world.vsphere.vms) == 1
    assert any("clones of the template run that may be" in line for line in world.said)
    await world.stop()


async def test_an_order_whose_answer_was_lost_is_waited_for() -> None:
    """By the very process that gave it. A second one would be a second clone of the disk, and end as DuplicateName at best."""
    world, step = await up_to("claim", "allocate")
    order, world.vsphere.clone_seconds = world.vsphere.clone, 40.0

    async def lost(wanted: CloneOrder) -> str:
        await order(wanted)
        raise Retryable("vsphere", "Timeout", "no answer")

    world.vsphere.clone = lost  # type: ignore[method-assign]
    assert getattr(await step("clone"), "state", "") == "succeeded"
    assert len(world.vsphere.orders) == 1 and len(world.vsphere.vms) == 1
    await world.stop()


async def test_an_order_that_could_not_be_noted_is_waited_for() -> None:
    """The API server was away at that moment."""
    world, step = await up_to("claim", "allocate")
    patch, world.vsphere.clone_seconds = world.kube.patch_status, 40.0

    async def away(obj: Any, status: Any, *, expect: str | None = None) -> Any:
        if status.get("vm", {}).get("task") is not None:
            world.kube.patch_status = patch  # type: ignore[method-assign]
            raise Retryable("kubernetes", "Unreachable", "the API server is away")
        return await patch(obj, status, expect=expect)

    world.kube.patch_status = away  # type: ignore[method-assign]
    assert getattr(await step("clone"), "state", "") == "succeeded"
    assert len(world.vsphere.orders) == 1 and len(world.vsphere.vms) == 1
    await world.stop()


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (lambda vm: setattr(vm, "addresses", ("192.0.2.77",)), "reports 192.0.2.77, not 192.0.2.100"),
        (lambda vm: setattr(vm, "addresses", ()), "reports no address, not 192.0.2.100"),
        (lambda vm: setattr(vm, "tools_running", False), "VMware Tools do not run yet"),
        (lambda vm: setattr(vm, "powered_on", False), "is powered off"),
    ],
)
async def test_a_vm_that_does_not_come_up_as_it_should_never_joins(seen: Callable[[FlowVm], None], words: str) -> None:
    world, step = await up_to("claim", "allocate")
    world.vsphere.booted = seen
    assert getattr(await step("clone"), "state", "") == "succeeded"
    answer = await step("verify")
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "NeverBooted") and words in answer.message
    assert world.members() == []
    await failed(world, "NeverBooted", "verify", leases=1)


async def test_a_vm_that_vanishes_while_it_boots() -> None:
    world, step = await up_to("claim", "allocate", "clone")
    world.vsphere.vms.clear()
    answer = await step("verify")
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "VmVanished")
    await failed(world, "VmVanished", "verify", leases=1)


@pytest.mark.parametrize(("status", "healthy"), [(199, False), (200, True), (302, True), (399, True), (400, False), (0, False)])
async def test_health_is_an_answer_from_200_to_399(status: int, healthy: bool) -> None:
    world, step = await up_to("claim", "allocate", "clone")
    plain = world.vsphere.booted

    def booted(vm: FlowVm) -> None:
        plain(vm)
        world.probe.listens(vm.addresses[0], 8080, answers={"/": (status, "said")})

    world.vsphere.booted = booted
    answer = await step("verify")
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == (("succeeded", "Done") if healthy else ("failed", "Unhealthy"))
    await world.stop()


async def test_a_member_that_nobody_monitors_gets_no_traffic() -> None:
    world, step = await up_to("claim", "allocate", "clone", "verify")
    world.bigip.pools[POOL].monitor = ""
    answer = await step("join")
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("failed", "MemberUnmonitored")
    assert "bigip member.patch" not in world.effects.operations[: world.effects.operations.index("kubernetes vminstance.delete")]
    await failed(world, "MemberUnmonitored", "join", leases=1)


async def test_a_member_joins_disabled_and_is_enabled_only_once_it_is_up() -> None:
    world, step = await up_to("claim", "allocate", "clone", "verify")
    world.bigip.health["192.0.2.100:8080"] = "checking"
    joining = asyncio.ensure_future(step("join"))
    await asyncio.sleep(5)
    assert world.bigip.pools[POOL].members["192.0.2.100:8080"].session == "user-disabled" and not joining.done()
    world.bigip.health["192.0.2.100:8080"] = "up"
    assert getattr(await joining, "state", "") == "succeeded"
    assert world.bigip.pools[POOL].members["192.0.2.100:8080"].session == "user-enabled"
    await world.stop()


async def test_a_monitoring_host_that_is_away_fails_no_scale_out() -> None:
    world, step = await up_to("claim", "allocate", "clone", "verify", "join")
    world.hosts.down = True
    answer = await step("finish")
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("succeeded", "ScaledOut")
    assert any("not scraped yet" in line for line in world.said)
    world.hosts.down = False
    await world.quiet()
    assert b"192.0.2.100:9100" in world.hosts.files["/etc/prometheus/vmscaler/targets/vmscaler-acme.web.json"]
    await world.stop()


async def test_a_template_seen_as_a_vm_is_none() -> None:
    world = await about_to()
    (path,) = world.vsphere.templates
    world.vsphere.templates[path] = replace(world.vsphere.templates[path], is_template=False)
    await world.quiet()
    assert await world.condition("TemplateResolved") == ("False", "TemplateNotReady")
    answer = await world.step("claim", await world.ref(), await world.build_ref(1))
    assert isinstance(answer, Outcome) and (answer.state, answer.reason) == ("refused", "PolicyNotReady")
    await world.stop()
