"""The lab's vCenter, judged by pyvmomi: what the product and facts/vsphere.md expect of a vCenter, and the fault port."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl
from tests.contract.vsphere_judge import FOLDER, VCenter, clone, clone_spec, connected, ended, found, login, power_state, until

from lab.pki import Authority
from lab.process import Json

pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def healed(lab_vcenter: VCenter) -> Iterator[None]:
    yield
    put_faults(lab_vcenter, {})


@pytest.fixture
def si(lab_vcenter: VCenter) -> Iterator[Any]:
    with connected(lab_vcenter) as instance:
        yield instance
        for vm in list(found(instance, FOLDER).childEntity):
            if power_state(vm) == "poweredOn":
                ended(vm.PowerOffVM_Task())
            until(lambda vm=vm: destroyed(vm))


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


# --- login ---


def test_password_and_authority_are_checked(lab_vcenter: VCenter) -> None:
    with pytest.raises(vim.fault.InvalidLogin):
        login(lab_vcenter, password="wrong")
    with pytest.raises(ssl.SSLError):
        login(lab_vcenter, authority=Authority.wrong())
    with connected(lab_vcenter) as instance:
        assert instance.content.about.apiVersion == "8.0.3.0"


def test_the_usual_way_in_works(lab_vcenter: VCenter) -> None:
    record = lab_vcenter.record
    context = ssl.create_default_context(cadata=lab_vcenter.authority.pem)
    instance = SmartConnect(host=record["host"], port=record["port"], user=record["username"], pwd=record["password"], sslContext=context)
    assert instance._stub.version == "vim.version.v8_0_3_0"  # it asks /sdk/vimServiceVersions.xml
    Disconnect(instance)
    instance._stub.DropConnections()


def test_nothing_is_read_without_a_session(lab_vcenter: VCenter, si: Any) -> None:
    assert found(si, FOLDER).name == "acme"
    answer = requests.post(lab_vcenter.record["control"] + "/sessions/expire", timeout=30)
    assert answer.json()["expired"] >= 1
    with pytest.raises(vim.fault.NotAuthenticated):
        si.content.searchIndex.FindByInventoryPath(FOLDER)
    with pytest.raises(vim.fault.NotAuthenticated):
        assert vim.Folder(lab_vcenter.record["inventory"][FOLDER], si._stub).name
    # Again on the same stub: objects stay valid (facts/vsphere.md, "Connection").
    si.content.sessionManager.Login(lab_vcenter.record["username"], lab_vcenter.record["password"])
    assert found(si, FOLDER).name == "acme"


# --- inventory ---


def test_the_inventory_is_what_the_config_says_and_no_more(lab_vcenter: VCenter, si: Any) -> None:
    for path, moref in lab_vcenter.record["inventory"].items():
        assert found(si, path)._moId == moref, path
    view = si.content.viewManager.CreateContainerView(si.content.rootFolder, [vim.VirtualMachine], True)
    assert sorted(vm.name for vm in view.view) == ["tmpl-web", "web-1", "web-2"]
    template = found(si, "/DC0/vm/templates/tmpl-web")
    assert template.config.template
    assert (template.config.hardware.numCPU, template.config.hardware.memoryMB) == (2, 2048)
    assert template.config.guestId == "ubuntu64Guest"
    disks = [d for d in template.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]
    assert [disk.capacityInKB for disk in disks] == [20 * 1024 * 1024]
    web = found(si, "/DC0/vm/acme/web-1")
    until(lambda: web.guest.toolsRunningStatus == "guestToolsRunning")
    assert web.guest.ipAddress == "127.0.0.20"
    assert power_state(web) == "poweredOn"
    assert [network.name for network in web.network] == ["vlan-web"]


# --- a clone's life ---


def test_a_clone_is_powered_on_customized_and_gone_after_destroy(lab_vcenter: VCenter, si: Any) -> None:
    info = ended(clone(si, "life"))
    assert info.state == "success", info.error
    vm = info.result
    assert power_state(vm) == "poweredOn"
    assert {o.key: o.value for o in vm.config.extraConfig}["guestinfo.owner"] == "acme/web"
    assert (vm.config.hardware.numCPU, vm.config.hardware.memoryMB) == (4, 512)
    until(lambda: vm.guest.toolsRunningStatus == "guestToolsRunning")
    assert vm.guest.ipAddress == "127.0.0.100"
    assert [list(nic.ipAddress) for nic in vm.guest.net] == [["127.0.0.100"]]
    assert vm.guest.hostName == "guest-name"

    seen = listed(lab_vcenter, "life")
    assert seen is not None
    assert seen["folder"] == FOLDER
    assert (seen["address"], seen["powerState"]) == ("127.0.0.100", "poweredOn")
    assert seen["extraConfig"]["guestinfo.owner"] == "acme/web"

    assert ended(vm.Destroy_Task()).state == "error"  # powered on
    assert ended(vm.PowerOffVM_Task()).state == "success"
    assert vm.guest.toolsRunningStatus == "guestToolsNotRunning"
    assert not vm.guest.ipAddress
    assert ended(vm.Destroy_Task()).state == "success"
    assert found(si, f"{FOLDER}/life") is None
    assert listed(lab_vcenter, "life") is None


def test_the_address_appears_when_the_guest_has_booted_not_before(lab_vcenter: VCenter, si: Any) -> None:
    put_faults(lab_vcenter, {"neverBoot": ["stuck-*"]})
    vm = ended(clone(si, "stuck-1")).result
    booted = ended(clone(si, "not-stuck", "127.0.0.101")).result
    until(lambda: booted.guest.toolsRunningStatus == "guestToolsRunning")
    assert not vm.guest.ipAddress
    assert vm.guest.toolsRunningStatus == "guestToolsNotRunning"
    # The guests part writes what the tools would.
    state = {"ipAddress": "127.0.0.100", "toolsRunningStatus": "guestToolsRunning", "toolsStatus": "toolsOk"}
    url = f"{lab_vcenter.record['control']}/vms/{vm._moId}/guest"
    assert requests.put(url, json=state, timeout=30).status_code == 200
    assert (vm.guest.ipAddress, vm.guest.toolsStatus) == ("127.0.0.100", "toolsOk")
    assert requests.put(url, json={"color": "red"}, timeout=30).status_code == 400


def test_a_name_is_taken_once_in_a_folder(si: Any) -> None:
    tasks = [clone(si, "twin", f"127.0.0.{100 + n}", power_on=False) for n in range(3)]
    infos = [ended(task) for task in tasks]
    assert sorted(info.state for info in infos) == ["error", "error", "success"]
    faults = [info.error for info in infos if info.state == "error"]
    assert all(isinstance(fault, vim.fault.DuplicateName) for fault in faults)


def listed(vcenter: VCenter, name: str) -> Json | None:
    vms = requests.get(vcenter.record["control"] + "/vms", timeout=30).json()["vms"]
    return next((vm for vm in vms if vm["name"] == name), None)


def test_one_that_is_still_being_cloned_cannot_be_destroyed(lab_vcenter: VCenter, si: Any) -> None:
    put_faults(lab_vcenter, {"taskSeconds": {"PowerOnVM_Task": 0.3}})
    task = clone(si, "unfinished")
    until(lambda: found(si, f"{FOLDER}/unfinished") is not None)
    with pytest.raises(vim.fault.TaskInProgress) as refusal:
        found(si, f"{FOLDER}/unfinished").Destroy_Task()
    assert refusal.value.task == task
    assert ended(task).state == "success"


def test_a_change_is_told_to_those_who_wait(lab_vcenter: VCenter, si: Any) -> None:
    url = lab_vcenter.record["control"] + "/vms"
    version = requests.get(url, timeout=30).json()["version"]
    tasks: list[Any] = []
    timer = threading.Timer(0.2, lambda: tasks.append(clone(si, "news", power_on=False)))
    timer.start()
    answer = requests.get(url, params={"since": version, "wait": 20}, timeout=30).json()
    timer.join()
    assert answer["version"] > version
    assert ended(tasks[0]).state == "success"
    assert listed(lab_vcenter, "news") is not None


# --- faults ---


def test_a_call_fails_as_often_as_asked(lab_vcenter: VCenter, si: Any) -> None:
    rule = {
        "method": "CloneVM_Task", "entity": "faulty*", "effect": "fault", "count": 1,
        "fault": "InsufficientResourcesFault", "message": "no host has the memory",
    }  # fmt: skip
    put_faults(lab_vcenter, {"calls": [rule]})
    assert ended(clone(si, "other", power_on=False)).state == "success"
    with pytest.raises(vim.fault.InsufficientResourcesFault) as refusal:
        clone(si, "faulty")
    assert refusal.value.msg == "no host has the memory"
    assert ended(clone(si, "faulty", power_on=False)).state == "success"
    shown = requests.get(lab_vcenter.record["control"] + "/faults", timeout=30).json()
    assert shown["calls"][0]["hits"] == 1


@pytest.mark.parametrize("method", ["CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task"])
def test_a_task_fails_without_having_done_anything(lab_vcenter: VCenter, si: Any, method: str) -> None:
    vm = ended(clone(si, "victim", power_on=method == "PowerOffVM_Task")).result
    before = power_state(vm)
    rule = {"method": method, "effect": "fault", "fault": "NoDiskSpace", "message": "the datastore is full"}
    put_faults(lab_vcenter, {"tasks": [rule]})
    call = {"CloneVM_Task": lambda: clone(si, "second")}.get(method, getattr(vm, method))
    info = ended(call())
    assert info.state == "error"
    assert isinstance(info.error, vim.fault.NoDiskSpace)
    assert info.error.msg == "the datastore is full"
    assert [child.name for child in found(si, FOLDER).childEntity] == ["victim"]
    assert power_state(vm) == before
    put_faults(lab_vcenter, {})
    assert ended(call()).state == "success"


def test_a_task_hangs_until_healed_and_then_does_it(lab_vcenter: VCenter, si: Any) -> None:
    put_faults(lab_vcenter, {"tasks": [{"method": "CloneVM_Task", "effect": "hang"}]})
    task = clone(si, "slow", power_on=False)
    recent = found(si, "/DC0/vm/templates/tmpl-web").recentTask
    assert task._moId in [one._moId for one in recent]
    assert task.info.state == "running"
    assert found(si, f"{FOLDER}/slow") is None
    put_faults(lab_vcenter, {})
    info = ended(task)
    assert info.state == "success"
    assert info.result.name == "slow"


def test_a_lost_answer_leaves_the_deed_done(lab_vcenter: VCenter, si: Any) -> None:
    put_faults(lab_vcenter, {"calls": [{"method": "CloneVM_Task", "effect": "lose", "count": 1}]})
    with pytest.raises(http.client.HTTPException):
        clone(si, "lost", power_on=False)
    until(lambda: found(si, f"{FOLDER}/lost") is not None)


def test_calls_and_tasks_take_the_time_asked_for(lab_vcenter: VCenter, si: Any) -> None:
    put_faults(lab_vcenter, {"calls": [{"method": "CurrentTime", "effect": "delay", "seconds": 0.4}]})
    before = time.monotonic()
    si.CurrentTime()
    assert time.monotonic() - before >= 0.4
    put_faults(lab_vcenter, {"taskSeconds": {"CloneVM_Task": 0.5}})
    before = time.monotonic()
    tasks = [clone(si, f"timed-{n}", power_on=False) for n in range(3)]
    assert all(ended(task).state == "success" for task in tasks)
    assert time.monotonic() - before >= 0.5


def test_a_call_hangs_until_healed(lab_vcenter: VCenter) -> None:
    put_faults(lab_vcenter, {"calls": [{"method": "CurrentTime", "effect": "hang"}]})

    def call() -> None:
        with connected(lab_vcenter) as instance, pytest.raises(http.client.HTTPException):
            instance.CurrentTime()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        with pytest.raises(TimeoutError):
            future.result(0.3)
        put_faults(lab_vcenter, {})
        future.result(20)


def test_down_refuses_and_comes_back_at_the_same_place(lab_vcenter: VCenter) -> None:
    put_faults(lab_vcenter, {"down": True})
    with pytest.raises(ConnectionRefusedError):
        login(lab_vcenter)
    put_faults(lab_vcenter, {})
    login(lab_vcenter)


@pytest.mark.parametrize(
    "faults",
    [
        {"colour": "red"},
        {"calls": [{"method": "CloneVm", "effect": "hang"}]},
        {"calls": [{"method": "CloneVM_Task", "effect": "explode"}]},
        {"calls": [{"method": "CloneVM_Task", "effect": "fault", "fault": "VirtualMachine"}]},
        {"tasks": [{"method": "CurrentTime", "effect": "hang"}]},
        {"taskSeconds": {"CloneVm": 1}},
    ],
)
def test_unknown_faults_are_refused_with_what_is_known(lab_vcenter: VCenter, faults: Json) -> None:
    assert "taskSeconds" in put_faults(lab_vcenter, faults, status=400)["known"]


def test_the_certificate_can_change(lab_vcenter: VCenter) -> None:
    def present(authority: Authority) -> None:
        issued = authority.issue(lab_vcenter.record["host"])
        body = {"certificate": issued.certificate, "privateKey": issued.key}
        url = lab_vcenter.record["control"] + "/certificate"
        assert requests.put(url, json=body, timeout=30).status_code == 200

    other = Authority.wrong()
    try:
        present(other)
        with pytest.raises(ssl.SSLError):
            login(lab_vcenter)
        login(lab_vcenter, authority=other)
    finally:
        present(lab_vcenter.authority)
    login(lab_vcenter)


def test_a_missing_template_is_told_as_such(si: Any) -> None:
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        vim.VirtualMachine("vm-9999", si._stub).CloneVM_Task(folder=found(si, FOLDER), name="never", spec=clone_spec(si, "127.0.0.100"))
