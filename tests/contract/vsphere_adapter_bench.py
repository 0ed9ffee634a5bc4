"""The product's vCenter client against the lab's vCenter, and the same world in memory: used by test_port_vsphere.py, test_vsphere_adapter.py and
test_vsphere_sessions.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from tests.contract import vsphere_judge
from tests.contract.vsphere_judge import FOLDER, VCenter
from tests.fakes.effects import DirectEffects
from tests.fakes.vsphere import FakeVSphere

from lab.process import Json
from lab.vcenter import Control
from vmscaler.adapters.vsphere import VSphereClient
from vmscaler.ports.errors import OutsideError
from vmscaler.ports.vsphere import CloneOrder, TaskInfo, VmInfo, VSphere

T = TypeVar("T")

TEMPLATE = "/DC0/vm/templates/tmpl-web"
PEOPLE_FOLDER, PEOPLE, PEOPLE_ADDRESS = "/DC0/vm/acme", "web-1", "127.0.0.20"
MARKS = {"installation": "lab", "site": "default", "policy": "acme/web", "instance": "acme/web-1"}
METHODS = {"clone": "CloneVM_Task", "power-on": "PowerOnVM_Task", "power-off": "PowerOffVM_Task", "destroy": "Destroy_Task"}


@dataclass
class World:
    """A vCenter behind the port: a template, two VMs of people's, an empty folder FOLDER, port groups, a datastore and a pool."""

    vsphere: VSphere
    effects: DirectEffects
    slow: Callable[[dict[str, float]], Awaitable[None]]
    """Seconds that tasks take (clone, power-on, power-off, destroy)."""
    fail_task: Callable[[str, str, str], Awaitable[None]]
    """The next tasks of this kind end with this fault and message."""
    hold: Callable[[str], Awaitable[None]]
    """Tasks of this kind that begin from now on run until `let_go`."""
    let_go: Callable[[], Awaitable[None]]
    names: Callable[[], Awaitable[list[str]]]
    """The VMs in FOLDER, as nobody's client sees them."""
    placed: Callable[[str], Awaitable[dict[str, Any]]]
    """Where a VM of this name is: portGroup, datastore, pool."""

    @property
    def writes(self) -> list[str]:
        return [operation for _, operation, _ in self.effects.calls]

    async def order(self, name: str, **changes: Any) -> CloneOrder:
        return order(name, (await self.vsphere.template(TEMPLATE)).mo_ref, **changes)

    async def cloned(self, name: str, **changes: Any) -> VmInfo:
        """A VM whose clone task is over."""
        info = await self.over(await self.vsphere.clone(await self.order(name, **changes)))
        assert (info.state, info.fault) == ("success", None), info
        assert info.result is not None
        return await self.vsphere.vm(info.result)

    async def over(self, key: str) -> TaskInfo:
        async def ended() -> TaskInfo | None:
            info = await self.vsphere.task(key)
            return info if info.state in ("success", "error") else None

        return await eventually(ended)


def order(name: str, template: str, **changes: Any) -> CloneOrder:
    wanted: dict[str, Any] = {
        "template_mo_ref": template, "folder": FOLDER, "name": name, "port_group": "vlan-web", "address": "127.0.0.100",
        "prefix_length": 24, "gateway": "127.0.0.1", "dns_servers": ("192.0.2.53",), "domain": "example.test", "hostname": name,
        "guestinfo": {**MARKS, "address": "127.0.0.100"},
    }  # fmt: skip
    return CloneOrder(**{**wanted, **changes})


async def eventually(look: Callable[[], Awaitable[T | None]], seconds: float = 60.0) -> T:
    """What `look` answers as soon as it is true."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - it is a server that is asked
            await asyncio.sleep(0.01)
        return found


@contextlib.asynccontextmanager
async def client_of(vcenter: VCenter, effects: DirectEffects | None = None, **options: Any) -> AsyncIterator[VSphereClient]:
    """A client of the lab's vCenter; `options` as the client's, and `password`, `ca`, `url`."""
    record = vcenter.record
    client = VSphereClient(
        options.pop("url", record["url"]),
        record["username"],
        options.pop("password", record["password"]),
        options.pop("ca", vcenter.authority.pem),
        "DC0",
        effects or DirectEffects(),
        **options,
    )
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def lab_world(vcenter: VCenter, **options: Any) -> AsyncIterator[World]:
    effects = DirectEffects()
    async with Control(vcenter.record["control"]) as control, client_of(vcenter, effects, **options) as client:
        faults: Json = {}

        async def slow(seconds: dict[str, float]) -> None:
            faults["taskSeconds"] = {METHODS[kind]: value for kind, value in seconds.items()}
            await control.put_faults(faults)

        async def fail_task(kind: str, fault: str, message: str) -> None:
            faults["tasks"] = [{"method": METHODS[kind], "effect": "fault", "fault": fault, "message": message}]
            await control.put_faults(faults)

        async def hold(kind: str) -> None:
            faults["tasks"] = [{"method": METHODS[kind], "effect": "hang"}]
            await control.put_faults(faults)

        async def let_go() -> None:
            del faults["tasks"]
            await control.put_faults(faults)

        async def names() -> list[str]:
            _, vms = await control.vms()
            return sorted(vm["name"] for vm in vms if vm["folder"] == FOLDER)

        async def placed(name: str) -> dict[str, Any]:
            with vsphere_judge.connected(vcenter) as si:
                vm = vsphere_judge.found(si, f"{FOLDER}/{name}")
                return {"portGroup": vm.network[0].name, "datastore": vm.datastore[0].name, "pool": vm.resourcePool.name}

        try:
            yield World(client, effects, slow, fail_task, hold, let_go, names, placed)
        finally:
            await control.put_faults({})
            clear(vcenter)


def clear(vcenter: VCenter) -> None:
    """Destroy what was made, also what is still being made: a clone that ends later would be another test's."""
    with vsphere_judge.connected(vcenter) as si:
        template = vsphere_judge.found(si, TEMPLATE)
        vsphere_judge.until(lambda: all(task.info.state in ("success", "error") for task in template.recentTask))
        vsphere_judge.clear(si)
        if (made := vsphere_judge.found(si, "/DC0/vm/port-suite")) is not None:
            vsphere_judge.ended(made.Destroy_Task())


@contextlib.asynccontextmanager
async def fake_world(_: VCenter | None = None) -> AsyncIterator[World]:
    effects = DirectEffects()
    fake = FakeVSphere(effects)
    fake.boot_seconds = 0.05
    fake.put_folder(FOLDER)
    fake.port_groups.add("vlan-web")
    fake.pools.add("/DC0/host/C0/Resources/vmscaler")
    fake.put_template(TEMPLATE, cpus=2, memory_mib=2048, disk_gib=20)
    fake.put_vm(f"{PEOPLE_FOLDER}/{PEOPLE}", addresses=[PEOPLE_ADDRESS])

    async def slow(seconds: dict[str, float]) -> None:
        fake.task_seconds.clear()
        fake.task_seconds.update(seconds)

    async def fail_task(kind: str, fault: str, message: str) -> None:
        fake.fail_task(kind, fault, message)

    async def hold(kind: str) -> None:
        fake.task_seconds[kind] = 3600

    async def let_go() -> None:
        fake.end_tasks()

    async def names() -> list[str]:
        await fake.about()
        return sorted(vm.name for vm in fake.vms.values() if vm.folder == FOLDER)

    async def placed(name: str) -> dict[str, Any]:
        wanted = fake.vm_named(name).order
        assert wanted is not None
        pool = (wanted.resource_pool or "Resources").rpartition("/")[2]
        return {"portGroup": wanted.port_group, "datastore": wanted.datastore or "datastore1", "pool": pool}

    yield World(fake, effects, slow, fail_task, hold, let_go, names, placed)


class FaultControl(Control):
    """The control port, with what these tests ask of it."""

    async def calls(self, method: str) -> int:
        """How often a method was called since the start."""
        count: int = (await self.status())["calls"].get(method, 0)
        return count

    async def total(self) -> int:
        """How many calls there were in all."""
        return sum((await self.status())["calls"].values())

    async def rule(self, method: str, effect: str, **more: Any) -> None:
        """One fault of calls."""
        await self.put_faults({"calls": [{"method": method, "effect": effect, **more}]})

    async def hits(self) -> int:
        """How many calls the rule has hit."""
        found: Json = await self._call("GET", "/faults")
        return int(found["calls"][0]["hits"])


async def refused(call: Awaitable[Any]) -> OutsideError:
    with pytest.raises(OutsideError) as refusal:
        await call
    assert "sample-password" not in str(refusal.value)
    return refusal.value
