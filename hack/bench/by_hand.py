"""What people have today, for `bench.loop`: a plain script that clones a VM, waits for it, and adds it to the pool, one after the other.

pyvmomi and requests, as a playbook's modules would: no record, no claim, no address management, no rollback.
"""

from __future__ import annotations

import itertools
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from pyVim.connect import Disconnect, SmartConnect
from pyVmomi import vim

POLL = 0.5
LONGEST = 120.0


@dataclass(frozen=True)
class Place:
    """Where things are."""

    vcenter_url: str
    vcenter_user: str
    vcenter_password: str
    bigip_url: str
    bigip_user: str
    bigip_password: str
    ca_pem: str
    ca_file: str
    template: str
    folder: str
    resource_pool: str
    pool: str
    port: int
    health_path: str
    prefix_mask: str


def _until(what: str, look: Callable[[], Any]) -> Any:
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(POLL)
    raise TimeoutError(f"not within {LONGEST:.0f} s: {what}")


def scale_out(place: Place, name: str, address: str) -> dict[str, float]:
    """Seconds for each part. Raises what the libraries raise, TimeoutError."""
    marks = [time.monotonic()]
    address_parts = urlsplit(place.vcenter_url)
    service = SmartConnect(
        host=address_parts.hostname,
        port=address_parts.port or 443,
        user=place.vcenter_user,
        pwd=place.vcenter_password,
        sslContext=ssl.create_default_context(cadata=place.ca_pem),
    )
    try:
        vm = _clone(service.content, place, name, address)
        marks.append(time.monotonic())
        _until(f"{name} reports {address}", lambda: vm.guest is not None and vm.guest.ipAddress == address)
        marks.append(time.monotonic())
    finally:
        Disconnect(service)
    url = f"http://{address}:{place.port}{place.health_path}"
    _until(f"{url} answers", lambda: _answers(url))
    marks.append(time.monotonic())
    _join(place, address)
    marks.append(time.monotonic())
    clone, boot, health, pool = (after - before for before, after in itertools.pairwise(marks))
    return {"clone": clone, "boot": boot, "health": health, "pool": pool, "whole": marks[-1] - marks[0]}


def _clone(content: Any, place: Place, name: str, address: str) -> Any:
    template = content.searchIndex.FindByInventoryPath(place.template)
    folder = content.searchIndex.FindByInventoryPath(place.folder)
    pool = content.searchIndex.FindByInventoryPath(place.resource_pool)
    card = vim.vm.customization.IPSettings(ip=vim.vm.customization.FixedIp(ipAddress=address), subnetMask=place.prefix_mask)
    customization = vim.vm.customization.Specification(
        identity=vim.vm.customization.LinuxPrep(hostName=vim.vm.customization.FixedName(name=name), domain="localdomain"),
        globalIPSettings=vim.vm.customization.GlobalIPSettings(),
        nicSettingMap=[vim.vm.customization.AdapterMapping(adapter=card)],
    )
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=pool), powerOn=True, template=False, customization=customization)
    task = template.CloneVM_Task(folder=folder, name=name, spec=spec)
    return _over(task)


def _over(task: Any) -> Any:
    _until("the task is over", lambda: task.info.state in ("success", "error"))
    if task.info.state == "error":
        raise RuntimeError(f"the task failed: {task.info.error}")
    return task.info.result


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def _bigip(place: Place) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # else REQUESTS_CA_BUNDLE wins over `verify`
    session.verify = place.ca_file
    login = {"username": place.bigip_user, "password": place.bigip_password, "loginProviderName": "tmos"}
    answer = session.post(f"{place.bigip_url}/mgmt/shared/authn/login", json=login, timeout=10)
    answer.raise_for_status()
    session.headers["X-F5-Auth-Token"] = answer.json()["token"]["token"]
    return session


def _members(place: Place) -> str:
    return f"{place.bigip_url}/mgmt/tm/ltm/pool/{place.pool.replace('/', '~')}/members"


def _join(place: Place, address: str) -> None:
    with _bigip(place) as http:
        member = f"{address}:{place.port}"
        http.post(_members(place), json={"name": member, "partition": "Common", "address": address}, timeout=10).raise_for_status()
        _until(
            f"{member} is up",
            lambda: http.get(f"{_members(place)}/~Common~{member}", timeout=10).json().get("state") == "up",
        )
        http.post(f"{place.bigip_url}/mgmt/tm/sys/config", json={"command": "save"}, timeout=30).raise_for_status()


def undo(place: Place, name: str, address: str) -> None:
    """Take it all away again."""
    with _bigip(place) as http:
        http.delete(f"{_members(place)}/~Common~{address}:{place.port}", timeout=10).raise_for_status()
        http.delete(f"{place.bigip_url}/mgmt/tm/ltm/node/~Common~{address}", timeout=10)
    parts = urlsplit(place.vcenter_url)
    service = SmartConnect(
        host=parts.hostname,
        port=parts.port or 443,
        user=place.vcenter_user,
        pwd=place.vcenter_password,
        sslContext=ssl.create_default_context(cadata=place.ca_pem),
    )
    try:
        vm = service.content.searchIndex.FindByInventoryPath(f"{place.folder}/{name}")
        for work in (vm.PowerOffVM_Task, vm.Destroy_Task):
            _over(work())
    finally:
        Disconnect(service)
