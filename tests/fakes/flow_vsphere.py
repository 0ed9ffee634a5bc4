"""A vCenter in memory for tests of the flows, on the loop's (virtual) time: clones take time, are not seen in flight, boot later.

What counts is that it is honest about names (unique in a folder, found out at the clone's end), marks, and lost answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from vmscaler.decide.marks import ours
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable
from vmscaler.ports.vsphere import SYSTEM, CloneOrder, TaskInfo, TemplateInfo, VmInfo


@dataclass
class FlowVm:
    """A VM of the inventory."""

    mo_ref: str
    name: str
    folder: str
    guestinfo: dict[str, str]
    order: CloneOrder | None = None
    powered_on: bool = True
    tools_running: bool = False
    addresses: tuple[str, ...] = ()


@dataclass
class FlowTask:
    """A clone under way or over."""

    key: str
    order: CloneOrder
    state: str = "running"
    result: str | None = None
    fault: str | None = None


@dataclass
class FlowVSphere:
    """Implements vmscaler.ports.vsphere.VSphere. `error` is raised by every call while set; `clone_fault` ends clones with that fault."""

    effects: Effects
    uuid: str = "vcenter-1"
    clone_seconds: float = 5.0
    boot_seconds: float = 10.0
    boots: bool = True
    clone_fault: str | None = None
    error: OutsideError | None = None
    cloned: Callable[[FlowVm], None] = lambda vm: None
    booted: Callable[[FlowVm], None] = lambda vm: None
    destroyed: Callable[[FlowVm], None] = lambda vm: None
    templates: dict[str, TemplateInfo] = field(default_factory=dict)
    vms: dict[str, FlowVm] = field(default_factory=dict)
    tasks: dict[str, FlowTask] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    orders: list[CloneOrder] = field(default_factory=list)
    in_use: dict[str, str] = field(default_factory=dict)
    _numbers: int = 100

    def down(self) -> None:
        self.error = Retryable(SYSTEM, "Unreachable", "vCenter cannot be reached (fake)")

    def add(self, folder: str, name: str, guestinfo: dict[str, str] | None = None) -> FlowVm:
        """A VM that somebody else made."""
        vm = FlowVm(self._next("vm"), name, folder, guestinfo or {})
        self.vms[vm.mo_ref] = vm
        return vm

    async def about(self) -> str:
        self._reached()
        return "fake vCenter 8.0.3"

    async def identity(self) -> str:
        self._reached()
        return self.uuid

    async def template(self, inventory_path: str) -> TemplateInfo:
        self._reached()
        if inventory_path not in self.templates:
            raise NotFound(SYSTEM, "TemplateNotFound", f"no {inventory_path}")
        return self.templates[inventory_path]

    async def find_vm(self, folder: str, name: str) -> VmInfo | None:
        self._reached()
        if folder not in self.folders:
            raise Rejected(SYSTEM, "FolderNotFound", f"no folder {folder}")
        return next((self._info(vm) for vm in self.vms.values() if (vm.folder, vm.name) == (folder, name)), None)

    async def vm(self, mo_ref: str) -> VmInfo:
        self._reached()
        if mo_ref not in self.vms:
            raise NotFound(SYSTEM, "ObjectNotFound", f"no {mo_ref}")
        return self._info(self.vms[mo_ref])

    async def clones_in_flight(self, template_mo_ref: str) -> list[TaskInfo]:
        self._reached()
        return [
            self._task(task) for task in self.tasks.values() if task.state == "running" and task.order.template_mo_ref == template_mo_ref
        ]

    async def ensure_folder(self, path: str) -> None:
        self._reached()
        if path in self.folders:
            return

        async def create() -> None:
            self.folders.add(path)

        await self.effects.write(SYSTEM, "folder.create", path, create)

    async def clone(self, order: CloneOrder) -> str:
        self._reached()
        if any((vm.folder, vm.name) == (order.folder, order.name) for vm in self.vms.values()):
            raise Conflict(SYSTEM, "DuplicateName", f"{order.folder}/{order.name} exists")

        async def start() -> str:
            self._reached()
            task = FlowTask(self._next("task"), order)
            self.tasks[task.key] = task
            self.orders.append(order)
            asyncio.get_running_loop().call_later(self.clone_seconds, self._finish, task)
            return task.key

        return await self.effects.write(SYSTEM, "vm.clone", f"{order.folder}/{order.name}", start)

    async def task(self, key: str) -> TaskInfo:
        self._reached()
        if key not in self.tasks:
            raise NotFound(SYSTEM, "ObjectNotFound", f"no {key}")
        return self._task(self.tasks[key])

    async def power_on(self, mo_ref: str) -> None:
        async def on() -> None:
            self._reached()
            vm = self.vms[mo_ref]
            vm.powered_on = True
            self._boot_later(vm)

        await self.effects.write(SYSTEM, "vm.power-on", mo_ref, on)

    async def destroy(self, mo_ref: str, expected_guestinfo: dict[str, str]) -> None:
        self._reached()
        vm = self.vms.get(mo_ref)
        if vm is None:
            return
        if not ours(vm.guestinfo, expected_guestinfo):
            raise Rejected(SYSTEM, "NotOurs", f"{vm.name} does not carry our marks")

        async def off() -> None:
            vm.powered_on = vm.tools_running = False
            self.destroyed(vm)

        async def destroy() -> None:
            self.vms.pop(mo_ref, None)

        if vm.powered_on:
            await self.effects.write(SYSTEM, "vm.power-off", mo_ref, off)
        await self.effects.write(SYSTEM, "vm.destroy", mo_ref, destroy)

    async def addresses_in_use(self, addresses: frozenset[str]) -> dict[str, str]:
        self._reached()
        found = {address: name for address, name in self.in_use.items() if address in addresses}
        for vm in self.vms.values():
            found.update({address: vm.name for address in vm.addresses if address in addresses})
        return found

    async def close(self) -> None:
        return

    def _finish(self, task: FlowTask) -> None:
        order = task.order
        if self.clone_fault is not None:
            task.state, task.fault = "error", self.clone_fault
            return
        if any((vm.folder, vm.name) == (order.folder, order.name) for vm in self.vms.values()):
            task.state, task.fault = "error", "DuplicateName"
            return
        vm = FlowVm(self._next("vm"), order.name, order.folder, dict(order.guestinfo), order)
        self.vms[vm.mo_ref] = vm
        task.state, task.result = "success", vm.mo_ref
        self.cloned(vm)
        self._boot_later(vm)

    def _boot_later(self, vm: FlowVm) -> None:
        def boot() -> None:
            if vm.mo_ref in self.vms and vm.powered_on and vm.order is not None:
                vm.tools_running, vm.addresses = True, (vm.order.address,)
                self.booted(vm)

        if self.boots:
            asyncio.get_running_loop().call_later(self.boot_seconds, boot)

    def _info(self, vm: FlowVm) -> VmInfo:
        return VmInfo(vm.mo_ref, vm.name, f"uuid-{vm.mo_ref}", vm.powered_on, vm.tools_running, vm.addresses, dict(vm.guestinfo))

    def _task(self, task: FlowTask) -> TaskInfo:
        return TaskInfo(task.key, task.state, 50 if task.state == "running" else None, task.result, task.fault, task.fault or "")

    def _next(self, what: str) -> str:
        self._numbers += 1
        return f"{what}-{self._numbers}"

    def _reached(self) -> None:
        if self.error is not None:
            raise self.error
