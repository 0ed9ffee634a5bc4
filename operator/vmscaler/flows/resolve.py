"""What the names in a policy stand for: template, pool, addresses, baseline, and whether the Site grants them.

Called by flows/policy.py; each look becomes one condition.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, Instances, Resolved
from vmscaler.api.meta import ConditionStatus
from vmscaler.api.site import Network, Site, Tenant
from vmscaler.api.vminstance import InstancePhase, VmInstance
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.decide import addresses, names
from vmscaler.decide.conditions import find, is_true
from vmscaler.decide.grants import job_of_another, refusals, tenant_of
from vmscaler.decide.instance import POLICY_UID, vm_folder
from vmscaler.decide.pool import MemberView, baseline, full_path, member_port, vip_matches
from vmscaler.flows.context import Context
from vmscaler.flows.look import Looks, Seen, refuse
from vmscaler.ports.bigip import Pool
from vmscaler.ports.errors import NotFound, Rejected, Retryable
from vmscaler.ports.systems import Systems


@dataclass(frozen=True)
class Found:
    """All that was resolved; `complete` where nothing is missing."""

    resolved: Resolved
    instances: Instances
    complete: bool


async def resolve(ctx: Context, looks: Looks, policy: AutoscalingPolicy, site: Site, systems: Systems) -> Found:
    """Look at everything; set the conditions; say what was found."""
    template = await looks.look(c.TEMPLATE_RESOLVED, _template(ctx, policy))
    network = await looks.look(c.ADDRESSES_RESOLVED, _addresses(ctx, policy, site))
    await looks.look(c.GRANTED, _granted(policy, site, template, network))
    pool_name = full_path(policy.spec.f5.pool_name)
    pool = await looks.look(c.POOL_RESOLVED, _pool(systems, policy, pool_name))
    mine = await ctx.kube.list_objects(VmInstance, policy.customer, labels={POLICY_UID: policy.uid})
    if pool is not None:
        await looks.look(c.BASELINE_RESOLVED, _baseline(pool[0], mine))
    else:
        because = find(looks.conditions, c.POOL_RESOLVED)
        status = because.status if because else ConditionStatus.UNKNOWN
        looks.put(c.BASELINE_RESOLVED, status, "PoolNotResolved", "the pool is not resolved")
    old = policy.status.resolved or Resolved()
    resolved = Resolved(
        template_mo_ref=template.status.mo_ref if template else old.template_mo_ref,
        pool=pool_name,
        member_port=pool[1] if pool else old.member_port,
        virtual_servers=pool[2] if pool else old.virtual_servers,
        network=network.name if network else old.network,
        baseline_members=[m.name for m in _base(pool[0], mine)] if pool else old.baseline_members,
    )
    complete = all(is_true(looks.conditions, type_) for type_ in c.RESOLVED_CONDITIONS)
    return Found(resolved, _instances(policy, pool[0] if pool else None, mine), complete)


async def _template(ctx: Context, policy: AutoscalingPolicy) -> Seen[VmTemplate]:
    ref = policy.spec.template_ref
    namespace = ref.namespace or policy.customer
    try:
        template = await ctx.kube.get(VmTemplate, ref.name, namespace)
    except NotFound as error:
        raise Rejected(
            "kubernetes", "TemplateNotFound", f"there is no VmTemplate {namespace}/{ref.name}: create it, or correct spec.templateRef"
        ) from error
    if namespace != policy.customer and policy.customer not in template.spec.shared_with:
        raise Rejected(
            "kubernetes",
            "TemplateNotShared",
            f"VmTemplate {namespace}/{ref.name} is not shared with {policy.customer}: its owner adds it to spec.sharedWith",
        )
    if template.spec.site_ref.name != policy.spec.site_ref.name:
        raise Rejected("kubernetes", "TemplateOfOtherSite", f"VmTemplate {namespace}/{ref.name} is of Site {template.spec.site_ref.name!r}")
    ready = find(template.status.conditions, c.READY)
    if ready is None or ready.status == "Unknown":
        raise Retryable(
            "kubernetes",
            "TemplateUnseen",
            f"VmTemplate {namespace}/{ref.name}: {ready.message if ready else 'not looked at yet'}",
            after=2.0,
        )
    if ready.status != "True":
        raise Rejected("kubernetes", "TemplateNotReady", f"VmTemplate {namespace}/{ref.name}: {ready.message}")
    return Seen(template, "Found", f"{template.spec.inventory_path} is {template.status.mo_ref}")


async def _addresses(ctx: Context, policy: AutoscalingPolicy, site: Site) -> Seen[Network]:
    network = addresses.network_of(policy.spec.network, site.spec.networks)
    if isinstance(network, addresses.Refusal):
        raise refuse(network)
    pool = policy.spec.network.ip_pool
    others = [
        other
        for other in await ctx.kube.list_objects(AutoscalingPolicy)
        if other.uid != policy.uid and other.spec.site_ref.name == policy.spec.site_ref.name and _older(other, policy)
    ]
    clash = next((other.key for other in others if _clashes(other, policy) and _may(other, site)), None)
    if clash is not None:
        raise Rejected(
            "vmscaler", "RangeOverlaps", f"{pool.start}-{pool.end} overlaps the range of policy {clash}: give each policy its own"
        )
    reserved = {*network.reserved, *([policy.spec.f5.vip] if policy.spec.f5.vip else [])}
    usable = addresses.usable(pool.start, pool.end, cidr=network.cidr, gateway=network.gateway, reserved=reserved)
    if usable == 0:
        raise Rejected("vmscaler", "RangeEmpty", f"every address of {pool.start}-{pool.end} is reserved: widen spec.network.ipPool")
    return Seen(network, "Found", f"{usable} addresses of network {network.name!r} may be used")


def _clashes(other: AutoscalingPolicy, policy: AutoscalingPolicy) -> bool:
    one, pool = other.spec.network.ip_pool, policy.spec.network.ip_pool
    return addresses.overlap(pool.start, pool.end, [(other.key, one.start, one.end)]) is not None


def _may(other: AutoscalingPolicy, site: Site) -> bool:
    """Whether the Site grants it its range: what can never take an address keeps it from nobody."""
    tenant = tenant_of(other.customer, site.spec.tenants, site.metadata.name)
    network = addresses.network_of(other.spec.network, site.spec.networks)
    if isinstance(tenant, addresses.Refusal) or isinstance(network, addresses.Refusal):
        return False
    pool = other.spec.network.ip_pool
    return addresses.range_granted(tenant, network.name, pool.start, pool.end)


def _older(other: AutoscalingPolicy, policy: AutoscalingPolicy) -> bool:
    """The older policy keeps its range; the younger one is told."""
    if other.metadata.creation_timestamp is None or policy.metadata.creation_timestamp is None:
        return other.key < policy.key
    return (other.metadata.creation_timestamp, other.key) < (policy.metadata.creation_timestamp, policy.key)


async def _granted(policy: AutoscalingPolicy, site: Site, template: VmTemplate | None, network: Network | None) -> Seen[Tenant]:
    tenant = tenant_of(policy.customer, site.spec.tenants, site.metadata.name)
    if isinstance(tenant, addresses.Refusal):
        raise refuse(tenant)
    pool = policy.spec.network.ip_pool
    refusal = refusals(
        tenant,
        site=site.metadata.name,
        pool=full_path(policy.spec.f5.pool_name),
        # What is not there yet cannot be granted or refused: its own condition says so, and it is looked at again once it is there.
        network=network.name if network is not None else None,
        start=pool.start,
        end=pool.end,
        folders=[vm_folder(policy, site), *([template.spec.inventory_path] if template is not None else [])],
        job=names.job_name(policy.customer, policy.service_name, tenant.job_prefix, policy.spec.jenkins.job_name),
        max_instances=policy.spec.scaling.max_instances,
    )
    if refusal is None and policy.spec.jenkins.job_name is not None:
        refusal = job_of_another(policy.spec.jenkins.job_name, policy.customer, tenant, site.spec.tenants)
    if refusal is not None:
        raise refuse(refusal)
    return Seen(tenant, "Granted", f"Site {site.metadata.name!r} grants this to namespace {policy.customer!r}")


async def _pool(systems: Systems, policy: AutoscalingPolicy, name: str) -> Seen[tuple[Pool, int, list[str]]]:
    try:
        pool = await systems.bigip.pool(name)
    except NotFound as error:
        raise Rejected(error.system, "PoolNotFound", f"the BIG-IP has no pool {name}: create it, or correct spec.f5.poolName") from error
    if not pool.monitor:
        raise Rejected("bigip", "PoolWithoutMonitor", f"pool {name} has no monitor, so no new member could be seen to be well: give it one")
    port = member_port(policy.spec.f5.member_port, _views(pool), name)
    if isinstance(port, addresses.Refusal):
        raise refuse(port)
    virtuals = await systems.bigip.virtual_servers(name)
    triples = [(virtual.name, virtual.address, virtual.port) for virtual in virtuals]
    wrong = vip_matches(policy.spec.f5.vip, policy.spec.f5.vip_port, triples, name)
    if wrong is not None:
        raise refuse(wrong)
    shown = [f"{virtual_name} {address}:{virtual_port}" for virtual_name, address, virtual_port in triples]
    used = f"used by {', '.join(shown)}" if shown else "no virtual server names it (an iRule may)"
    return Seen((pool, port, shown), "Found", f"{name}, monitor {pool.monitor.strip()}, members on port {port}, {used}")


async def _baseline(pool: Pool, mine: list[VmInstance]) -> Seen[int]:
    members = _base(pool, mine)
    enabled = sum(1 for member in members if member.enabled)
    return Seen(enabled, "Counted", f"{len(members)} members of {pool.full_path} are not this policy's, {enabled} of them enabled")


def _views(pool: Pool) -> list[MemberView]:
    return [MemberView(member.name, member.address, member.port, member.enabled) for member in pool.members]


def _base(pool: Pool, mine: list[VmInstance]) -> list[MemberView]:
    return baseline(_views(pool), {vmi.status.address for vmi in mine if vmi.status.address})


def _instances(policy: AutoscalingPolicy, pool: Pool | None, mine: list[VmInstance]) -> Instances:
    old = policy.status.instances or Instances()
    base = sum(1 for member in _base(pool, mine) if member.enabled) if pool is not None else old.baseline
    serving = sorted(vmi.metadata.name for vmi in mine if vmi.status.phase == InstancePhase.IN_SERVICE)
    return Instances(baseline=base, ours=len(serving), total=base + len(serving), names=serving)
