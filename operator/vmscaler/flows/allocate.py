"""The stage `allocate`: make the VmInstance, take a free address by creating its IpLease. Called by flows/steps.py.

The API server makes every allocation unique: an address is had by whoever creates the object of its name.
"""

from __future__ import annotations

from datetime import timedelta

from vmscaler.api import duration
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.conditions import GRANTED
from vmscaler.api.iplease import IpLease, IpLeaseSpec, IpLeaseStatus, LeaseHolder, LeasePhase
from vmscaler.api.meta import FINALIZER, ConditionStatus, NameRef, ObjectMeta
from vmscaler.api.site import ProbeMethod, Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.decide import actions, addresses, conditions, instance, names
from vmscaler.flows.context import Context
from vmscaler.flows.recorder import Recorder, StepFailed
from vmscaler.flows.status import ensure_status, rfc3339
from vmscaler.ports.errors import Conflict, NotFound, Retryable
from vmscaler.ports.systems import Systems

LIMIT = timedelta(minutes=2)


async def allocate(ctx: Context, recorder: Recorder, policy: AutoscalingPolicy, site: Site, name: str) -> None:
    """One instance's object and address. Raises StepFailed(NoAddressFree | ...)."""
    await recorder.begin(actions.ADDRESS, name)
    vmi = await recorder.until(
        actions.ADDRESS, name, LIMIT, "AllocationTimeout", lambda: _instance(ctx, recorder, policy, site, name), unborn=True
    )
    address = await recorder.until(actions.ADDRESS, name, LIMIT, "AllocationTimeout", lambda: _address(ctx, recorder, policy, site, vmi))
    lease = names.lease_name(site.metadata.name, vmi.spec.network.name, address)
    await ensure_status(ctx, vmi, {"phase": "Pending", "address": address, "lease": lease})
    await recorder.done(actions.ADDRESS, name, f"{address} in network {vmi.spec.network.name}", address=address)


async def _instance(ctx: Context, recorder: Recorder, policy: AutoscalingPolicy, site: Site, name: str) -> VmInstance:
    try:
        return await ctx.kube.get(VmInstance, name, policy.customer)
    except NotFound:
        pass
    policy = await _as_granted(ctx, policy)
    ref = policy.spec.template_ref
    template = await ctx.kube.get(VmTemplate, ref.name, ref.namespace or policy.customer)
    network = addresses.network_of(policy.spec.network, site.spec.networks)
    if isinstance(network, addresses.Refusal):
        raise StepFailed(network.reason, network.message)
    resolved = policy.status.resolved
    if resolved is None or resolved.pool is None or resolved.member_port is None or template.status.mo_ref is None:
        raise StepFailed("PolicyNotReady", "the policy's pool and template are not resolved: look at its conditions")
    wanted = instance.wanted(name, policy=policy, resolved=resolved, site=site, network=network, template=template, event=recorder.event)
    try:
        return await ctx.kube.create(wanted)
    except Conflict as error:
        raise Retryable(error.system, error.reason, error.message, after=0.2) from error


async def _as_granted(ctx: Context, seen: AutoscalingPolicy) -> AutoscalingPolicy:
    """The policy as it is now, if that very spec was looked at and granted: it may have been changed since the claim."""
    policy = await ctx.kube.get(AutoscalingPolicy, seen.metadata.name, seen.metadata.namespace)
    if policy.uid != seen.uid:
        raise StepFailed("PolicyDeleted", f"policy {seen.key} was deleted and made anew while the event ran")
    granted = conditions.find(policy.status.conditions, GRANTED)
    if granted is None or granted.observed_generation != policy.metadata.generation:
        ctx.wake_object(policy)
        raise Retryable("vmscaler", "SpecChanged", f"the spec of policy {policy.key} has changed and is being looked at", after=1.0)
    if granted.status == ConditionStatus.UNKNOWN:
        raise Retryable("vmscaler", granted.reason, f"{GRANTED}: {granted.message}", after=1.0)
    if granted.status == ConditionStatus.FALSE:
        raise StepFailed(granted.reason, f"{GRANTED}: {granted.message}")
    return policy


async def _address(ctx: Context, recorder: Recorder, policy: AutoscalingPolicy, site: Site, vmi: VmInstance) -> str:
    await recorder.begin(actions.PROBE, vmi.metadata.name)
    mine = await ctx.kube.list_objects(IpLease, labels={instance.HOLDER_UID: vmi.uid})
    if mine:
        address = mine[0].spec.address
        if mine[0].status.since is None:
            await _leased(ctx, mine[0])
        await recorder.done(actions.PROBE, vmi.metadata.name, "nobody answered", address=address)
        return address
    systems = await ctx.systems(site)
    taken, network = await _taken(ctx, systems, site, vmi), vmi.spec.network
    reserved = await _reserved(systems, policy, site, vmi)
    free = addresses.candidates(network.start, network.end, cidr=network.cidr, gateway=network.gateway, reserved=reserved, taken=taken)
    # A node is in use, or somebody's plan; taken for ours, it would go with our member.
    found = await systems.bigip.nodes_by_address()
    nodes = {_called(path): path for path in found.values()} | found
    asked = 0
    for address in free:
        asked += 1
        planned = f"node {nodes[address]} of the BIG-IP" if address in nodes else None
        holder = planned or await _known(systems, site, address) or await _answers(ctx, site, address)
        if holder is not None:
            recorder.progress(f"{address} is in use by {holder}: skipped")
            continue
        try:
            lease = await ctx.kube.create(_lease(site, vmi, address))
        except Conflict:
            continue
        await _leased(ctx, lease)
        await recorder.done(actions.PROBE, vmi.metadata.name, "nobody answers", address=address)
        return address
    await recorder.failed(actions.PROBE, vmi.metadata.name, f"{asked} addresses were asked for, all are in use")
    raise StepFailed(
        "NoAddressFree",
        f"no address of {network.start}-{network.end} is free ({asked} were asked for and are in use, the rest are leased, "
        "members of the pool or reserved): widen spec.network.ipPool or free leases (kubectl get ipl)",
    )


def _called(full_path: str) -> str:
    """The address by which a node is called: that it has another one does not make the name free."""
    return full_path.rpartition("/")[2].partition("%")[0]


async def _leased(ctx: Context, lease: IpLease) -> None:
    await ensure_status(ctx, lease, {"phase": LeasePhase.LEASED, "since": rfc3339(ctx.clock.now())})


async def _taken(ctx: Context, systems: Systems, site: Site, vmi: VmInstance) -> set[str]:
    leases = await ctx.kube.list_objects(IpLease, labels={instance.SITE: site.metadata.name})
    pool = await systems.bigip.pool(vmi.spec.pool.name)
    # Of all networks: those of a Site do not overlap, and one may have been given another name since.
    return {lease.spec.address for lease in leases} | {member.address for member in pool.members}


async def _reserved(systems: Systems, policy: AutoscalingPolicy, site: Site, vmi: VmInstance) -> set[str]:
    """What is never handed out besides the network's own: the Site's list, its name servers, the VIPs (given, and seen at the pool)."""
    listed = {address for network in site.spec.networks if network.name == vmi.spec.network.name for address in network.reserved}
    seen = {virtual.address for virtual in await systems.bigip.virtual_servers(vmi.spec.pool.name)}
    given = {policy.spec.f5.vip} if policy.spec.f5.vip else set()
    return listed | seen | given | set(vmi.spec.network.dns_servers)


async def _known(systems: Systems, site: Site, address: str) -> str | None:
    """Asked for one candidate at a time: a whole range would be a look-up for each of its addresses."""
    if ProbeMethod.INVENTORY not in site.spec.address_probes.methods:
        return None
    found = await systems.vsphere.addresses_in_use(frozenset({address}))
    return f"VM {found[address]}" if address in found else None


async def _answers(ctx: Context, site: Site, address: str) -> str | None:
    probes = site.spec.address_probes
    seconds = duration.parse(probes.timeout).total_seconds()
    if ProbeMethod.TCP in probes.methods:
        port = await ctx.probe.tcp(address, probes.tcp_ports, seconds)
        if port is not None:
            return f"a listener on TCP port {port}"
    if ProbeMethod.ICMP in probes.methods and await ctx.probe.icmp(address, seconds):
        return "a host that answers ICMP"
    return None


def _lease(site: Site, vmi: VmInstance, address: str) -> IpLease:
    holder = LeaseHolder(namespace=vmi.metadata.namespace or "", name=vmi.metadata.name, uid=vmi.uid)
    meta = ObjectMeta(
        name=names.lease_name(site.metadata.name, vmi.spec.network.name, address),
        labels={instance.SITE: site.metadata.name, instance.HOLDER_UID: vmi.uid},
        finalizers=[FINALIZER],
    )
    spec = IpLeaseSpec(site_ref=NameRef(name=site.metadata.name), network=vmi.spec.network.name, address=address, holder=holder)
    return IpLease(metadata=meta, spec=spec, status=IpLeaseStatus())
