"""The reconcile of a VmTemplate: adopt what is at its inventory path, tell its hardware. Nothing in vCenter is changed."""

from __future__ import annotations

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.meta import ConditionStatus
from vmscaler.api.site import Site
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.decide.addresses import Refusal
from vmscaler.decide.conditions import find
from vmscaler.decide.grants import folder_granted, tenant_of
from vmscaler.flows.context import Context
from vmscaler.flows.look import Looks, Seen, refuse
from vmscaler.flows.status import write_status
from vmscaler.ports.errors import NotFound, Rejected, Retryable
from vmscaler.ports.vsphere import TemplateInfo


async def reconcile_template(ctx: Context, namespace: str, name: str) -> None:
    """One look. Raises Retryable where vCenter could not be seen, after the status says so."""
    try:
        template = await ctx.kube.get(VmTemplate, name, namespace)
    except NotFound:
        return
    if template.deleting:
        return
    looks = Looks.of(template, ctx.clock.now())
    info = await looks.look(c.READY, _adopt(ctx, template))
    update: dict[str, object] = {"conditions": looks.conditions, "observed_generation": template.metadata.generation}
    users = await _users(ctx, template)
    update["used_by"] = sorted(policy.key for policy in users)[:100]
    if info is not None:
        update |= {
            "mo_ref": info.mo_ref,
            "cpus": info.cpus,
            "memory_mib": info.memory_mib,
            "disk_gib": info.disk_gib,
            "guest_os": info.guest_os,
        }
    before, after = find(template.status.conditions, c.READY), find(looks.conditions, c.READY)
    await write_status(ctx, template.model_copy(update={"status": template.status.model_copy(update=update)}), base=template)
    moved = info is not None and template.status.mo_ref != info.mo_ref
    if after is not None and (before is None or (before.status, before.reason) != (after.status, after.reason) or moved):
        await ctx.kube.emit(template, "Normal" if after.status == ConditionStatus.TRUE else "Warning", after.reason, after.message)
    if after is not None and (before is None or (before.status, before.message) != (after.status, after.message) or moved):
        # The policies' own conditions hold these words.
        for policy in users:
            ctx.wake_object(policy)
    if looks.retry_after is not None:
        raise Retryable("vmscaler", "NotReady", f"VmTemplate {template.key} is not ready yet", after=looks.retry_after)


async def _adopt(ctx: Context, template: VmTemplate) -> Seen[TemplateInfo]:
    spec = template.spec
    if spec.source is not None:
        raise Rejected(
            "vmscaler",
            "SourceNotSupported",
            "spec.source is not supported yet: make the template in vCenter and give its inventoryPath alone",
        )
    try:
        site = await ctx.kube.get(Site, spec.site_ref.name)
    except NotFound as error:
        raise Rejected(
            "kubernetes", "SiteNotFound", f"there is no Site {spec.site_ref.name!r}: create it, or correct spec.siteRef"
        ) from error
    tenant = tenant_of(template.metadata.namespace or "", site.spec.tenants, site.metadata.name)
    if isinstance(tenant, Refusal):
        raise refuse(tenant)
    if not folder_granted(tenant, spec.inventory_path):
        raise Rejected(
            "vmscaler",
            "NotPermitted",
            f"{spec.inventory_path} is not inside a folder that Site {site.metadata.name!r} grants to this namespace: add it to folders in its spec.tenants",
        )
    systems = await ctx.systems(site)
    try:
        info = await systems.vsphere.template(spec.inventory_path)
    except NotFound as error:
        raise Rejected(
            error.system, "TemplateNotFound", f"vCenter has no VM or template {spec.inventory_path}: correct spec.inventoryPath"
        ) from error
    if not info.is_template:
        raise Rejected("vsphere", "NotATemplate", f"{spec.inventory_path} is a VM, not a template: convert it in vCenter, or name another")
    return Seen(info, "Adopted", f"{spec.inventory_path} is {info.mo_ref}: {info.cpus} CPU, {info.memory_mib} MiB, {info.disk_gib} GiB")


async def _users(ctx: Context, template: VmTemplate) -> list[AutoscalingPolicy]:
    def uses(policy: AutoscalingPolicy) -> bool:
        ref = policy.spec.template_ref
        return ref.name == template.metadata.name and (ref.namespace or policy.customer) == template.metadata.namespace

    return [policy for policy in await ctx.kube.list_objects(AutoscalingPolicy) if uses(policy)]
