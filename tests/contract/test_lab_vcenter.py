"""The lab's vCenter, judged by pyvmomi: what the product and facts/vsphere.md expect of a vCenter."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim, vmodl
from tests.contract.vsphere_judge import FOLDER, VCenter, clone, connected, ended, found, login, power_state, put_faults, until

from lab.pki import Authority
from lab.process import Json, PartError
from lab.vcenter import inventory, vcenter

pytestmark = pytest.mark.lab


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


def test_no_watcher_sees_the_address_before_the_boot(lab_vcenter: VCenter, si: Any) -> None:
    put_faults(lab_vcenter, {"neverBoot": ["*"]})
    vm = ended(clone(si, "watched", power_on=False)).result
    query = vmodl.query.PropertyCollector
    collector = si.content.propertyCollector.CreatePropertyCollector()
    paths = ["guest.ipAddress", "guest.net", "summary.guest.ipAddress", "runtime.powerState"]
    collector.CreateFilter(
        query.FilterSpec(
            objectSet=[query.ObjectSpec(obj=vm)],
            propSet=[query.PropertySpec(type=vim.VirtualMachine, pathSet=paths)],
        ),
        partialUpdates=False,
    )
    version, seen = collector.WaitForUpdatesEx("", query.WaitOptions(maxWaitSeconds=60)).version, ""
    task = vm.PowerOnVM_Task()
    while "poweredOn" not in seen:
        update = collector.WaitForUpdatesEx(version, query.WaitOptions(maxWaitSeconds=60))
        assert update is not None
        version, seen = update.version, seen + str(update)
    ended(task)
    assert "127.0.0.100" not in seen


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
    put_faults(lab_vcenter, {"tasks": [{"method": "CloneVM_Task", "effect": "late"}]})
    task = clone(si, "unfinished")
    until(lambda: found(si, f"{FOLDER}/unfinished") is not None)
    with pytest.raises(vim.fault.TaskInProgress) as refusal:
        found(si, f"{FOLDER}/unfinished").Destroy_Task()
    assert refusal.value.task == task
    assert task.info.state == "running"
    put_faults(lab_vcenter, {})
    info = ended(task)
    assert info.state == "success"
    assert info.result == found(si, f"{FOLDER}/unfinished")


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


# --- as a part ---


async def test_it_ends_with_its_stdin_and_leaves_nothing(lab_vcenter: VCenter, tmp_path: Path) -> None:
    issued = lab_vcenter.authority.issue("127.0.0.1")
    config = {
        "username": "u", "password": "sample", "certificate": issued.certificate, "privateKey": issued.key,
        "tempFolder": str(tmp_path / "temp"), **inventory([]),
    }  # fmt: skip
    part = await vcenter(config, folder=tmp_path)
    await part.start()
    assert list((tmp_path / "temp").iterdir())
    pid = part.pid
    await part.stop()
    assert not psutil.pid_exists(pid)
    assert list((tmp_path / "temp").iterdir()) == []


async def test_a_config_that_it_does_not_understand_is_refused_by_name(tmp_path: Path) -> None:
    part = await vcenter({"user": "u"}, folder=tmp_path)
    with pytest.raises(PartError, match='unknown field "user"'):
        await part.start()
