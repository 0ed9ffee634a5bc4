"""The lab vCenter's fault port: what a client (pyvmomi) gets to feel."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from pyVmomi import vim, vmodl
from tests.contract.vsphere_judge import FOLDER, VCenter, clone, clone_spec, connected, ended, found, login, power_state, put_faults, until

from lab.pki import Authority
from lab.process import Json

pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def healed(lab_vcenter: VCenter) -> Iterator[None]:
    yield
    put_faults(lab_vcenter, {})


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
    assert hits(lab_vcenter) == 1


def hits(vcenter: VCenter) -> int:
    """How many calls the first rule has hit."""
    shown = requests.get(vcenter.record["control"] + "/faults", timeout=60).json()
    return int(shown["calls"][0]["hits"])


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
        until(lambda: hits(lab_vcenter) == 1)  # not before: healed while it still logs in, it would be answered
        with pytest.raises(TimeoutError):
            future.result(0.3)
        put_faults(lab_vcenter, {})
        future.result(60)


def test_down_refuses_and_comes_back_at_the_same_place(lab_vcenter: VCenter) -> None:
    put_faults(lab_vcenter, {"down": True})
    with pytest.raises(ConnectionRefusedError):
        login(lab_vcenter)
    with socket.socket() as another, pytest.raises(OSError, match="in use"):
        another.bind((lab_vcenter.record["host"], lab_vcenter.record["port"]))  # nobody gets it meanwhile
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
