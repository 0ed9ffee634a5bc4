"""Reads leaf properties through the PropertyCollector (facts of vSphere: never whole runtime, summary, config)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyVmomi import vim, vmodl

from vmscaler.adapters.vsphere.faults import message_of, name_of
from vmscaler.ports.errors import Retryable
from vmscaler.ports.vsphere import SYSTEM, TaskInfo, VmInfo

VM_PATHS = (
    "name",
    "config.template",
    "config.instanceUuid",
    "config.extraConfig",
    "runtime.powerState",
    "guest.toolsRunningStatus",
    "guest.ipAddress",
    "guest.net",
)
TASK_PATHS = ("info.state", "info.progress", "info.result", "info.error", "info.descriptionId")
MARK = "guestinfo.vmscaler."


def retrieve(
    content: Any, objects: Sequence[Any], type_: Any, paths: Sequence[str], *, permitted: bool = False
) -> list[tuple[Any, dict[str, Any]]]:
    """(object, {path: value}); what is not set is left out. Raises ManagedObjectNotFound for one object gone, and what the server
    says of a property that it keeps back (NoPermission, NotAuthenticated): such a one must not read as "not set".

    `permitted`: objects of which something is kept back for want of a permission are left out, where one of many is looked for.
    """
    if not objects:
        return []
    collector = vmodl.query.PropertyCollector
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=obj, skip=False) for obj in objects],
        propSet=[collector.PropertySpec(type=type_, pathSet=list(paths), all=False)],
    )
    found = []
    result = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
    while result is not None:
        for item in result.objects:
            faults = [missing.fault for missing in item.missingSet]
            if permitted and faults and all(_not_permitted(fault) for fault in faults):
                continue
            for fault in faults:
                raise fault
            found.append((item.obj, {prop.name: prop.val for prop in item.propSet}))
        if not result.token:
            break
        result = content.propertyCollector.ContinueRetrievePropertiesEx(result.token)
    return found


def _not_permitted(fault: Any) -> bool:
    # NotAuthenticated is a NoPermission, but says that the session has ended: that is of all objects.
    return isinstance(fault, vim.fault.NoPermission) and not isinstance(fault, vim.fault.NotAuthenticated)


def one(content: Any, obj: Any, type_: Any, paths: Sequence[str]) -> dict[str, Any]:
    """The properties of one object. Raises ManagedObjectNotFound."""
    found = retrieve(content, [obj], type_, paths)
    if not found:
        raise vmodl.fault.ManagedObjectNotFound(obj=obj)
    return found[0][1]


def of_vm(content: Any, vm: Any) -> dict[str, Any]:
    """A VM's VM_PATHS. Raises ManagedObjectNotFound, and Retryable where vCenter does not show its configuration.

    It does not while the VM is being made or its host is away; its marks would read as "none", and it would be let go as not ours.
    """
    properties = one(content, vm, vim.VirtualMachine, VM_PATHS)
    if "config.instanceUuid" not in properties:
        said = (
            f"{properties.get('name', vm._GetMoId())}: vCenter does not show its configuration now (it is being made, or its host is away)"
        )
        raise Retryable(SYSTEM, "VmNotReadable", said, after=2.0)
    return properties


def vm_info(obj: Any, properties: dict[str, Any]) -> VmInfo:
    """A VM's value type."""
    addresses = [properties.get("guest.ipAddress")]
    for nic in properties.get("guest.net") or []:
        addresses += list(nic.ipAddress or [])
    marks = {
        option.key.removeprefix(MARK): str(option.value)
        for option in properties.get("config.extraConfig") or []
        if option.key.startswith(MARK)
    }
    return VmInfo(
        mo_ref=obj._GetMoId(),
        name=properties.get("name", ""),
        instance_uuid=properties["config.instanceUuid"],
        powered_on=str(properties.get("runtime.powerState")) == "poweredOn",
        tools_running=properties.get("guest.toolsRunningStatus") == "guestToolsRunning",
        guest_addresses=tuple(dict.fromkeys(address for address in addresses if address)),
        guestinfo=marks,
    )


def task_info(task: Any, properties: dict[str, Any]) -> TaskInfo:
    """A task's value type. Its key is the moRef with which it is found again."""
    error, result = properties.get("info.error"), properties.get("info.result")
    return TaskInfo(
        key=task._GetMoId(),
        state=str(properties["info.state"]),
        progress=properties.get("info.progress"),
        result=result._GetMoId() if isinstance(result, vim.ManagedEntity) else None,
        fault=name_of(error) if error is not None else None,
        message=message_of(error) if error is not None else "",
    )
