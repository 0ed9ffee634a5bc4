"""ports.vsphere.VSphere on a real vCenter. Made by adapters/systems.py for a Site; the stages and the clean-up call it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from pyVmomi import vim, vmodl

from vmscaler.adapters.vsphere.clonespec import clone_spec
from vmscaler.adapters.vsphere.properties import TASK_PATHS, VM_PATHS, one, task_info, vm_info
from vmscaler.adapters.vsphere.session import Session, message_of, name_of
from vmscaler.decide.marks import ours
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable
from vmscaler.ports.vsphere import SYSTEM, CloneOrder, TaskInfo, TemplateInfo, VmInfo

T = TypeVar("T")

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
# Power operations and Destroy are waited for in the thread, for at most this long (seconds), well below a whole call's deadline.
TASK_WAIT = 45.0


class VSphereClient:
    """One vCenter. `datacenter` is the name with which inventory paths begin."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        ca: str,
        datacenter: str,
        effects: Effects,
        *,
        timeout: float = 20.0,
        deadline: float = 60.0,
    ) -> None:
        self._session = Session(url, username, password, ca, timeout=timeout, deadline=deadline)
        self._datacenter, self._effects = datacenter, effects

    async def about(self) -> str:
        """Product and version."""
        return await self._session.call("log in", lambda content: f"{content.about.fullName}")

    async def template(self, inventory_path: str) -> TemplateInfo:
        """What is at this path. Raises NotFound, Rejected(NotPermitted)."""
        return await self._session.call(f"look up {inventory_path}", lambda content: _template(content, inventory_path))

    async def find_vm(self, folder: str, name: str) -> VmInfo | None:
        """The VM of this name in this folder. Raises Rejected(FolderNotFound)."""

        def find(content: Any) -> VmInfo | None:
            where = _folder(content, folder)
            found = content.searchIndex.FindChild(where, name)
            return vm_info(found, one(content, found, vim.VirtualMachine, VM_PATHS)) if isinstance(found, vim.VirtualMachine) else None

        return await self._session.call(f"look for {name} in {folder}", find)

    async def vm(self, mo_ref: str) -> VmInfo:
        """A VM by reference. Raises NotFound."""

        def read(content: Any) -> VmInfo:
            obj = vim.VirtualMachine(mo_ref, content.searchIndex._stub)
            return vm_info(obj, one(content, obj, vim.VirtualMachine, VM_PATHS))

        return await self._session.call(f"read {mo_ref}", read)

    async def clones_in_flight(self, template_mo_ref: str) -> list[TaskInfo]:
        """Queued and running clone tasks of the template."""

        def read(content: Any) -> list[TaskInfo]:
            template = vim.VirtualMachine(template_mo_ref, content.searchIndex._stub)
            tasks = one(content, template, vim.VirtualMachine, ("recentTask",)).get("recentTask") or []
            found = []
            for task in tasks:
                try:
                    properties = one(content, task, vim.Task, TASK_PATHS)
                except vmodl.fault.ManagedObjectNotFound:
                    continue
                if "clone" in str(properties.get("info.descriptionId", "")).lower() and str(properties.get("info.state")) in (
                    "queued",
                    "running",
                ):
                    found.append(task_info(properties))
            return found

        try:
            return await self._session.call(f"read the tasks of {template_mo_ref}", read)
        except NotFound:
            return []

    async def ensure_folder(self, path: str) -> None:
        """Create the VM folder and its missing parents. Raises Rejected(FolderNotFound | NotPermitted)."""
        missing = await self._session.call(f"look for {path}", lambda content: _missing(content, path))
        for parent, name in missing:

            def create(content: Any, parent: str = parent, name: str = name) -> None:
                try:
                    _folder(content, parent).CreateFolder(name)
                except vim.fault.DuplicateName:
                    return

            await self._write("folder.create", f"{parent}/{name}", create)

    async def clone(self, order: CloneOrder) -> str:
        """Order the clone; the task's key. Raises NotFound (template), Conflict (name taken), Rejected."""
        target = f"{order.folder}/{order.name}"

        def prepare(content: Any) -> tuple[Any, Any, Any]:
            template = vim.VirtualMachine(order.template_mo_ref, content.searchIndex._stub)
            where = _folder(content, order.folder)
            if content.searchIndex.FindChild(where, order.name) is not None:
                raise Conflict(SYSTEM, "DuplicateName", f"{target} exists")
            return template, where, clone_spec(content, template, self._datacenter, order)

        template, where, spec = await self._session.call(f"prepare the clone {target}", prepare)

        def start(_: Any) -> str:
            return str(template.CloneVM_Task(folder=where, name=order.name, spec=spec)._GetMoId())

        return await self._write("vm.clone", target, start)

    async def task(self, key: str) -> TaskInfo:
        """A task's state. Raises NotFound where vCenter has forgotten it."""
        return await self._session.call(
            f"read task {key}", lambda content: task_info(one(content, vim.Task(key, content.searchIndex._stub), vim.Task, TASK_PATHS))
        )

    async def power_on(self, mo_ref: str) -> None:
        """Power on and wait; already on is fine. Raises NotFound, Rejected."""

        def on(content: Any) -> None:
            vm = vim.VirtualMachine(mo_ref, content.searchIndex._stub)
            if str(one(content, vm, vim.VirtualMachine, ("runtime.powerState",)).get("runtime.powerState")) != "poweredOn":
                _wait(content, vm.PowerOnVM_Task(), f"power on {mo_ref}")

        await self._write("vm.power-on", mo_ref, on)

    async def destroy(self, mo_ref: str, expected_guestinfo: dict[str, str]) -> None:
        """Power off if needed and destroy, after a last look at the marks. Absent is fine. Raises Rejected(NotOurs)."""

        def look(content: Any) -> VmInfo:
            vm = vim.VirtualMachine(mo_ref, content.searchIndex._stub)
            info = vm_info(vm, one(content, vm, vim.VirtualMachine, VM_PATHS))
            if not ours(info.guestinfo, expected_guestinfo):
                raise Rejected(SYSTEM, "NotOurs", f"{info.name} ({mo_ref}) does not carry our marks: it is left alone")
            return info

        def power_off(content: Any) -> None:
            look(content)
            _wait(content, vim.VirtualMachine(mo_ref, content.searchIndex._stub).PowerOffVM_Task(), f"power off {mo_ref}")

        def destroy(content: Any) -> None:
            look(content)
            _wait(content, vim.VirtualMachine(mo_ref, content.searchIndex._stub).Destroy_Task(), f"destroy {mo_ref}")

        try:
            if (await self._session.call(f"read {mo_ref}", look)).powered_on:
                await self._write("vm.power-off", mo_ref, power_off)
            await self._write("vm.destroy", mo_ref, destroy)
        except NotFound:
            return

    async def addresses_in_use(self, addresses: frozenset[str]) -> dict[str, str]:
        """Which of these a guest in the inventory reports: address -> VM name. One indexed look-up each."""

        def search(content: Any) -> dict[str, str]:
            found = {}
            for address in sorted(addresses):
                for vm in content.searchIndex.FindAllByIp(ip=address, vmSearch=True) or []:
                    found[address] = str(one(content, vm, vim.VirtualMachine, ("name",)).get("name", vm._GetMoId()))
            return found

        return await self._session.call("search the inventory for addresses", search)

    async def close(self) -> None:
        """Log out."""
        await self._session.close()

    async def _write(self, operation: str, target: str, function: Callable[[Any], T]) -> T:
        return await self._effects.write(SYSTEM, operation, target, lambda: self._session.call(f"{operation} {target}", function))


def _template(content: Any, path: str) -> TemplateInfo:
    found = content.searchIndex.FindByInventoryPath(path.strip("/"))
    if not isinstance(found, vim.VirtualMachine):
        raise NotFound(SYSTEM, "TemplateNotFound", f"vCenter has no VM or template at {path}")
    properties = one(content, found, vim.VirtualMachine, TEMPLATE_PATHS)
    disks = [device for device in properties.get("config.hardware.device") or [] if isinstance(device, vim.vm.device.VirtualDisk)]
    return TemplateInfo(
        mo_ref=found._GetMoId(),
        name=properties.get("name", ""),
        is_template=bool(properties.get("config.template")),
        cpus=int(properties.get("config.hardware.numCPU") or 0),
        memory_mib=int(properties.get("config.hardware.memoryMB") or 0),
        disk_gib=-(-sum(int(disk.capacityInKB or 0) for disk in disks) // KIB_PER_GIB),
        guest_os=str(properties.get("config.guestFullName") or properties.get("config.guestId") or ""),
        folder=path.rpartition("/")[0],
    )


def _folder(content: Any, path: str) -> Any:
    found = content.searchIndex.FindByInventoryPath(path.strip("/"))
    if not isinstance(found, vim.Folder):
        raise Rejected(SYSTEM, "FolderNotFound", f"vCenter has no VM folder {path}: create it, or correct spec.placement.folder")
    return found


def _missing(content: Any, path: str) -> list[tuple[str, str]]:
    """(parent, name) of the folders to create, outermost first. The first two parts are the datacenter and `vm`."""
    parts = path.strip("/").split("/")
    missing: list[tuple[str, str]] = []
    while len(parts) > 2 and content.searchIndex.FindByInventoryPath("/".join(parts)) is None:
        missing.insert(0, ("/" + "/".join(parts[:-1]), parts[-1]))
        parts = parts[:-1]
    _folder(content, "/" + "/".join(parts))
    return missing


def _wait(content: Any, task: Any, what: str) -> None:
    """Wait for a task in this thread. Raises Retryable while it is not over in time, else as the task failed."""
    deadline = time.monotonic() + TASK_WAIT
    pause = 0.02
    while time.monotonic() < deadline:
        properties = one(content, task, vim.Task, TASK_PATHS)
        state = str(properties.get("info.state"))
        if state == "success":
            return
        if state == "error":
            fault = properties.get("info.error")
            if isinstance(fault, vmodl.fault.ManagedObjectNotFound):
                raise NotFound(SYSTEM, "ObjectNotFound", f"{what}: it is gone")
            raise _task_error(fault, what)
        time.sleep(pause)
        pause = min(0.5, pause * 1.5)
    raise Retryable(SYSTEM, "TaskRunning", f"{what} is not over after {TASK_WAIT:.0f} s", after=2.0)


def _task_error(fault: Any, what: str) -> OutsideError:
    # What a busy or half-reachable vCenter says passes; a state that is another one by now is looked at again.
    text = f"{what}: {message_of(fault)}"
    return Retryable(SYSTEM, name_of(fault) if fault is not None else "TaskFailed", text, after=2.0)
