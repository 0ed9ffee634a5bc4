"""An in-memory vCenter behind the port, honest about what can go wrong.

vsphere = FakeVSphere(effects)
vsphere.put_template("/DC0/vm/templates/tmpl-web", cpus=2, memory_mib=2048, disk_gib=20)
vsphere.put_vm("/DC0/vm/acme/web-1", addresses=["192.0.2.20"])   made by hand, powered on
vsphere.vms                                    all VMs, by moRef
vsphere.task_seconds["clone"] = 3.0            how long tasks run (clone, power-on, power-off, destroy), on the loop's clock
vsphere.fail_task("clone", "NoDiskSpace", "the datastore is full")   the next one ends so, with nothing done
vsphere.fail("find_vm", Retryable(...), times=2)                     before anything is done
vsphere.fail("clone", Retryable(...), after_effect=True)             done, and the answer lost
vsphere.boot_seconds, vsphere.never_boot       when the guests' tools come up with the address given; names of those that do not
vsphere.vm_named("web-3").addresses = (...)    what the tools report, by hand
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tests.fakes.effects import DirectEffects
from tests.fakes.failing import Failing
from tests.fakes.vsphere_tasks import FakeTasks, TaskFault

from vmscaler.decide.marks import ours
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Conflict, NotFound, Rejected, Retryable
from vmscaler.ports.vsphere import SYSTEM, CloneOrder, TaskInfo, TemplateInfo, VmInfo


@dataclass
class FakeVm:
    """A VM; `order` is what it was cloned by, None where it was made by hand."""

    mo_ref: str
    name: str
    folder: str
    powered_on: bool = False
    tools_running: bool = False
    addresses: tuple[str, ...] = ()
    guestinfo: dict[str, str] = field(default_factory=dict)
    order: CloneOrder | None = None
    boots_at: float | None = None
    instance_uuid: str = field(default_factory=lambda: str(uuid.uuid4()))


class FakeVSphere(Failing):
    """Implements vmscaler.ports.vsphere.VSphere. `calls` holds the names of the methods that were called."""

    def __init__(self, effects: Effects | None = None, *, datacenter: str = "DC0", task_limit: float = 45.0) -> None:
        super().__init__()
        self.effects: Effects = effects or DirectEffects()
        root = f"/{datacenter}/vm"
        self.folders: set[str] = {root}
        self.templates: dict[str, TemplateInfo] = {}
        self.port_groups, self.datastores, self.pools, self.customizations = {"VM Network"}, {"datastore1"}, set[str](), set[str]()
        self.vms: dict[str, FakeVm] = {}
        self._tasks = FakeTasks(self._new)
        self.task_seconds = self._tasks.seconds
        self.boot_seconds = 0.0
        self.never_boot: set[str] = set()
        self.calls: list[str] = []
        self.closed = False
        self._task_limit = task_limit
        self._numbers = 100

    # --- arranging ---

    def put_folder(self, path: str) -> None:
        """A VM folder with its parents."""
        parts = path.strip("/").split("/")
        self.folders |= {"/" + "/".join(parts[:n]) for n in range(2, len(parts) + 1)}

    def put_template(self, path: str, *, cpus: int = 2, memory_mib: int = 2048, disk_gib: int = 20) -> TemplateInfo:
        """A template at this path."""
        folder, _, name = path.rpartition("/")
        self.put_folder(folder)
        self.templates[path] = TemplateInfo(self._new("vm"), name, True, cpus, memory_mib, disk_gib, "ubuntu64Guest", folder)
        return self.templates[path]

    def put_vm(
        self, path: str, *, addresses: Iterable[str] = (), guestinfo: Mapping[str, str] | None = None, powered_on: bool = True
    ) -> FakeVm:
        """A VM that somebody else made."""
        folder, _, name = path.rpartition("/")
        self.put_folder(folder)
        vm = FakeVm(self._new("vm"), name, folder, powered_on, powered_on, tuple(addresses), dict(guestinfo or {}))
        self.vms[vm.mo_ref] = vm
        return vm

    def vm_named(self, name: str) -> FakeVm:
        """The VM of this name, wherever it is. Raises KeyError."""
        self._advance()
        for vm in self.vms.values():
            if vm.name == name:
                return vm
        raise KeyError(name)

    def fail_task(self, kind: str, fault: str, message: str = "") -> None:
        """Let the next task of this kind end with this fault (a type's name)."""
        self._tasks.faults[kind] = (fault, message or f"{fault} by the fake")

    def heal(self) -> None:
        """No method and no task fails any more."""
        super().heal()
        self._tasks.faults.clear()

    def end_tasks(self) -> None:
        """Let those that run be over, and those that begin later take no time."""
        self._tasks.end()

    def forget_tasks(self) -> None:
        """As a vCenter does after a while, or a restart: tasks that are over are not known any more."""
        self._advance()
        self._tasks.forget()

    # --- the port ---

    async def about(self) -> str:
        self._begin("about")
        return "VMware vCenter Server 8.0.3 (fake)"

    async def identity(self) -> str:
        self._begin("identity")
        return "vcenter-1"

    async def template(self, inventory_path: str) -> TemplateInfo:
        self._begin("template")
        if inventory_path in self.templates:
            return self.templates[inventory_path]
        folder, _, name = inventory_path.rpartition("/")
        vm = self._at(folder, name)
        if vm is None:
            raise NotFound(SYSTEM, "TemplateNotFound", f"vCenter has no VM or template at {inventory_path}")
        return TemplateInfo(vm.mo_ref, name, False, 2, 2048, 10, "ubuntu64Guest", folder)

    async def find_vm(self, folder: str, name: str) -> VmInfo | None:
        self._begin("find_vm")
        self._folder(folder)
        vm = self._at(folder, name)
        return _info(vm) if vm is not None else None

    async def vm(self, mo_ref: str) -> VmInfo:
        self._begin("vm")
        return _info(self._existing(mo_ref))

    async def clones_in_flight(self, template_mo_ref: str) -> list[TaskInfo]:
        self._begin("clones_in_flight")
        return self._tasks.running("clone", template_mo_ref)

    async def ensure_folder(self, path: str) -> None:
        self._begin("ensure_folder")
        parts = [part for part in path.split("/") if part]
        if "/" + "/".join(parts[:2]) not in self.folders:
            raise Rejected(SYSTEM, "FolderNotFound", f"{path} is no VM folder of a datacenter that exists")
        for n in range(3, len(parts) + 1):
            folder = "/" + "/".join(parts[:n])
            if folder not in self.folders:
                await self._write("folder.create", folder, lambda folder=folder: self.folders.add(folder))
        self._end("ensure_folder")

    async def clone(self, order: CloneOrder) -> str:
        self._begin("clone")
        self._folder(order.folder)
        template = next((t for t in self.templates.values() if t.mo_ref == order.template_mo_ref), None)
        if self._at(order.folder, order.name) is not None:
            raise Conflict(SYSTEM, "DuplicateName", f"{order.folder}/{order.name} exists")
        if template is None:
            raise NotFound(SYSTEM, "TemplateNotFound", f"template {order.template_mo_ref} is gone from vCenter")
        for reason, name, known, cure in (
            ("PortGroupNotFound", order.port_group, self.port_groups, "correct portGroup of the network in the Site's spec"),
            ("ResourcePoolNotFound", order.resource_pool, self.pools, "correct spec.placement.resourcePool of the policy"),
            ("DatastoreNotFound", order.datastore, self.datastores, "correct spec.placement.datastore of the policy"),
            ("CustomizationNotFound", order.customization, self.customizations, "correct spec.placement.customization of the policy"),
        ):
            if name is not None and name not in known:
                raise Rejected(SYSTEM, reason, f"vCenter has no {name!r}: {cure}")

        def made() -> str:
            if self._at(order.folder, order.name) is not None:
                raise TaskFault("DuplicateName", f"{order.name} exists")
            vm = FakeVm(self._new("vm"), order.name, order.folder, guestinfo=dict(order.guestinfo), order=order)
            self.vms[vm.mo_ref] = vm
            self._powered_on(vm)
            return vm.mo_ref

        target = f"{order.folder}/{order.name}"
        key = await self._write("vm.clone", target, lambda: self._tasks.start("clone", order.template_mo_ref, made))
        self._end("clone")
        return key

    async def task(self, key: str) -> TaskInfo:
        self._begin("task")
        return self._tasks.info(key)

    async def power_on(self, mo_ref: str) -> None:
        self._begin("power_on")
        vm = self._existing(mo_ref)
        if not vm.powered_on:
            await self._carry_out("power-on", mo_ref, lambda: self._powered_on(vm))
        self._end("power_on")

    async def destroy(self, mo_ref: str, expected_guestinfo: dict[str, str]) -> None:
        self._begin("destroy")
        vm = self.vms.get(mo_ref)
        if vm is None:
            return
        if not ours(vm.guestinfo, expected_guestinfo):
            raise Rejected(SYSTEM, "NotOurs", f"{vm.name} ({mo_ref}) does not carry our marks: it is left alone")

        def off() -> None:
            vm.powered_on, vm.tools_running, vm.addresses, vm.boots_at = False, False, (), None

        if vm.powered_on:
            await self._carry_out("power-off", mo_ref, off)
        await self._carry_out("destroy", mo_ref, lambda: self.vms.pop(mo_ref, None) and None)
        self._end("destroy")

    async def addresses_in_use(self, addresses: frozenset[str]) -> dict[str, str]:
        self._begin("addresses_in_use")
        return {address: vm.name for vm in self.vms.values() for address in vm.addresses if address in addresses}

    async def close(self) -> None:
        self.closed = True

    # --- inside ---

    def _begin(self, method: str) -> None:
        self.calls.append(method)
        self._advance()
        self._strike(method, after_effect=False)

    def _end(self, method: str) -> None:
        self._strike(method, after_effect=True)

    async def _write(self, operation: str, target: str, act: Callable[[], str | None]) -> str:
        async def call() -> str:
            return act() or ""

        return await self.effects.write(SYSTEM, operation, target, call)

    async def _carry_out(self, kind: str, mo_ref: str, act: Callable[[], None]) -> None:
        key = await self._write(f"vm.{kind}", mo_ref, lambda: self._tasks.start(kind, mo_ref, act))
        await asyncio.sleep(min(self._tasks.left(key), self._task_limit))
        self._advance()
        info = self._tasks.info(key)
        if info.state == "running":
            raise Retryable(SYSTEM, "TaskRunning", f"{kind} {mo_ref} is not over after {self._task_limit:g} s", after=2.0)
        if info.fault is not None:
            raise Rejected(SYSTEM, info.fault, f"{kind} {mo_ref}: {info.message}")

    def _advance(self) -> None:
        """What has happened by now: tasks that are over, guests that are up."""
        self._tasks.advance()
        now = asyncio.get_running_loop().time()
        for vm in self.vms.values():
            if vm.boots_at is not None and vm.boots_at <= now and vm.name not in self.never_boot:
                vm.boots_at, vm.tools_running = None, True
                vm.addresses = (vm.order.address,) if vm.order is not None else vm.addresses

    def _powered_on(self, vm: FakeVm) -> None:
        vm.powered_on = True
        vm.boots_at = asyncio.get_running_loop().time() + self.boot_seconds

    def _existing(self, mo_ref: str) -> FakeVm:
        if mo_ref not in self.vms:
            raise NotFound(SYSTEM, "ObjectNotFound", f"vCenter has no {mo_ref} any more")
        return self.vms[mo_ref]

    def _folder(self, path: str) -> None:
        if path not in self.folders:
            raise Rejected(SYSTEM, "FolderNotFound", f"vCenter has no VM folder {path}: create it, or correct spec.placement.folder")

    def _at(self, folder: str, name: str) -> FakeVm | None:
        return next((vm for vm in self.vms.values() if (vm.folder, vm.name) == (folder, name)), None)

    def _new(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}-{self._numbers}"


def _info(vm: FakeVm) -> VmInfo:
    return VmInfo(vm.mo_ref, vm.name, vm.instance_uuid, vm.powered_on, vm.tools_running, vm.addresses, dict(vm.guestinfo))
