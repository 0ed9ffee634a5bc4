"""The reconcile of a Site: log in to each system, one condition each, and how many use it.

A Site in use cannot go; one that goes takes its two entries out of prometheus.yml.
"""

from __future__ import annotations

from collections.abc import Awaitable
from ipaddress import IPv4Network
from itertools import combinations

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.iplease import IpLease
from vmscaler.api.meta import FINALIZER, Condition, ConditionStatus
from vmscaler.api.site import PrometheusHost, Site, SystemStatus
from vmscaler.api.vminstance import VmInstance
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.decide.conditions import summarise
from vmscaler.decide.instance import SITE
from vmscaler.flows.context import Context
from vmscaler.flows.look import Looks, Seen, status_of
from vmscaler.flows.status import write_status
from vmscaler.ports.errors import NotFound, OutsideError, Rejected, Retryable
from vmscaler.ports.systems import Systems

RETRY = 10.0


async def reconcile_site(ctx: Context, name: str) -> None:
    """One look. Raises Retryable where a system could not be seen, after the status says so."""
    try:
        site = await ctx.kube.get(Site, name)
    except NotFound:
        return
    if site.deleting:
        await _remove(ctx, site)
        return
    site = await ctx.kube.add_finalizer(site, FINALIZER)
    looks = Looks.of(site, ctx.clock.now())
    versions: list[SystemStatus] = list(site.status.systems)
    try:
        _networks_apart(site)
        systems = await ctx.systems(site)
    except OutsideError as error:
        for type_ in c.SITE_CONDITIONS:
            looks.put(type_, status_of(error), error.reason, error.message)
        looks.again(RETRY)
    else:
        versions = await _look(looks, site, systems)
    policies = [p for p in await ctx.kube.list_objects(AutoscalingPolicy) if p.spec.site_ref.name == name]
    instances = await ctx.kube.list_objects(VmInstance, labels={SITE: name})
    conditions = summarise(looks.conditions, c.SITE_CONDITIONS, now=looks.now, generation=looks.generation)
    update = {
        "conditions": conditions,
        "observed_generation": site.metadata.generation,
        "systems": versions,
        "policies": len(policies),
        "instances": len(instances),
    }
    await write_status(ctx, site.model_copy(update={"status": site.status.model_copy(update=update)}), base=site)
    if site.status.observed_generation != site.metadata.generation or _states(site.status.conditions) != _states(conditions):
        # What hung on a grant, or on a system that is back (or gone), is looked at again at once.
        for policy in policies:
            ctx.wake_object(policy)
        for template in await ctx.kube.list_objects(VmTemplate):
            ctx.wake_object(template)
    if looks.retry_after is not None:
        raise Retryable("vmscaler", "NotReady", f"Site {name} is not ready yet", after=min(looks.retry_after, RETRY))


def _states(conditions: list[Condition]) -> dict[str, ConditionStatus]:
    return {condition.type: condition.status for condition in conditions}


def _networks_apart(site: Site) -> None:
    for one, other in combinations(site.spec.networks, 2):
        if IPv4Network(one.cidr).overlaps(IPv4Network(other.cidr)):
            raise Rejected(
                "vmscaler", "NetworksOverlap", f"networks {one.name!r} and {other.name!r} of the Site overlap: correct their CIDRs"
            )


async def _look(looks: Looks, site: Site, systems: Systems) -> list[SystemStatus]:
    spec = site.spec
    found = []
    for type_, name, url, about in (
        (c.VCENTER_READY, "vcenter", spec.vcenter.url, systems.vsphere.about),
        (c.BIGIP_READY, "bigip", spec.bigip.urls[0], systems.bigip.about),
        (c.JENKINS_READY, "jenkins", spec.jenkins.url, systems.jenkins.about),
        (c.PROMETHEUS_READY, "prometheus", spec.prometheus.hosts[0].url, systems.prometheus.about),
        (c.ALERTMANAGER_READY, "alertmanager", spec.alertmanager.hosts[0].url, systems.alertmanager.about),
    ):
        version = await looks.look(type_, _about(about()))
        old = next((s for s in site.status.systems if s.name == name), None)
        found.append(SystemStatus(name=name, url=url, version=version or (old.version if old else "")))
    await looks.look(c.MONITORING_HOSTS_READY, _hosts(systems))
    return found


async def _about(about: Awaitable[str]) -> Seen[str]:
    version = await about
    return Seen(version, "LoggedIn", version)


async def _hosts(systems: Systems) -> Seen[dict[str, str]]:
    found = await systems.hosts.check()
    return Seen(found, "LoggedIn", "; ".join(f"{host}: {said}" for host, said in sorted(found.items())))


async def _remove(ctx: Context, site: Site) -> None:
    if FINALIZER not in site.metadata.finalizers:
        return
    name = site.metadata.name
    policies = [p.key for p in await ctx.kube.list_objects(AutoscalingPolicy) if p.spec.site_ref.name == name]
    instances = [v.key for v in await ctx.kube.list_objects(VmInstance, labels={SITE: name})]
    leases = [lease.metadata.name for lease in await ctx.kube.list_objects(IpLease, labels={SITE: name})]
    users = [*(f"policy {p}" for p in policies), *(f"instance {i}" for i in instances), *(f"lease {lease}" for lease in leases)]
    if users:
        shown = ", ".join(users[:3]) + (f" and {len(users) - 3} more" if len(users) > 3 else "")
        await _held(ctx, site, "InUse", f"the Site is being deleted but used by {shown}: delete those first")
        raise Retryable("vmscaler", "InUse", f"Site {name} is used by {shown}", after=RETRY)
    try:
        await _remove_entries(ctx, site)
    except OutsideError as error:
        await _held(ctx, site, error.reason, f"the Site is being deleted, but its entries in prometheus.yml stay: {error.message}")
        raise Retryable(error.system, error.reason, error.message, after=RETRY) from error
    await ctx.kube.remove_finalizer(site, FINALIZER)
    await ctx.systems_of.forget(site)


async def _held(ctx: Context, site: Site, reason: str, message: str) -> None:
    looks = Looks.of(site, ctx.clock.now())
    looks.put(c.READY, ConditionStatus.FALSE, reason, message)
    update = {"conditions": looks.conditions}
    await write_status(ctx, site.model_copy(update={"status": site.status.model_copy(update=update)}), base=site)


async def _remove_entries(ctx: Context, site: Site) -> None:
    if not any(seen.name == "prometheus" and seen.version for seen in site.status.systems):
        return  # it never answered, and where it does not answer nothing is written: a Site with a wrong URL can go
    others = [other for other in await ctx.kube.list_objects(Site) if other.uid != site.uid and not other.deleting]
    files = {_file(host) for other in others for host in other.spec.prometheus.hosts}
    systems = await ctx.systems(site)
    await systems.hosts.remove_entries(keep=[host.name for host in site.spec.prometheus.hosts if _file(host) in files])


def _file(host: PrometheusHost) -> tuple[str, int, str]:
    return host.ssh.host, host.ssh.port, host.config_file
