"""The VmInstance that a claim leads to: a snapshot of all that creation and clean-up need."""

from __future__ import annotations

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, Resolved
from vmscaler.api.meta import FINALIZER, NameRef, ObjectMeta, PolicyRef
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.api.site import Network, Site
from vmscaler.api.vminstance import (
    InstanceMetrics,
    InstanceNetwork,
    InstancePlacement,
    InstancePool,
    InstanceTemplate,
    VmInstance,
    VmInstanceSpec,
    VmInstanceStatus,
)
from vmscaler.api.vmtemplate import VmTemplate

POLICY_UID = "vmscaler.io/policy-uid"
EVENT = "vmscaler.io/event"
BUILD = "vmscaler.io/build"
SITE = "vmscaler.io/site"
HOLDER_UID = "vmscaler.io/holder-uid"


def vm_folder(policy: AutoscalingPolicy, site: Site) -> str:
    """The VM folder: the spec's, or one per service below /<datacenter>/vm/vmscaler."""
    if policy.spec.placement.folder is not None:
        return policy.spec.placement.folder
    return f"/{site.spec.vcenter.datacenter}/vm/vmscaler/{policy.customer}/{policy.service_name}"


def metrics(policy: AutoscalingPolicy) -> InstanceMetrics:
    """How the service's VMs are scraped: the job and labels that select it."""
    monitoring = policy.spec.monitoring
    return InstanceMetrics(
        prometheus_job=monitoring.prometheus_job,
        labels=dict(monitoring.match_labels),
        port=monitoring.metrics_port,
        exporter=monitoring.exporter,
    )


def wanted(
    name: str,
    *,
    policy: AutoscalingPolicy,
    resolved: Resolved,
    site: Site,
    network: Network,
    template: VmTemplate,
    event: ScaleOutEvent,
) -> VmInstance:
    """The instance of this name. Raises ValueError where the policy is not resolved."""
    if resolved.pool is None or resolved.member_port is None or template.status.mo_ref is None:
        raise ValueError(f"policy {policy.key} is not resolved")
    ip_pool, placement = policy.spec.network.ip_pool, policy.spec.placement
    spec = VmInstanceSpec(
        policy_ref=PolicyRef(namespace=policy.customer, name=policy.metadata.name, uid=policy.uid),
        site_ref=NameRef(name=site.metadata.name),
        event_ref=NameRef(name=event.metadata.name),
        installation=site.spec.installation,
        service=policy.service_name,
        vm_name=name,
        template=InstanceTemplate(inventory_path=template.spec.inventory_path, mo_ref=template.status.mo_ref),
        placement=InstancePlacement(
            folder=vm_folder(policy, site),
            resource_pool=placement.resource_pool,
            datastore=placement.datastore,
            customization=placement.customization,
        ),
        network=InstanceNetwork(
            name=network.name,
            port_group=network.port_group,
            cidr=network.cidr,
            gateway=network.gateway,
            dns_servers=list(network.dns_servers),
            domain=network.domain,
            start=ip_pool.start,
            end=ip_pool.end,
        ),
        pool=InstancePool(name=resolved.pool, member_port=resolved.member_port, health_check_path=policy.spec.f5.health_check_path),
        metrics=metrics(policy),
        timeouts=policy.spec.timeouts,
    )
    labels = {POLICY_UID: policy.uid, EVENT: event.metadata.name, SITE: site.metadata.name}
    meta = ObjectMeta(name=name, namespace=policy.customer, labels=labels, finalizers=[FINALIZER])
    return VmInstance(metadata=meta, spec=spec, status=VmInstanceStatus())
