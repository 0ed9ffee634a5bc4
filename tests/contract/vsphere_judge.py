"""pyvmomi as the judge of the lab's vCenter: what several contract suites need to drive it as a client would."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests
from pyVmomi import SoapStubAdapter, vim, vmodl

from lab.pki import Authority
from lab.process import Json

FOLDER = "/DC0/vm/vmscaler/acme"


@dataclass(frozen=True)
class VCenter:
    """A running lab vCenter: its ready record and the CA that signed its certificate."""

    record: Json
    authority: Authority


@contextlib.contextmanager
def connected(vcenter: VCenter, *, password: str = "", authority: Authority | None = None) -> Iterator[Any]:
    """A ServiceInstance, logged in. SmartConnect would leave its sockets open where the login fails."""
    record = vcenter.record
    stub = SoapStubAdapter(
        host=record["host"],
        port=record["port"],
        path="/sdk",
        version="vim.version.v8_0_3_0",
        sslContext=ssl.create_default_context(cadata=(authority or vcenter.authority).pem),
    )
    try:
        instance = vim.ServiceInstance("ServiceInstance", stub)
        instance.RetrieveContent().sessionManager.Login(record["username"], password or record["password"])
        yield instance
    finally:
        stub.DropConnections()


def login(vcenter: VCenter, **kwargs: Any) -> None:
    with connected(vcenter, **kwargs):
        pass


def found(si: Any, path: str) -> Any:
    return si.content.searchIndex.FindByInventoryPath(path)


def power_state(vm: Any) -> str:
    """By its leaf path: a whole vm.runtime of the simulator raises (facts/vsphere.md, "Getting the simulator")."""
    query = vmodl.query.PropertyCollector
    spec = query.FilterSpec(
        objectSet=[query.ObjectSpec(obj=vm)],
        propSet=[query.PropertySpec(type=vim.VirtualMachine, pathSet=["runtime.powerState"])],
    )
    collector = vim.ServiceInstance("ServiceInstance", vm._stub).RetrieveContent().propertyCollector
    return str(collector.RetrievePropertiesEx([spec], query.RetrieveOptions()).objects[0].propSet[0].val)


def ended(task: Any, seconds: float = 60) -> Any:
    until(lambda: task.info.state in ("success", "error"), seconds)
    return task.info


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


def clone_spec(si: Any, address: str, *, power_on: bool = True) -> Any:
    adapter = vim.vm.customization.IPSettings(
        ip=vim.vm.customization.FixedIp(ipAddress=address), subnetMask="255.255.255.0", gateway=["127.0.0.254"]
    )
    customization = vim.vm.customization.Specification(
        globalIPSettings=vim.vm.customization.GlobalIPSettings(),
        identity=vim.vm.customization.LinuxPrep(hostName=vim.vm.customization.FixedName(name="guest-name"), domain="example.test"),
        nicSettingMap=[vim.vm.customization.AdapterMapping(adapter=adapter)],
    )
    return vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(pool=found(si, "/DC0/host/C0/Resources/vmscaler")),
        powerOn=power_on,
        customization=customization,
        config=vim.vm.ConfigSpec(numCPUs=4, memoryMB=512, extraConfig=[vim.option.OptionValue(key="guestinfo.owner", value="acme/web")]),
    )


def clone(si: Any, name: str, address: str = "127.0.0.100", **kwargs: Any) -> Any:
    template = found(si, "/DC0/vm/templates/tmpl-web")
    return template.CloneVM_Task(folder=found(si, FOLDER), name=name, spec=clone_spec(si, address, **kwargs))


def destroyed(vm: Any) -> bool:
    try:
        return bool(ended(vm.Destroy_Task()).state == "success")
    except vim.fault.TaskInProgress:  # a test that looked at its clone before the task's end
        return False


def put_faults(vcenter: VCenter, faults: Json, status: int = 200) -> Json:
    answer = requests.put(vcenter.record["control"] + "/faults", json=faults, timeout=30)
    assert answer.status_code == status, answer.text
    document: Json = answer.json()
    return document


def clear(si: Any) -> None:
    """Destroy all that is in FOLDER."""
    for vm in list(found(si, FOLDER).childEntity):
        if power_state(vm) == "poweredOn":
            ended(vm.PowerOffVM_Task())
        until(lambda vm=vm: destroyed(vm))
