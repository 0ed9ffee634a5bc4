"""The stage `allocate`: make the VmInstance, take a free address by creating its IpLease. Called by flows/steps.py.

The API server makes every allocation unique: an address is had by whoever creates the object of its name.
"""

from __future__ import annotations

from datetime import timedelta

from vmscaler.api import duration
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.iplease import IpLease, IpLeaseSpec, IpLeaseStatus, LeaseHolder, LeasePhase
from vmscaler.api.meta import FINALIZER, NameRef, ObjectMeta
from vmscaler.api.site import ProbeMethod, Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.decide import actions, addresses, instance, names
from vmscaler.flows.context import Context
from vmscaler.flows.recorder import Recorder, StepFailed
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Retryable
from vmscaler.ports.systems import Systems

LIMIT = timedelta(minutes=2)


async def allocate(ctx: Context, recorder: Recorder, policy: AutoscalingPolicy, site: Site, name: str) -> None:
    """One instance's object and address. Raises StepFailed(NoAddressFree | ...)."""
    await recorder.begin(actions.ADDRESS, name)
    vmi = await recorder.until(actions.ADDRESS, name, LIMIT, "AllocationTimeout", lambda: _instance(ctx, recorder, policy, site, name))
    address = await recorder.until(actions.ADDRESS, name, LIMIT, "AllocationTimeout", lambda: _address(ctx, recorder, policy, site, vmi))
    lease = names.lease_name(site.metadata.name, vmi.spec.network.name, address)
    await ctx.kube.patch_status(vmi, {"phase": "Pending", "address": address, "lease": lease})
    await recorder.done(actions.ADDRESS, name, f"{address} in network {vmi.spec.network.name}", address=address)


async def _instance(ctx: Context, recorder: Recorder, policy: AutoscalingPolicy, site: Site, name: str) -> VmInstance:
    try:
        return await ctx.kube.get(VmInstance, name, policy.customer)
    except NotFound:
        pass
    ref = policy.spec.template_ref
    template = await ctx.kube.get(VmTemplate, ref.name, ref.namespace or policy.customer)
    network = addresses.network_of(policy.spec.network, site.spec.networks)
    if isinstance(network, addresses.Refusal):
        raise StepFailed(network.reason, network.message)
    if policy.status.resolved is None:
        raise StepFailed("PolicyNotReady", "the policy's pool and template are not resolved: look at its conditions")
    wanted = instance.wanted(
        name,
        policy=policy,
        resolved=policy.status.resolved,
        site=site,
        network=network,
        template=template,
        event=recorder.event,
    )
    try:
        return await ctx.kube.create(wanted)
    except Conflict as error:
        raise Retryable(error.system, error.reason, error.message, after=0.2) from error


async def _address(ctx: Context, recorder: Recorder, policy: AutoscalingPolicy, site: Site, vmi: VmInstance) -> str:
    mine = await ctx.kube.list_objects(IpLease, labels={instance.HOLDER_UID: vmi.uid})
    if mine:
        return mine[0].spec.address
    systems = await ctx.systems(site)
    taken, network = await _taken(ctx, systems, site, vmi), vmi.spec.network
    reserved = {*_reserved(site, network.name), *([policy.spec.f5.vip] if policy.spec.f5.vip else [])}
    free = list(
        addresses.candidates(network.start, network.end, cidr=network.cidr, gateway=network.gateway, reserved=reserved, taken=taken)
    )
    known = await systems.vsphere.addresses_in_use(frozenset(free)) if ProbeMethod.INVENTORY in site.spec.address_probes.methods else {}
    for address in free:
        holder = f"VM {known[address]}" if address in known else await _answers(ctx, site, address)
        await recorder.begin(actions.PROBE, vmi.metadata.name)
        if holder is not None:
            recorder.progress(f"{address} is in use by {holder}: skipped")
            continue
        try:
            lease = await ctx.kube.create(_lease(site, vmi, address))
        except Conflict:
            continue
        await ctx.kube.patch_status(lease, {"phase": LeasePhase.LEASED, "since": ctx.clock.now().isoformat()})
        await recorder.done(actions.PROBE, vmi.metadata.name, "nobody answers", address=address)
        return address
    raise StepFailed(
        "NoAddressFree",
        f"no address of {network.start}-{network.end} is free ({len(taken)} taken, {len(free)} in use by others): "
        "widen spec.network.ipPool or free leases (kubectl get ipl)",
    )


async def _taken(ctx: Context, systems: Systems, site: Site, vmi: VmInstance) -> set[str]:
    leases = await ctx.kube.list_objects(IpLease, labels={instance.SITE: site.metadata.name})
    pool = await systems.bigip.pool(vmi.spec.pool.name)
    return {lease.spec.address for lease in leases if lease.spec.network == vmi.spec.network.name} | {m.address for m in pool.members}


def _reserved(site: Site, network: str) -> list[str]:
    return next((list(n.reserved) for n in site.spec.networks if n.name == network), [])


async def _answers(ctx: Context, site: Site, address: str) -> str | None:
    probes = site.spec.address_probes
    seconds = duration.parse(probes.timeout).total_seconds()
    if ProbeMethod.TCP in probes.methods:
        port = await ctx.probe.tcp(address, probes.tcp_ports, seconds)
        if port is not None:
            return f"a listener on TCP port {port}"
    if ProbeMethod.ICMP in probes.methods:
        try:
            if await ctx.probe.icmp(address, seconds):
                return "a host that answers ICMP"
        except OutsideError as error:
            raise StepFailed(error.reason, error.message) from error
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
