"""The clean-up path of a VmInstance: one for scale-in, rollback and `kubectl delete`. Called while its finalizer holds it.

    brake -> drain -> leave the pool -> remove the node -> destroy the VM -> rest or free the address -> let go

Each pass looks at what is there and does the next thing; Retryable means "not yet". An effect that an earlier try had begun is
found by the names fixed beforehand. A VM is touched only if its marks are ours.
"""

from __future__ import annotations

import contextlib
from datetime import datetime

from vmscaler.api import conditions as c
from vmscaler.api import duration
from vmscaler.api.iplease import IpLease, LeasePhase
from vmscaler.api.meta import FINALIZER, ConditionStatus
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.api.vminstance import InstancePhase, InstanceRemoval, VmInstance
from vmscaler.decide.conditions import find, set_condition
from vmscaler.decide.instance import HOLDER_UID
from vmscaler.decide.marks import identity, ours
from vmscaler.flows.brake import brake
from vmscaler.flows.clone import believe_absence
from vmscaler.flows.context import Context
from vmscaler.flows.status import write_status
from vmscaler.flows.targets import sync_targets
from vmscaler.ports.errors import Closed, NotFound, OutsideError, Rejected, Retryable
from vmscaler.ports.systems import Systems
from vmscaler.ports.vsphere import SYSTEM, VmInfo

# Parts of a removal that goes well; the phase says what it does.
_PASSING = frozenset({"Gathering", "Draining", "CloneRunning"})


async def reconcile_instance(ctx: Context, namespace: str, name: str) -> None:
    """One look at one instance: only a deletion asks for something. Raises Retryable while the clean-up is under way."""
    async with ctx.fences.hold(VmInstance.KIND, namespace, name):
        await _reconcile(ctx, namespace, name)


async def _reconcile(ctx: Context, namespace: str, name: str) -> None:
    try:
        vmi = await ctx.kube.get(VmInstance, name, namespace)
    except NotFound:
        return
    if not vmi.deleting or FINALIZER not in vmi.metadata.finalizers:
        return
    try:
        await _clean_up(ctx, vmi)
    except OutsideError as error:
        with contextlib.suppress(OutsideError):
            await _tell(ctx, vmi, error)
        raise


async def _tell(ctx: Context, vmi: VmInstance, error: OutsideError) -> None:
    """What the removal waits for, written when its reason changes."""
    status = ConditionStatus.UNKNOWN if isinstance(error, Retryable) and error.system != "vmscaler" else ConditionStatus.FALSE
    before, passing = find(vmi.status.conditions, c.REMOVED), error.reason in _PASSING
    told_before = (before.status, before.reason) == (status, error.reason) if before is not None else passing
    if told_before or isinstance(error, Closed):
        return
    conditions = set_condition(vmi.status.conditions, c.REMOVED, status, error.reason, error.message, now=ctx.clock.now())
    told = vmi.model_copy(update={"status": vmi.status.model_copy(update={"conditions": conditions})})
    await write_status(ctx, told, base=vmi)
    await ctx.kube.emit(vmi, "Normal" if passing else "Warning", error.reason, error.message)


async def _clean_up(ctx: Context, vmi: VmInstance) -> None:
    if vmi.status.removal is None:
        await brake(ctx, vmi)
    site = await ctx.kube.get(Site, vmi.spec.site_ref.name)
    systems = await ctx.systems(site)
    vmi, removal = await _begin(ctx, vmi)
    if not removal.left_pool:
        vmi = await _leave_pool(ctx, systems, vmi, removal)
    unsynced = await _leave_targets(ctx, systems, vmi)
    if vmi.status.removal is not None and not vmi.status.removal.vm_gone:
        vmi = await _destroy_vm(ctx, systems, vmi)
    if unsynced is not None:
        raise unsynced
    if vmi.status.member is not None and vmi.status.member.started:
        # Else a reboot or a failover would bring back what an earlier pass removed, at an address that another may have by then.
        await systems.bigip.persist()
    await _release_addresses(ctx, vmi, site)
    await ctx.kube.emit(vmi, "Normal", "Removed", _removed(vmi))
    await ctx.kube.remove_finalizer(vmi, FINALIZER)
    ctx.wake(ScaleOutEvent.KIND, vmi.metadata.namespace, vmi.spec.event_ref.name)
    ctx.wake("AutoscalingPolicy", vmi.spec.policy_ref.namespace, vmi.spec.policy_ref.name)


def _removed(vmi: VmInstance) -> str:
    started = vmi.status.vm is not None and vmi.status.vm.started
    vm = f"VM {vmi.spec.vm_name} is destroyed" if started else "there was no VM yet"
    address = f", {vmi.status.address} {'rests' if started else 'is free'}" if vmi.status.address else ""
    pool = f"out of {vmi.status.member.pool}, " if vmi.status.member is not None and vmi.status.member.pool else ""
    return pool + vm + address


async def _leave_targets(ctx: Context, systems: Systems, vmi: VmInstance) -> OutsideError | None:
    """Nobody scrapes it any more. A monitoring host that is away does not keep the VM alive, but the instance: what it said is returned."""
    if vmi.status.in_service_since is None:
        return None
    try:
        await sync_targets(ctx, systems, vmi.spec.policy_ref)
    except OutsideError as error:
        return error
    return None


async def _save(ctx: Context, vmi: VmInstance, phase: InstancePhase, removal: InstanceRemoval) -> VmInstance:
    status = vmi.status.model_copy(update={"phase": phase, "removal": removal})
    return await write_status(ctx, vmi.model_copy(update={"status": status}), base=vmi)


async def _begin(ctx: Context, vmi: VmInstance) -> tuple[VmInstance, InstanceRemoval]:
    if vmi.status.removal is not None:
        return vmi, vmi.status.removal
    now = ctx.clock.now()
    removal = InstanceRemoval(started_at=now, drain_until=now + duration.parse(vmi.spec.timeouts.drain), reason="Deleted")
    vmi = await _save(ctx, vmi, InstancePhase.DRAINING, removal)
    return vmi, removal


async def _leave_pool(ctx: Context, systems: Systems, vmi: VmInstance, removal: InstanceRemoval) -> VmInstance:
    bigip, status = systems.bigip, vmi.status
    if status.member is not None and status.member.started and status.member.pool and status.member.name:
        pool, name = status.member.pool, status.member.name
        member = await bigip.member(pool, name)
        if member is not None and member.address == status.address:  # else it is only called so, and somebody else's
            if member.enabled:
                await bigip.set_member(pool, name, session="user-disabled", state="user-up")
            await _wait_for_connections(ctx, systems, pool, name, removal, member.state)
            await bigip.set_member(pool, name, session="user-disabled", state="user-down")
            await bigip.remove_member(pool, name)
        await bigip.remove_node(pool, name.rpartition(":")[0])
    return await _save(ctx, vmi, InstancePhase.DESTROYING, removal.model_copy(update={"left_pool": True}))


async def _wait_for_connections(ctx: Context, systems: Systems, pool: str, name: str, removal: InstanceRemoval, state: str) -> None:
    if state != "up" or removal.drain_until is None or ctx.clock.now() >= removal.drain_until:
        return
    connections = await systems.bigip.current_connections(pool, name)
    if connections > 0:
        left = duration.human(removal.drain_until - ctx.clock.now())
        raise Retryable("bigip", "Draining", f"{name} of {pool} has {connections} connections, {left} left to drain", after=ctx.poll)


async def _destroy_vm(ctx: Context, systems: Systems, vmi: VmInstance) -> VmInstance:
    status = vmi.status
    if status.vm is not None and status.vm.started:
        vm = await _find(ctx, systems, vmi)
        if vm is not None:
            await systems.vsphere.destroy(vm.mo_ref, identity(vmi))
    assert status.removal is not None
    return await _save(ctx, vmi, InstancePhase.DESTROYING, status.removal.model_copy(update={"vm_gone": True}))


async def _find(ctx: Context, systems: Systems, vmi: VmInstance) -> VmInfo | None:
    """The VM that this instance made, if it exists; waits for a clone that may still be on its way."""
    vsphere, recorded = systems.vsphere, vmi.status.vm
    assert recorded is not None
    made = recorded.mo_ref
    if recorded.task is not None:
        try:
            task = await vsphere.task(recorded.task)
        except NotFound:
            task = None
        if task is not None and task.state in ("queued", "running"):
            raise Retryable(SYSTEM, "CloneRunning", f"the clone of {vmi.spec.vm_name} still runs: it is destroyed after", after=ctx.poll)
        made = made or (task.result if task is not None else None)
    if made is None and await vsphere.clones_in_flight(vmi.spec.template.mo_ref):
        # An order may have gone out without its task being recorded: no "absent" is believed while clones run.
        raise Retryable(SYSTEM, "CloneRunning", "clones of the template still run: looking again after", after=ctx.poll)
    vm = await _by_reference(systems, made)
    if vm is None or not _is_its_vm(vmi, vm):
        vm = await _by_name(systems, vmi)
    if vm is None:
        await believe_absence(systems, vmi)
    return vm if vm is not None and _is_its_vm(vmi, vm) else None


def _is_its_vm(vmi: VmInstance, vm: VmInfo) -> bool:
    """By the marks, and by the instance UUID once it is recorded: somebody's clone of our VM has the same marks, and may have its name."""
    recorded = vmi.status.vm.instance_uuid if vmi.status.vm is not None else None
    return ours(vm.guestinfo, identity(vmi)) and recorded in (None, vm.instance_uuid)


async def _by_reference(systems: Systems, mo_ref: str | None) -> VmInfo | None:
    """Wherever somebody has moved it to, and whatever they call it now."""
    try:
        return await systems.vsphere.vm(mo_ref) if mo_ref is not None else None
    except NotFound:
        return None


async def _by_name(systems: Systems, vmi: VmInstance) -> VmInfo | None:
    try:
        return await systems.vsphere.find_vm(vmi.spec.placement.folder, vmi.spec.vm_name)
    except Rejected as error:
        if error.reason == "FolderNotFound":
            return None
        raise


async def _release_addresses(ctx: Context, vmi: VmInstance, site: Site) -> None:
    """Every lease that names this instance as its holder: free where no VM ever used it, else at rest for the quarantine."""
    powered = vmi.status.vm is not None and vmi.status.vm.started
    now = ctx.clock.now()
    for lease in await ctx.kube.list_objects(IpLease, labels={HOLDER_UID: vmi.uid}):
        if powered and lease.status.phase == LeasePhase.LEASED:
            await _quarantine(ctx, lease, now, site)
        elif not powered:
            await free(ctx, lease)


async def _quarantine(ctx: Context, lease: IpLease, now: datetime, site: Site) -> None:
    status = lease.status.model_copy(
        update={
            "phase": LeasePhase.QUARANTINED,
            "since": now,
            "release_at": now + duration.parse(site.spec.address_quarantine),
            "reason": "a VM used it: neighbours may still know its MAC address",
        }
    )
    await write_status(ctx, lease.model_copy(update={"status": status}), base=lease)
    ctx.wake_object(lease)


async def free(ctx: Context, lease: IpLease) -> None:
    """Delete the lease and let it go."""
    if not lease.deleting:
        await ctx.kube.delete(lease)
    await ctx.kube.remove_finalizer(lease, FINALIZER)
