"""IpLease: frees an address when its rest is over, or when its holder is certainly gone. Called for each lease that is named."""

from __future__ import annotations

from vmscaler.api.iplease import IpLease, LeasePhase
from vmscaler.api.vminstance import VmInstance
from vmscaler.flows.context import Context
from vmscaler.flows.instance import free
from vmscaler.flows.status import ensure_status
from vmscaler.ports.errors import NotFound, Retryable


async def reconcile_lease(ctx: Context, name: str) -> None:
    """One look at one lease. Raises Retryable(after) until its rest is over."""
    try:
        lease = await ctx.kube.get(IpLease, name)
    except NotFound:
        return
    if lease.status.phase == LeasePhase.QUARANTINED:
        now = ctx.clock.now()
        release_at = lease.status.release_at
        if release_at is None or release_at <= now or _freed_by_hand(lease):
            await free(ctx, lease)
            return
        raise Retryable("vmscaler", "Quarantined", f"{lease.spec.address} rests", after=(release_at - now).total_seconds())
    if lease.status.phase == LeasePhase.LEASED and await _holder_gone(ctx, lease):
        await free(ctx, lease)


def _freed_by_hand(lease: IpLease) -> bool:
    """Deleted while at rest: somebody knows better. Deleted before, while it was held, it still gets its rest."""
    deleted, since = lease.metadata.deletion_timestamp, lease.status.since
    # The API server's stamp has whole seconds.
    return deleted is not None and (since is None or deleted >= since.replace(microsecond=0))


async def _holder_gone(ctx: Context, lease: IpLease) -> bool:
    """Whether it is certain that nobody uses it: the holder's absence alone is none (its finalizer may have been taken off by hand, and
    the VM runs on), but that and somebody's deletion of the lease are."""
    holder = lease.spec.holder
    try:
        vmi = await ctx.kube.get(VmInstance, holder.name, holder.namespace)
    except NotFound:
        return lease.deleting
    if vmi.uid != holder.uid:
        return lease.deleting
    if lease.deleting:
        message = f"VmInstance {holder.namespace}/{holder.name} uses the address: the lease goes with it, delete that"
        if lease.status.reason != message:
            # Who deleted it waits at a prompt that says nothing.
            await ensure_status(ctx, lease, {"reason": message})
            await ctx.kube.emit(lease, "Warning", "Held", message)
        raise Retryable("vmscaler", "Held", f"{lease.metadata.name}: {message}", after=30.0)
    return False
