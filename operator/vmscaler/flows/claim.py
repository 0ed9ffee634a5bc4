"""`claim`: read the present state, decide (decide/claim.py), win by one compare-and-swap, make the event. Called by flows/steps.py.

A yes is a live GET and a compare-and-swap of the policy's status.claim; the event's name follows from the policy, its UID and the
sequence, so whoever asks again (the same build, also after a restart) gets the same event.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vmscaler.api.autoscalingpolicy import ActiveEvent, AutoscalingPolicy, BuildRef, Cause, ClaimStatus
from vmscaler.api.meta import NameRef, ObjectMeta, PolicyRef
from vmscaler.api.scaleevent import EventPhase, ScaleEventSpec, ScaleEventStatus, ScaleOutEvent
from vmscaler.api.site import Site, Tenant
from vmscaler.api.vminstance import VmInstance
from vmscaler.decide import claim as chain
from vmscaler.decide import names
from vmscaler.decide.grants import tenant_of
from vmscaler.decide.instance import BUILD, POLICY_UID
from vmscaler.decide.routes import policy_matchers
from vmscaler.decide.words import plain
from vmscaler.flows.context import Context
from vmscaler.flows.status import rfc3339, write_status
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Retryable
from vmscaler.ports.monitoring import FiringAlert

CAS_TRIES = 8


@dataclass(frozen=True)
class Claimed:
    """The answer to a claim: an event on a yes, always a reason and a message."""

    event: ScaleOutEvent | None
    reason: str
    message: str


async def claim(ctx: Context, ref: PolicyRef, build: BuildRef) -> Claimed:
    """Decide on this build's claim. Raises Retryable, NotFound (policy)."""
    for _ in range(CAS_TRIES):
        policy = await ctx.kube.get(AutoscalingPolicy, ref.name, ref.namespace)
        if policy.uid != ref.uid:
            raise NotFound("kubernetes", "PolicyGone", f"policy {ref.namespace}/{ref.name} was deleted and made anew")
        state = policy.status.claim or ClaimStatus()
        if state.active is not None and same_build(state.active.build, build):
            event = await ensure_event(ctx, policy, state)
            return Claimed(event, "ScaleOut", f"{event.metadata.name} (claimed before)")
        earlier = await event_of(ctx, ref, build)
        if earlier is not None:
            return Claimed(earlier, "ScaleOut", f"{earlier.metadata.name} (claimed before, {earlier.status.phase.value})")
        facts, alerts = await _facts(ctx, policy, build)
        verdict = chain.decide(facts)
        if verdict.accepted:
            # The chain's last check, asked only by who gets so far: a vCenter that hangs holds up no other no, and a storm of hooks does not reach it.
            facts = replace(facts, vcenter_unseen_because=await _vcenter_unseen(ctx, policy))
            verdict = chain.decide(facts)
        after = _after(policy, state, verdict, facts, build, alerts)
        if after is not None:
            wanted = policy.model_copy(update={"status": policy.status.model_copy(update={"claim": after})})
            try:
                policy = await write_status(ctx, wanted, base=policy, fields=frozenset({"claim"}), expect=policy.metadata.resource_version)
            except Conflict:
                continue
        ctx.decided(policy.key, verdict.accepted, verdict.reason)
        if not verdict.accepted:
            return Claimed(None, verdict.reason, verdict.message)
        assert policy.status.claim is not None
        event = await ensure_event(ctx, policy, policy.status.claim)
        return Claimed(event, verdict.reason, verdict.message)
    raise Retryable("kubernetes", "Conflict", f"policy {ref.namespace}/{ref.name} changes too often: trying again", after=1.0)


def same_build(one: BuildRef, other: BuildRef) -> bool:
    """Whether both are one build: the link is none of its identity."""
    return (one.job, one.generation, one.number) == (other.job, other.generation, other.number)


async def event_of(ctx: Context, ref: PolicyRef, build: BuildRef) -> ScaleOutEvent | None:
    """The event that this build has claimed, over or not. By label: a hundred events of the past are not read for each claim."""
    events = await ctx.kube.list_objects(ScaleOutEvent, ref.namespace, labels={POLICY_UID: ref.uid, BUILD: str(build.number)})
    return next((event for event in events if same_build(event.spec.build, build)), None)


def _after(
    policy: AutoscalingPolicy,
    state: ClaimStatus,
    verdict: chain.Verdict,
    facts: chain.ClaimFacts,
    build: BuildRef,
    alerts: list[FiringAlert],
) -> ClaimStatus | None:
    """The claim's fields to write, or None where there is nothing to write."""
    sequence = state.sequence + 1
    name = names.event_name(policy.metadata.name, policy.uid, sequence) if verdict.accepted else None
    decisions = chain.record(state.decisions, verdict, build=build, event=name, now=facts.now)
    if name is None:
        return None if decisions is None else state.model_copy(update={"decisions": decisions})
    active = ActiveEvent(
        event=name,
        kind=ScaleOutEvent.KIND,
        build=build,
        since=facts.now,
        from_instances=(facts.baseline or 0) + facts.ours,
        cause=_cause(alerts),
    )
    return state.model_copy(update={"active": active, "sequence": sequence, "decisions": decisions or state.decisions})


def _cause(alerts: list[FiringAlert]) -> Cause:
    if not alerts:
        return Cause()
    first = min(alerts, key=lambda alert: alert.starts_at)
    return Cause(
        alert=plain(first.labels.get("alertname", ""), 128),
        value=plain(first.annotations.get("value", ""), 64),
        summary=plain(first.annotations.get("summary", ""), 512),
        starts_at=first.starts_at,
        fingerprint=plain(first.fingerprint, 64),
    )


async def ensure_event(ctx: Context, policy: AutoscalingPolicy, state: ClaimStatus) -> ScaleOutEvent:
    """The event of the active claim: found, or made (idempotent by its name)."""
    active = state.active
    if active is None:
        raise NotFound("vmscaler", "NothingActive", f"policy {policy.key} has no active event")
    try:
        event = await ctx.kube.get(ScaleOutEvent, active.event, policy.customer)
    except NotFound:
        spec = ScaleEventSpec(
            policy_ref=PolicyRef(namespace=policy.customer, name=policy.metadata.name, uid=policy.uid),
            site_ref=NameRef(name=policy.spec.site_ref.name),
            sequence=state.sequence,
            from_instances=active.from_instances,
            to_instances=active.from_instances + 1,
            cause=active.cause,
            build=active.build,
            instances=[names.instance_name(active.event, 1)],
        )
        meta = ObjectMeta(name=active.event, namespace=policy.customer, labels={POLICY_UID: policy.uid, BUILD: str(active.build.number)})
        try:
            event = await ctx.kube.create(ScaleOutEvent(metadata=meta, spec=spec, status=ScaleEventStatus()))
        except Conflict:
            event = await ctx.kube.get(ScaleOutEvent, active.event, policy.customer)
    if event.status.started_at is None:
        started = {"phase": EventPhase.RUNNING, "stage": "claim", "startedAt": rfc3339(active.since), "actions": []}
        try:
            # Once only: who comes late must not take back what the steps have recorded since.
            event = await ctx.kube.patch_status(event, started, expect=event.metadata.resource_version)
        except Conflict:
            return await ctx.kube.get(ScaleOutEvent, active.event, policy.customer)
        await ctx.kube.emit(policy, "Normal", "ScaleOut", f"{event.metadata.name}: build {active.build.number} of {active.build.job}")
    return event


async def _facts(ctx: Context, policy: AutoscalingPolicy, build: BuildRef) -> tuple[chain.ClaimFacts, list[FiringAlert]]:
    alerts: list[FiringAlert] = []
    alert_firing: bool | None = None
    baseline: int | None = None
    alert_unseen, pool_unseen = "", ""
    mine = await ctx.kube.list_objects(VmInstance, policy.customer, labels={POLICY_UID: policy.uid})
    site: Site | None = None
    try:
        site = await ctx.kube.get(Site, policy.spec.site_ref.name)
        systems = await ctx.systems(site)
    except OutsideError as error:
        alert_unseen = pool_unseen = str(error)
    else:
        try:
            seen = await systems.alertmanager.firing(policy_matchers(policy.customer, policy.metadata.name, site.metadata.name))
            alerts = [alert for alert in seen if not alert.suppressed]
            alert_firing = bool(alerts)
        except OutsideError as error:
            alert_unseen = str(error)
        try:
            pool = await systems.bigip.pool((policy.status.resolved and policy.status.resolved.pool) or policy.spec.f5.pool_name)
            ours = {vmi.status.address for vmi in mine if vmi.status.address}
            baseline = sum(1 for member in pool.members if member.enabled and member.address not in ours)
        except OutsideError as error:
            pool_unseen = str(error)
    facts = chain.facts_of(
        policy,
        build=build,
        alert_firing=alert_firing,
        alert_unseen_because=alert_unseen,
        baseline=baseline,
        pool_unseen_because=pool_unseen,
        ours=len(mine),
        tenant_cap_left=await _cap_left(ctx, policy, site),
        now=ctx.clock.now(),
    )
    return facts, alerts


async def _vcenter_unseen(ctx: Context, policy: AutoscalingPolicy) -> str:
    """Why vCenter cannot be asked; empty when it answers."""
    try:
        systems = await ctx.systems(await ctx.kube.get(Site, policy.spec.site_ref.name))
        await systems.vsphere.about()
    except OutsideError as error:
        return str(error)
    return ""


async def _cap_left(ctx: Context, policy: AutoscalingPolicy, site: Site | None) -> int:
    if site is None:
        return 0
    tenant = tenant_of(policy.customer, site.spec.tenants, site.metadata.name)
    if not isinstance(tenant, Tenant):
        return 0
    used = 0
    for namespace in tenant.namespaces:
        found = await ctx.kube.list_objects(VmInstance, namespace)
        used += sum(1 for vmi in found if vmi.spec.site_ref.name == site.metadata.name)
    return tenant.max_instances - used
