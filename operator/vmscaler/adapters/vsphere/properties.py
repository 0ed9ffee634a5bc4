"""Reads leaf properties through the PropertyCollector (facts of vSphere: never whole runtime, summary, config)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyVmomi import vim, vmodl

from vmscaler.ports.vsphere import TaskInfo, VmInfo

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
TASK_PATHS = ("info.key", "info.state", "info.progress", "info.result", "info.error", "info.descriptionId")
MARK = "guestinfo.vmscaler."


def retrieve(content: Any, objects: Sequence[Any], type_: Any, paths: Sequence[str]) -> list[tuple[Any, dict[str, Any]]]:
    """(object, {path: value}) of those that exist. Absent properties are left out; raises ManagedObjectNotFound for one object gone."""
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
        found += [(item.obj, {prop.name: prop.val for prop in item.propSet}) for item in result.objects]
        if not result.token:
            break
        result = content.propertyCollector.ContinueRetrievePropertiesEx(result.token)
    return found


def one(content: Any, obj: Any, type_: Any, paths: Sequence[str]) -> dict[str, Any]:
    """The properties of one object. Raises ManagedObjectNotFound."""
    found = retrieve(content, [obj], type_, paths)
    if not found:
        raise vmodl.fault.ManagedObjectNotFound(obj=obj)
    return found[0][1]


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
        instance_uuid=properties.get("config.instanceUuid", ""),
        powered_on=str(properties.get("runtime.powerState")) == "poweredOn",
        tools_running=properties.get("guest.toolsRunningStatus") == "guestToolsRunning",
        guest_addresses=tuple(dict.fromkeys(address for address in addresses if address)),
        guestinfo=marks,
    )


def task_info(properties: dict[str, Any]) -> TaskInfo:
    """A task's value type."""
    error, result = properties.get("info.error"), properties.get("info.result")
    return TaskInfo(
        key=str(properties.get("info.key", "")),
        state=str(properties.get("info.state", "")),
        progress=properties.get("info.progress"),
        result=result._GetMoId() if isinstance(result, vim.ManagedEntity) else None,
        fault=type(error).__name__.rpartition(".")[2] if error is not None else None,
        message=" ".join(str(getattr(error, "msg", "") or "").split())[:300] if error is not None else "",
    )
