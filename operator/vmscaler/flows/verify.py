"""The stage `verify`: the VM has booted with the address that it was given, and the service on it is well. Called by flows/steps.py."""

from __future__ import annotations

from vmscaler.api import duration
from vmscaler.api.vminstance import InstancePhase, VmInstance
from vmscaler.decide import actions
from vmscaler.flows.context import Context
from vmscaler.flows.recorder import Recorder, StepFailed
from vmscaler.flows.status import ensure_status
from vmscaler.ports.errors import NotFound, Rejected, Retryable
from vmscaler.ports.systems import Systems
from vmscaler.ports.vsphere import SYSTEM

PROBE_SECONDS = 5.0


async def verify(ctx: Context, recorder: Recorder, systems: Systems, vmi: VmInstance) -> None:
    """Booted and healthy. Raises StepFailed(NeverBooted | Unhealthy | VmVanished)."""
    name, timeouts = vmi.metadata.name, vmi.spec.timeouts
    if vmi.status.vm is None or vmi.status.vm.mo_ref is None or vmi.status.address is None:
        raise StepFailed("NoVm", f"{name} has no VM: the stage clone did not finish")
    mo_ref, address = vmi.status.vm.mo_ref, vmi.status.address
    await recorder.begin(actions.BOOT, name)
    await recorder.until(
        actions.BOOT, name, duration.parse(timeouts.boot), "NeverBooted", lambda: _booted(ctx, systems, mo_ref, vmi.spec.vm_name, address)
    )
    await recorder.done(actions.BOOT, name, f"tools report {address}", vm_id=mo_ref, vm_ip=address)
    await recorder.begin(actions.HEALTH, name)
    url = f"http://{address}:{vmi.spec.pool.member_port}{vmi.spec.pool.health_check_path}"
    await recorder.until(actions.HEALTH, name, duration.parse(timeouts.health), "Unhealthy", lambda: _healthy(ctx, vmi, address))
    await ensure_status(ctx, vmi, {"phase": InstancePhase.JOINING})
    await recorder.done(actions.HEALTH, name, f"GET {url} answers", address=address)


async def _booted(ctx: Context, systems: Systems, mo_ref: str, vm_name: str, address: str) -> None:
    try:
        vm = await systems.vsphere.vm(mo_ref)
    except NotFound as error:
        raise Rejected(SYSTEM, "VmVanished", f"{vm_name} ({mo_ref}) is gone from vCenter while it was being verified") from error
    if not vm.powered_on:
        raise Retryable(SYSTEM, "PoweredOff", f"{vm_name} is powered off", after=ctx.poll)
    if not vm.tools_running:
        raise Retryable(SYSTEM, "ToolsNotRunning", f"{vm_name} has not booted: VMware Tools do not run yet", after=ctx.poll)
    if address not in vm.guest_addresses:
        seen = ", ".join(vm.guest_addresses) or "no address"
        raise Retryable(SYSTEM, "AddressNotReported", f"{vm_name} reports {seen}, not {address}", after=ctx.poll)


async def _healthy(ctx: Context, vmi: VmInstance, address: str) -> None:
    pool = vmi.spec.pool
    status, said = await ctx.probe.http(address, pool.member_port, pool.health_check_path, PROBE_SECONDS)
    if not 200 <= status < 400:
        what = f"{status} {said}" if status else said
        raise Retryable("service", "Unhealthy", f"GET {address}:{pool.member_port}{pool.health_check_path}: {what}", after=ctx.poll)
