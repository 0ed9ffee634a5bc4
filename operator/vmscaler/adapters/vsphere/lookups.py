"""Finds things in the inventory by path or name. Called by client.py and clonespec.py in a thread."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim, vmodl

from vmscaler.adapters.vsphere.properties import one, retrieve
from vmscaler.ports.errors import NotFound, Rejected, Retryable
from vmscaler.ports.vsphere import SYSTEM, TemplateInfo

TEMPLATE_PATHS = (
    "name",
    "config.template",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "config.guestFullName",
    "config.guestId",
)
KIB_PER_GIB = 1024 * 1024


def by_path(content: Any, path: str) -> Any:
    """The object at this inventory path, or None; also None where the user may not see it."""
    return content.searchIndex.FindByInventoryPath(path.strip("/"))


def by_ref(content: Any, type_: Any, mo_ref: str) -> Any:
    """An object whose reference is known; nothing is asked of the server."""
    return type_(mo_ref, content.searchIndex._stub)


def template_at(content: Any, path: str) -> TemplateInfo:
    """What is at this path. Raises NotFound, Retryable while its configuration is not shown."""
    found = by_path(content, path)
    if not isinstance(found, vim.VirtualMachine):
        raise NotFound(SYSTEM, "TemplateNotFound", f"vCenter has no VM or template at {path}")
    properties = one(content, found, vim.VirtualMachine, TEMPLATE_PATHS)
    if "config.hardware.numCPU" not in properties:
        said = f"{path}: vCenter does not show its configuration now (it is being made, or its host is away)"
        raise Retryable(SYSTEM, "VmNotReadable", said, after=2.0)
    disks = [device for device in properties.get("config.hardware.device") or [] if isinstance(device, vim.vm.device.VirtualDisk)]
    return TemplateInfo(
        mo_ref=found._GetMoId(),
        name=properties.get("name", ""),
        is_template=bool(properties.get("config.template")),
        cpus=int(properties["config.hardware.numCPU"]),
        memory_mib=int(properties.get("config.hardware.memoryMB") or 0),
        disk_gib=-(-sum(int(disk.capacityInKB or 0) for disk in disks) // KIB_PER_GIB),
        guest_os=str(properties.get("config.guestFullName") or properties.get("config.guestId") or ""),
        folder=path.rstrip("/").rpartition("/")[0],
    )


def folder_at(content: Any, path: str) -> Any:
    """Raises Rejected(FolderNotFound)."""
    found = by_path(content, path)
    if not isinstance(found, vim.Folder):
        raise Rejected(SYSTEM, "FolderNotFound", f"vCenter has no VM folder {path}: create it, or correct spec.placement.folder")
    return found


def missing_folders(content: Any, path: str) -> list[tuple[str, str]]:
    """(parent, name) of the folders to create, outermost first. Raises Rejected(FolderNotFound) outside of a datacenter's VM folders."""
    parts = [part for part in path.split("/") if part]
    missing: list[tuple[str, str]] = []
    while len(parts) > 2 and by_path(content, "/".join(parts)) is None:
        missing.insert(0, ("/" + "/".join(parts[:-1]), parts[-1]))
        parts = parts[:-1]
    base = "/" + "/".join(parts)
    found = by_path(content, base)
    holds = one(content, found, vim.Folder, ("childType",)).get("childType") or [] if isinstance(found, vim.Folder) else []
    if "VirtualMachine" not in [str(getattr(type_, "_wsdlName", type_)) for type_ in holds]:
        said = f"{base} is no VM folder: spec.placement.folder must be a path as /<datacenter>/vm/<folder> of a datacenter that exists"
        raise Rejected(SYSTEM, "FolderNotFound", said)
    return missing


def network_named(content: Any, datacenter: str, name: str) -> Any:
    """Raises Rejected(PortGroupNotFound | PortGroupAmbiguous | DatacenterNotFound)."""
    return _named(
        content, datacenter, "network", vim.Network, name, "PortGroup", "port group", "correct portGroup of the network in the Site's spec"
    )


def datastore_named(content: Any, datacenter: str, name: str) -> Any:
    """A datastore; never a cluster of them (facts of vSphere). Raises Rejected(DatastoreNotFound | DatacenterNotFound)."""
    return _named(
        content, datacenter, "datastore", vim.Datastore, name, "Datastore", "datastore", "correct spec.placement.datastore of the policy"
    )


def _named(content: Any, datacenter: str, property_: str, type_: Any, name: str, reason: str, kind: str, cure: str) -> Any:
    center = by_path(content, datacenter)
    if not isinstance(center, vim.Datacenter):
        said = f"vCenter has no datacenter {datacenter!r}: correct spec.vcenter.datacenter of the Site"
        raise Rejected(SYSTEM, "DatacenterNotFound", said)
    listed = one(content, center, vim.Datacenter, (property_,)).get(property_) or []
    try:
        # Other teams' are listed too; the user need not be allowed to see them.
        readable = retrieve(content, listed, type_, ("name",), permitted=True)
        found = [obj for obj, properties in readable if properties.get("name") == name]
    except vmodl.fault.ManagedObjectNotFound as error:
        raise Retryable(
            SYSTEM, "InventoryChanged", f"a {kind} of datacenter {datacenter} went while they were listed", after=1.0
        ) from error
    if not found:
        raise Rejected(SYSTEM, f"{reason}NotFound", f"datacenter {datacenter} has no {kind} {name!r} that the vCenter user may see: {cure}")
    if len(found) > 1:
        raise Rejected(SYSTEM, f"{reason}Ambiguous", f"datacenter {datacenter} has {len(found)} {kind}s {name!r}: rename one, or {cure}")
    return found[0]
