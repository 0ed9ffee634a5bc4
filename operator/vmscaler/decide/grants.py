"""Tenancy: what a Site grants to a namespace. What is not granted is refused with what to add to the Site."""

from __future__ import annotations

from collections.abc import Sequence

from vmscaler.api.site import Tenant
from vmscaler.decide import names
from vmscaler.decide.addresses import Refusal, range_granted
from vmscaler.decide.pool import full_path


def tenant_of(namespace: str, tenants: Sequence[Tenant], site: str) -> Tenant | Refusal:
    """The grant that names the namespace."""
    for tenant in tenants:
        if namespace in tenant.namespaces:
            return tenant
    return Refusal(
        "NamespaceNotGranted",
        f"Site {site!r} does not grant namespace {namespace!r} anything: its administrator adds an entry to spec.tenants "
        f"with namespaces: [{namespace}]",
    )


def pool_granted(tenant: Tenant, pool: str) -> bool:
    """Whether the pool's full path is granted. A trailing * stands for the rest of the name, and never for a folder: it ends at a '/'."""
    for grant in map(full_path, tenant.pools):
        prefix = grant.removesuffix("*")
        if pool == grant or (prefix != grant and pool.startswith(prefix) and "/" not in pool[len(prefix) :]):
            return True
    return False


def folder_granted(tenant: Tenant, path: str) -> bool:
    """Whether an inventory path is a granted folder or below one. No folders listed: none is granted."""
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in tenant.folders)


def refusals(
    tenant: Tenant,
    *,
    site: str,
    pool: str,
    network: str | None,
    start: str,
    end: str,
    folders: Sequence[str],
    job: str,
    max_instances: int,
) -> Refusal | None:
    """The first thing of the policy that the grant does not cover, or None. `network` is None where it is not known yet."""
    where = f"Site {site!r}, the entry of spec.tenants for this namespace"
    if not pool_granted(tenant, pool):
        return Refusal("PoolNotGranted", f"pool {pool} is not granted: add it to pools in {where}")
    if network is not None and not range_granted(tenant, network, start, end):
        return Refusal("RangeNotGranted", f"{start}-{end} in network {network!r} is not granted: add it to networks in {where}")
    for path in folders:
        if not folder_granted(tenant, path):
            return Refusal("FolderNotGranted", f"{path} is not inside a granted folder: add its folder to folders in {where}")
    if not job.startswith(tenant.job_prefix):
        return Refusal(
            "JobNameNotGranted", f"job {job!r} does not begin with {tenant.job_prefix!r}: name it so, or change jobPrefix in {where}"
        )
    if max_instances > tenant.max_instances:
        return Refusal(
            "CapExceeded",
            f"maxInstances {max_instances} is above the grant's {tenant.max_instances}: lower it, or raise maxInstances in {where}",
        )
    return None


def job_of_another(job: str, namespace: str, tenant: Tenant, tenants: Sequence[Tenant]) -> Refusal | None:
    """Whether this name of the namespace's own choice is one that another namespace's policies get by default.

    Several tenants usually share a prefix: whoever named a job so first would keep the other's policy from ever being Ready.
    """
    if job.startswith(_default_begin(tenant, namespace)):
        return None
    for other in tenants:
        for name in other.namespaces:
            if name != namespace and job.startswith(_default_begin(other, name)):
                return Refusal(
                    "JobNameNotGranted",
                    f"job {job!r} begins like those of namespace {name!r}: let spec.jenkins.jobName begin with "
                    f"{_default_begin(tenant, namespace)!r}, or leave it out",
                )
    return None


def _default_begin(tenant: Tenant, namespace: str) -> str:
    return names.slug(f"{tenant.job_prefix}{namespace}") + "-"
