"""The stage `clone`: one VM from the template, with its name and marks fixed beforehand. Called by flows/steps.py.

Find before you create: the VM by name in its folder, then the recorded task, then the order. A name taken by a VM without our
marks is refused. `vm.started` is written before the order, so that the clean-up knows that there may be something to find.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from vmscaler.api import duration
from vmscaler.api.vminstance import InstancePhase, VmInstance
from vmscaler.decide import actions
from vmscaler.decide.marks import identity, marks, ours
from vmscaler.flows.context import Context
from vmscaler.flows.recorder import Recorder, StepFailed
from vmscaler.flows.status import ensure_status
from vmscaler.ports.errors import Conflict, NotFound, Rejected, Retryable
from vmscaler.ports.systems import Systems
from vmscaler.ports.vsphere import SYSTEM, CloneOrder, VmInfo


async def clone(ctx: Context, recorder: Recorder, systems: Systems, vmi: VmInstance) -> None:
    """One powered-on VM. Raises StepFailed(CloneTimeout | NameTaken | CloneFailed | ...)."""
    name, limit = vmi.metadata.name, duration.parse(vmi.spec.timeouts.clone)
    await recorder.begin(actions.VM_CREATION, name)
    earlier = Earlier()
    vm = await recorder.until(actions.VM_CREATION, name, limit, "CloneTimeout", lambda: _attempt(ctx, systems, name, vmi, earlier))
    await ensure_status(
        ctx, vmi, {"phase": InstancePhase.BOOTING, "vm": {"moRef": vm.mo_ref, "instanceUuid": vm.instance_uuid, "task": None}}
    )
    await recorder.done(actions.VM_CREATION, name, f"{vmi.spec.vm_name} cloned and powered on", vm_id=vm.mo_ref, vm_ip=vmi.status.address)


@dataclass
class Earlier:
    """The template's clones that were under way when this process first looked: one of them may be ours, ordered by a process that died
    before it wrote the task down, or by this one. None: not looked since."""

    tasks: frozenset[str] | None = None


async def _attempt(ctx: Context, systems: Systems, name: str, seen: VmInstance, earlier: Earlier) -> VmInfo:
    vmi = await ctx.kube.get(VmInstance, name, seen.metadata.namespace)
    if vmi.status.address is None:
        raise StepFailed("NoAddress", f"{name} has no address: the stage allocate did not finish")
    spec, vsphere = vmi.spec, systems.vsphere
    if vmi.status.vm is None or not vmi.status.vm.started:
        await vsphere.ensure_folder(spec.placement.folder)
        vmi = await ensure_status(ctx, vmi, {"phase": InstancePhase.CLONING, "vm": {"started": True, "vcenter": await vsphere.identity()}})
        earlier.tasks = frozenset()
    assert vmi.status.vm is not None
    made = await _follow(ctx, systems, vmi.status.vm.task) if vmi.status.vm.task is not None else None
    vm = await vsphere.find_vm(spec.placement.folder, spec.vm_name)
    if vm is None and made is not None:
        # Not where it was made: moved, renamed or destroyed. One order never makes a second VM.
        raise Rejected(SYSTEM, "VmVanished", f"{spec.vm_name} ({made}) was cloned but is not in {spec.placement.folder} any more")
    if vm is None:
        await believe_absence(systems, vmi)
    if vm is None and vmi.status.vm.task is None:
        await _wait_for_earlier(ctx, systems, vmi, earlier)
    if vm is None:
        earlier.tasks = None  # the answer may get lost, or not be noted, while the clone is under way
        try:
            task = await vsphere.clone(_order(vmi, vmi.status.address or ""))
        except Conflict as error:
            raise Retryable(SYSTEM, error.reason, error.message, after=ctx.poll) from error
        await ensure_status(ctx, vmi, {"vm": {"task": task}})
        raise Retryable(SYSTEM, "CloneRunning", f"clone of {spec.vm_name} ordered", after=min(ctx.poll, 0.5))
    if not ours(vm.guestinfo, identity(vmi)):
        raise Rejected(SYSTEM, "NameTaken", f"{spec.placement.folder}/{spec.vm_name} exists and is not ours: rename or remove it")
    if not vm.powered_on:
        await vsphere.power_on(vm.mo_ref)
        raise Retryable(SYSTEM, "PoweringOn", f"{spec.vm_name} is being powered on", after=min(ctx.poll, 0.5))
    return vm


async def believe_absence(systems: Systems, vmi: VmInstance) -> None:
    """The instance's VM is not to be found. Raises Rejected(OtherVCenter) where that says nothing, since the Site names another vCenter than
    the one in which it was begun."""
    begun = vmi.status.vm.vcenter if vmi.status.vm is not None else None
    if begun is not None and begun != await systems.vsphere.identity():
        said = f"{vmi.spec.vm_name} was begun in vCenter {begun}, the Site's is another: let spec.vcenter.url of the Site lead to that one again"
        raise Rejected(SYSTEM, "OtherVCenter", said)


async def _wait_for_earlier(ctx: Context, systems: Systems, vmi: VmInstance, earlier: Earlier) -> None:
    """A clone is not seen by its name before it is over, so that one ordered on top of it would end as DuplicateName at best."""
    if earlier.tasks == frozenset():
        return
    running = frozenset(task.key for task in await systems.vsphere.clones_in_flight(vmi.spec.template.mo_ref))
    earlier.tasks = running if earlier.tasks is None else earlier.tasks & running
    if earlier.tasks:
        said = f"{len(earlier.tasks)} clones of the template run that may be {vmi.spec.vm_name}"
        raise Retryable(SYSTEM, "CloneRunning", said, after=min(ctx.poll, 0.5))
    # The last of them may have ended after this attempt looked for its name.
    raise Retryable(SYSTEM, "CloneLooked", f"looking for {vmi.spec.vm_name} once more", after=0.0)


async def _follow(ctx: Context, systems: Systems, key: str) -> str | None:
    """The VM that the recorded task made, or None where the task does not say; raise while it runs or where it failed for good."""
    try:
        task = await systems.vsphere.task(key)
    except NotFound:
        return None
    if task.state in ("queued", "running"):
        percent = f" {task.progress}%" if task.progress is not None else ""
        raise Retryable(SYSTEM, "CloneRunning", f"clone task {key} is {task.state}{percent}", after=min(ctx.poll, 0.5))
    if task.state == "error" and task.fault != "DuplicateName":
        raise Rejected(SYSTEM, "CloneFailed", f"vCenter ended the clone with {task.fault}: {task.message}")
    return task.result if task.state == "success" else None


def _order(vmi: VmInstance, address: str) -> CloneOrder:
    spec = vmi.spec
    return CloneOrder(
        template_mo_ref=spec.template.mo_ref,
        folder=spec.placement.folder,
        name=spec.vm_name,
        port_group=spec.network.port_group,
        address=address,
        prefix_length=IPv4Network(spec.network.cidr).prefixlen,
        gateway=spec.network.gateway,
        dns_servers=tuple(spec.network.dns_servers),
        domain=spec.network.domain,
        hostname=spec.vm_name[:63],
        guestinfo=marks(vmi, address),
        resource_pool=spec.placement.resource_pool,
        datastore=spec.placement.datastore,
        customization=spec.placement.customization,
    )
