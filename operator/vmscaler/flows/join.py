"""The stage `join`: into the pool disabled, enabled when its monitor says up, in service when it reads so. Called by flows/steps.py.

A new member gets traffic before its first probe unless it joins disabled (facts of the BIG-IP, Pools and members).
"""

from __future__ import annotations

from vmscaler.api import duration
from vmscaler.api.vminstance import InstancePhase, VmInstance
from vmscaler.decide import actions
from vmscaler.flows.context import Context
from vmscaler.flows.recorder import Recorder, StepFailed
from vmscaler.flows.status import ensure_status, rfc3339
from vmscaler.ports.bigip import SYSTEM, Member
from vmscaler.ports.errors import OutsideError, Rejected, Retryable
from vmscaler.ports.systems import Systems


async def join(ctx: Context, recorder: Recorder, systems: Systems, vmi: VmInstance) -> None:
    """In service. Raises StepFailed(JoinTimeout | MemberUnmonitored | ...)."""
    name, pool, port = vmi.metadata.name, vmi.spec.pool.name, vmi.spec.pool.member_port
    if vmi.status.address is None:
        raise StepFailed("NoAddress", f"{name} has no address: the stage allocate did not finish")
    address = vmi.status.address
    member = f"{address}:{port}"
    await recorder.begin(actions.POOL_ADD, name)
    vmi = await ensure_status(ctx, vmi, {"member": {"started": True, "pool": pool, "name": member}})
    limit = duration.parse(vmi.spec.timeouts.member)
    seen = await recorder.until(
        actions.POOL_ADD,
        name,
        limit,
        "JoinTimeout",
        lambda: _attempt(ctx, recorder, systems, pool, address, port),
        pool=pool,
        member=member,
    )
    now = rfc3339(vmi.status.in_service_since or ctx.clock.now())
    # Its name as the BIG-IP has it, with the route domain: another member may be called so but for that.
    joined = {"enabled": True, "name": seen.name}
    await ensure_status(ctx, vmi, {"phase": InstancePhase.IN_SERVICE, "inServiceSince": now, "member": joined})
    await recorder.done(actions.POOL_ADD, name, f"{member} is in service", pool=pool, member=member)
    # Whoever enabled it may have ended, or been refused, before it was saved: a reboot or a failover would disable it again. After the
    # record, since nothing tells whether it was saved: an operator that is killed at each write would do that and nothing else, for ever.
    try:
        await systems.bigip.persist()
    except OutsideError as error:
        recorder.progress(f"{member} is in service but not saved yet, the next write to the BIG-IP will see to it: {error}")


async def _attempt(ctx: Context, recorder: Recorder, systems: Systems, pool: str, address: str, port: int) -> Member:
    bigip, name = systems.bigip, f"{address}:{port}"
    member = await bigip.member(pool, name)
    if member is None:
        member = await bigip.add_member(pool, address, port)
        recorder.progress(f"{name} joined {pool}, disabled")
    if member.address != address:
        # Members are asked for by name, and one may be called by an address that it does not have.
        raise Rejected(SYSTEM, "MemberDiffers", f"member {member.name} of {pool} has the address {member.address}: rename or remove it")
    # "Unchecked" is what a member without a monitor reads for ever, and what one with a monitor may read before its first check.
    if member.state == "unchecked" and not (await bigip.pool(pool)).monitor:
        raise Rejected(SYSTEM, "MemberUnmonitored", f"{name} of {pool} is unchecked: give the pool a monitor")
    if member.in_service:
        return member
    if member.state != "up":
        raise Retryable(SYSTEM, "MemberNotUp", f"{name} of {pool} is {member.state} ({member.session})", after=ctx.poll)
    if not member.enabled:
        await bigip.set_member(pool, name, session="user-enabled", state="user-up")
        recorder.progress(f"{name} is up: enabled")
    raise Retryable(SYSTEM, "MemberNotInService", f"{name} of {pool} is {member.state}, {member.session}", after=min(ctx.poll, 0.5))
