"""The reconcile of an AutoscalingPolicy: one path that compares what is wanted with what is there. Events only wake it up.

    finalizer -> site -> resolve -> provision -> status            deletion: settle -> unprovision -> instances -> let go

Called by the work queue. The writer of every status field but `claim`.
"""

from __future__ import annotations

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, DeletionPolicy, Mode
from vmscaler.api.meta import FINALIZER, ConditionStatus
from vmscaler.api.scaleevent import EventPhase
from vmscaler.api.site import Site, Tenant
from vmscaler.api.vminstance import VmInstance
from vmscaler.decide.conditions import find, is_true, summarise
from vmscaler.decide.grants import tenant_of
from vmscaler.decide.instance import POLICY_UID
from vmscaler.flows.claim import ensure_event
from vmscaler.flows.context import Context
from vmscaler.flows.look import Looks, status_of
from vmscaler.flows.provision import policy_ref, provision, unprovision, unwire
from vmscaler.flows.resolve import Found, resolve
from vmscaler.flows.settle import clear_claim, fail
from vmscaler.flows.status import write_status
from vmscaler.flows.targets import sync_targets
from vmscaler.flows.tokens import secret_name
from vmscaler.ports.errors import NotFound, OutsideError, Rejected, Retryable

FIELDS = frozenset({"observedGeneration", "conditions", "resolved", "instances"})
SUMMARY = (*c.RESOLVED_CONDITIONS, *c.PROVISIONED_CONDITIONS)


async def reconcile_policy(ctx: Context, namespace: str, name: str) -> None:
    """One look. Raises Retryable where something could not be seen or done now, after the status says so."""
    try:
        policy = await ctx.kube.get(AutoscalingPolicy, name, namespace)
    except NotFound:
        return
    if policy.deleting:
        if FINALIZER in policy.metadata.finalizers:
            await _remove(ctx, policy)
        return
    policy = await ctx.kube.add_finalizer(policy, FINALIZER)
    await _settle_claim(ctx, policy)
    looks = Looks.of(policy, ctx.clock.now())
    found: Found | None = None
    base = policy
    try:
        site = await ctx.kube.get(Site, policy.spec.site_ref.name)
        systems = await ctx.systems(site)
    except OutsideError as error:
        _site_missing(looks, policy, error)
    else:
        found = await resolve(ctx, looks, policy, site, systems)
        tenant = tenant_of(policy.customer, site.spec.tenants, site.metadata.name)
        begun = policy.status.provisioned is not None
        if isinstance(tenant, Tenant) and is_true(looks.conditions, c.GRANTED) and (found.complete or begun):
            base = await provision(ctx, looks, policy, site, systems, tenant.job_prefix)
        elif begun and policy.spec.mode == Mode.OFF:
            # What is not granted is not made, but may always be taken down.
            await unwire(looks, policy, systems)
        elif not begun:
            for type_ in c.PROVISIONED_CONDITIONS:
                looks.put(type_, ConditionStatus.UNKNOWN, "NotResolved", "comes when all that the policy names is there")
    await _write(ctx, base, looks, found)
    if looks.retry_after is not None:
        raise Retryable("vmscaler", "NotReady", f"policy {policy.key} is not ready yet", after=looks.retry_after)


def _site_missing(looks: Looks, policy: AutoscalingPolicy, error: OutsideError) -> None:
    reason, message = error.reason, error.message
    if isinstance(error, NotFound):
        reason, message = "SiteNotFound", f"there is no Site {policy.spec.site_ref.name!r}: create it, or correct spec.siteRef"
    looks.put(c.GRANTED, status_of(error), reason, message)
    looks.again(5.0)


async def _write(ctx: Context, policy: AutoscalingPolicy, looks: Looks, found: Found | None) -> None:
    conditions = summarise(looks.conditions, SUMMARY, now=looks.now, generation=looks.generation)
    update: dict[str, object] = {"conditions": conditions, "observed_generation": policy.metadata.generation}
    if found is not None:
        update |= {"resolved": found.resolved, "instances": found.instances}
    before, after = find(policy.status.conditions, c.READY), find(conditions, c.READY)
    wanted = policy.model_copy(update={"status": policy.status.model_copy(update=update)})
    await write_status(ctx, wanted, base=policy, fields=FIELDS)
    if after is not None and (before is None or (before.status, before.reason) != (after.status, after.reason)):
        kind = "Normal" if after.status == ConditionStatus.TRUE else "Warning"
        await ctx.kube.emit(policy, kind, after.reason, after.message)


async def _settle_claim(ctx: Context, policy: AutoscalingPolicy) -> None:
    """Free a claim whose event is over, where a crash came between the two writes.

    An event that is not there (deleted by somebody, or never made) is made: it names the build whose rollback is the way out, and without it
    every claim would be answered AlreadyRunning with nothing to be seen that runs.
    """
    if policy.status.claim is None or policy.status.claim.active is None:
        return
    try:
        event = await ensure_event(ctx, policy, policy.status.claim)
    except Rejected:  # the namespace goes
        return
    if event.status.phase in (EventPhase.SUCCEEDED, EventPhase.FAILED):
        await clear_claim(ctx, event)


async def _remove(ctx: Context, policy: AutoscalingPolicy) -> None:
    """Refuse claims (the deletion timestamp does), settle the active event, take the wiring down, then see to the instances."""
    try:
        await _settle_active(ctx, policy)
        await _take_down(ctx, policy)
    except OutsideError as error:
        looks = Looks.of(policy, ctx.clock.now())
        looks.put(c.READY, status_of(error), error.reason, f"being removed: {error.message}")
        wanted = policy.model_copy(update={"status": policy.status.model_copy(update={"conditions": looks.conditions})})
        await write_status(ctx, wanted, base=policy, fields=FIELDS)
        raise
    await ctx.kube.delete_secret(secret_name(policy.uid))
    await ctx.kube.remove_finalizer(policy, FINALIZER)
    ctx.wake(Site.KIND, None, policy.spec.site_ref.name)  # it may have waited for its last user to go


async def _take_down(ctx: Context, policy: AutoscalingPolicy) -> None:
    """The wiring, then the instances. Raises Retryable while there are some that are to go."""
    mine = await ctx.kube.list_objects(VmInstance, policy.customer, labels={POLICY_UID: policy.uid})
    if policy.status.provisioned is None and not mine:
        return  # nothing was ever made, and its Site may never have been there
    site = await ctx.kube.get(Site, policy.spec.site_ref.name)
    systems = await ctx.systems(site)
    await unprovision(ctx, policy, systems)
    if policy.spec.deletion_policy == DeletionPolicy.DESTROY and mine:
        if not any(vmi.deleting for vmi in mine):
            newest = max(mine, key=_born)
            await ctx.kube.delete(newest)
            ctx.wake_object(newest)
        raise Retryable("vmscaler", "Destroying", f"{len(mine)} instances of {policy.key} are still there", after=ctx.poll)
    await sync_targets(ctx, systems, policy_ref(policy))


def _born(vmi: VmInstance) -> tuple[str, int, str]:
    made = vmi.metadata.creation_timestamp
    return (made.isoformat() if made else "", len(vmi.metadata.name), vmi.metadata.name)


async def _settle_active(ctx: Context, policy: AutoscalingPolicy) -> None:
    active = policy.status.claim.active if policy.status.claim else None
    if active is None:
        return
    assert policy.status.claim is not None
    # Where a crash came between the claim and its event, the event is made now: the build that holds the claim may still ask for it.
    try:
        event = await ensure_event(ctx, policy, policy.status.claim)
    except Rejected:  # the namespace goes away with all that is in it: no event can be made, and no step begins without one
        return
    if event.status.phase in (EventPhase.SUCCEEDED, EventPhase.FAILED):
        await clear_claim(ctx, event)
        return
    await fail(ctx, event, stage=event.status.stage, reason="PolicyDeleted", message="the policy was deleted while the event ran")
    raise Retryable("vmscaler", "Settling", f"{event.metadata.name} is being rolled back first", after=ctx.poll)
