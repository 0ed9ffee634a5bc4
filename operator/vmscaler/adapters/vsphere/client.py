"""ports.vsphere.VSphere on a real vCenter. Made by adapters/systems.py for a Site; the stages and the clean-up call it.

Tasks are followed with short reads from the event loop: no thread of the pool waits for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from pyVmomi import vim, vmodl

from vmscaler.adapters.vsphere.clonespec import clone_spec
from vmscaler.adapters.vsphere.faults import of_fault
from vmscaler.adapters.vsphere.lookups import by_ref, folder_at, missing_folders, template_at
from vmscaler.adapters.vsphere.properties import TASK_PATHS, of_vm, one, task_info, vm_info
from vmscaler.adapters.vsphere.session import Session
from vmscaler.decide.marks import ours
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Conflict, NotFound, Rejected, Retryable
from vmscaler.ports.vsphere import SYSTEM, CloneOrder, TaskInfo, TemplateInfo, VmInfo

T = TypeVar("T")
RUNNING = ("queued", "running")


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
        task_limit: float = 45.0,
        login_rest: float = 60.0,
        threads: int = 4,
    ) -> None:
        """Connects at the first call. `ca` is PEM. Seconds: `timeout` for each wait on the network, `deadline` for a look or an order,
        `task_limit` for a power operation or a removal, `login_rest` between two logins after one was refused.
        """
        self._session = Session(url, username, password, ca, timeout=timeout, deadline=deadline, threads=threads, login_rest=login_rest)
        self._datacenter, self._effects, self._task_limit = datacenter, effects, task_limit

    async def about(self) -> str:
        """Product and version, asked on a new connection of the session. Raises Untrusted(CertificateNotTrusted | LoginRefused)."""

        def ask(content: Any) -> str:
            instance = by_ref(content, vim.ServiceInstance, "ServiceInstance")
            instance.CurrentTime()  # needs the session, where the service content is for all
            return str(instance.RetrieveContent().about.fullName)

        return await self._session.fresh("log in", ask)

    async def identity(self) -> str:
        """The vCenter's instance UUID, which survives restarts, upgrades and another host name."""
        return await self._session.call("read the vCenter's identity", lambda content: str(content.about.instanceUuid))

    async def template(self, inventory_path: str) -> TemplateInfo:
        """What is at this path. Raises NotFound, Rejected(NotPermitted)."""
        return await self._session.call(f"look up {inventory_path}", lambda content: template_at(content, inventory_path))

    async def find_vm(self, folder: str, name: str) -> VmInfo | None:
        """The VM of this name in this folder. Raises Rejected(FolderNotFound), Retryable(VmNotReadable) while vCenter still makes it."""

        def find(content: Any) -> VmInfo | None:
            found = content.searchIndex.FindChild(folder_at(content, folder), name)
            try:
                return vm_info(found, of_vm(content, found)) if isinstance(found, vim.VirtualMachine) else None
            except vmodl.fault.ManagedObjectNotFound:
                return None

        return await self._session.call(f"look for {name} in {folder}", find)

    async def vm(self, mo_ref: str) -> VmInfo:
        """A VM by reference. Raises NotFound, Retryable(VmNotReadable)."""

        def read(content: Any) -> VmInfo:
            obj = by_ref(content, vim.VirtualMachine, mo_ref)
            return vm_info(obj, of_vm(content, obj))

        return await self._session.call(f"read {mo_ref}", read)

    async def clones_in_flight(self, template_mo_ref: str) -> list[TaskInfo]:
        """Queued and running clone tasks of the template; none where it is gone."""

        def read(content: Any) -> list[TaskInfo]:
            template = by_ref(content, vim.VirtualMachine, template_mo_ref)
            found = []
            for task in one(content, template, vim.VirtualMachine, ("recentTask",)).get("recentTask") or []:
                try:
                    properties = one(content, task, vim.Task, TASK_PATHS)
                except vmodl.fault.ManagedObjectNotFound:
                    continue
                if "clone" in str(properties.get("info.descriptionId", "")).lower() and str(properties["info.state"]) in RUNNING:
                    found.append(task_info(task, properties))
            return found

        try:
            return await self._session.call(f"read the tasks of {template_mo_ref}", read)
        except NotFound:
            return []

    async def ensure_folder(self, path: str) -> None:
        """Create the VM folder and its missing parents. Raises Rejected(FolderNotFound | NotPermitted)."""
        missing = await self._session.call(f"look for {path}", lambda content: missing_folders(content, path))
        for parent, name in missing:

            def create(content: Any, parent: str = parent, name: str = name) -> None:
                try:
                    folder_at(content, parent).CreateFolder(name)
                except vim.fault.DuplicateName:
                    return

            await self._write("folder.create", f"{parent}/{name}", create)

    async def clone(self, order: CloneOrder) -> str:
        """Order the clone; the task's key. Raises NotFound (template), Conflict (name taken), Rejected."""
        target = f"{order.folder}/{order.name}"

        def prepare(content: Any) -> tuple[Any, Any, Any]:
            template, where = by_ref(content, vim.VirtualMachine, order.template_mo_ref), folder_at(content, order.folder)
            if content.searchIndex.FindChild(where, order.name) is not None:
                raise Conflict(SYSTEM, "DuplicateName", f"{target} exists")
            return template, where, clone_spec(content, template, self._datacenter, order)

        template, where, spec = await self._session.call(f"prepare the clone {target}", _template_or_else(order, prepare))

        def start(_: Any) -> str:
            return str(template.CloneVM_Task(folder=where, name=order.name, spec=spec)._GetMoId())

        return await self._write("vm.clone", target, _template_or_else(order, start))

    async def task(self, key: str) -> TaskInfo:
        """A task's state. Raises NotFound where vCenter has forgotten it."""
        info, _ = await self._task(key)
        return info

    async def power_on(self, mo_ref: str) -> None:
        """Power on and wait; already on is fine. Raises NotFound, Rejected, Retryable(TaskRunning) after `task_limit`."""

        def on(content: Any) -> Any:
            return by_ref(content, vim.VirtualMachine, mo_ref).PowerOnVM_Task()

        if not (await self.vm(mo_ref)).powered_on:
            await self._carry_out("vm.power-on", mo_ref, on)

    async def destroy(self, mo_ref: str, expected_guestinfo: dict[str, str]) -> None:
        """Power off if needed and destroy, after a last look at the marks. Absent is fine.

        Raises Rejected(NotOurs), Retryable(TaskRunning) after `task_limit`.
        """

        def look(content: Any) -> bool:
            """Whether it is to be powered off; so is a suspended one."""
            vm = by_ref(content, vim.VirtualMachine, mo_ref)
            properties = of_vm(content, vm)
            info = vm_info(vm, properties)
            if properties.get("config.template") or not ours(info.guestinfo, expected_guestinfo):
                raise Rejected(SYSTEM, "NotOurs", f"{info.name} ({mo_ref}) does not carry our marks: it is left alone")
            return str(properties["runtime.powerState"]) != "poweredOff"

        def power_off(content: Any) -> Any:
            look(content)
            return by_ref(content, vim.VirtualMachine, mo_ref).PowerOffVM_Task()

        def remove(content: Any) -> Any:
            look(content)
            return by_ref(content, vim.VirtualMachine, mo_ref).Destroy_Task()

        try:
            if await self._session.call(f"read {mo_ref}", look):
                await self._carry_out("vm.power-off", mo_ref, power_off)
            await self._carry_out("vm.destroy", mo_ref, remove)
        except NotFound:
            return

    async def addresses_in_use(self, addresses: frozenset[str]) -> dict[str, str]:
        """Which of these a guest in the inventory reports: address -> VM name. One indexed look-up each."""

        def search(content: Any) -> dict[str, str]:
            found = {}
            for address in sorted(addresses):
                for vm in content.searchIndex.FindAllByIp(ip=address, vmSearch=True) or []:
                    try:
                        found[address] = str(one(content, vm, vim.VirtualMachine, ("name",)).get("name", vm._GetMoId()))
                    except vmodl.fault.ManagedObjectNotFound:
                        continue
            return found

        return await self._session.call("search the inventory for addresses", search)

    async def close(self) -> None:
        """Log out. Later calls raise Retryable(ClientClosed)."""
        await self._session.close()

    async def _write(self, operation: str, target: str, function: Callable[[Any], T]) -> T:
        return await self._effects.write(SYSTEM, operation, target, lambda: self._session.call(f"{operation} {target}", function))

    async def _task(self, key: str) -> tuple[TaskInfo, Any]:
        """A task's state, and its fault as the SDK has it."""

        def read(content: Any) -> tuple[TaskInfo, Any]:
            task = by_ref(content, vim.Task, key)
            properties = one(content, task, vim.Task, TASK_PATHS)
            return task_info(task, properties), properties.get("info.error")

        return await self._session.call(f"read task {key}", read)

    async def _carry_out(self, operation: str, target: str, start: Callable[[Any], Any]) -> None:
        """Start a task and follow it to its end. Raises as it failed, Retryable(TaskRunning) where that is not seen within `task_limit`."""
        key = await self._write(operation, target, lambda content: str(start(content)._GetMoId()))
        what, clock = f"{operation} {target}", asyncio.get_running_loop()
        deadline, pause = clock.time() + self._task_limit, 0.02
        while True:
            try:
                info, fault = await self._task(key)
            except NotFound as error:  # as after a restart of vCenter: it says nothing of what the task was to do
                raise Retryable(SYSTEM, "TaskRunning", f"{what}: vCenter does not know its task any more", after=2.0) from error
            if info.state == "success":
                return
            if info.state == "error":
                raise of_fault(what, fault)
            if clock.time() >= deadline:
                raise Retryable(SYSTEM, "TaskRunning", f"{what} is not over after {self._task_limit:g} s", after=2.0)
            await asyncio.sleep(pause)
            pause = min(0.5, pause * 1.5)


def _template_or_else(order: CloneOrder, function: Callable[[Any], T]) -> Callable[[Any], T]:
    """Of all that a clone needs, only the template's absence is its NotFound; what else went meanwhile is looked up again."""

    def guarded(content: Any) -> T:
        try:
            return function(content)
        except vmodl.fault.ManagedObjectNotFound as error:
            gone = error.obj._GetMoId() if error.obj is not None else "something"
            if gone in (order.template_mo_ref, "something"):
                raise NotFound(SYSTEM, "TemplateNotFound", f"template {order.template_mo_ref} is gone from vCenter") from error
            raise Retryable(SYSTEM, "InventoryChanged", f"{gone} went while {order.name} was being ordered", after=1.0) from error

    return guarded
