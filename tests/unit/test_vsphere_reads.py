"""What the vCenter client makes of answers that the simulator does not give: properties kept back or not set, faults by type."""

from __future__ import annotations

import ssl
from types import SimpleNamespace
from typing import Any

import pytest
from pyVmomi import vim, vmodl

from vmscaler.adapters.vsphere.clonespec import clone_spec
from vmscaler.adapters.vsphere.faults import of_error, of_fault
from vmscaler.adapters.vsphere.lookups import network_named, template_at
from vmscaler.adapters.vsphere.properties import of_vm, retrieve, task_info, vm_info
from vmscaler.adapters.vsphere.stub import GivenUp, Limit
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable, Untrusted
from vmscaler.ports.vsphere import CloneOrder

VM = vim.VirtualMachine("vm-1")
FOLDER = vim.Folder("group-v1")


class Content:
    """A service content whose collector gives these answers, one after the other: each is pages of (object, properties, missing)."""

    def __init__(self, *answers: list[list[tuple[Any, dict[str, Any], dict[str, Any]]]], at: Any = None) -> None:
        self._answers, self._pages = list(answers), list[list[tuple[Any, dict[str, Any], dict[str, Any]]]]()
        self.propertyCollector = self
        self.searchIndex = SimpleNamespace(FindByInventoryPath=lambda path: at)

    def then(self, *answers: list[list[tuple[Any, dict[str, Any], dict[str, Any]]]]) -> None:
        self._answers += answers

    def RetrievePropertiesEx(self, specs: Any, options: Any) -> Any:
        self._pages = self._answers.pop(0)
        return self.ContinueRetrievePropertiesEx("")

    def ContinueRetrievePropertiesEx(self, token: str) -> Any:
        page = self._pages.pop(0)
        objects = [
            SimpleNamespace(
                obj=obj,
                propSet=[SimpleNamespace(name=name, val=value) for name, value in properties.items()],
                missingSet=[SimpleNamespace(path=name, fault=fault) for name, fault in missing.items()],
            )
            for obj, properties, missing in page
        ]
        return SimpleNamespace(objects=objects, token="more" if self._pages else None)


def test_all_pages_are_read() -> None:
    content = Content([[(VM, {"name": "a"}, {})], [(VM, {"name": "b"}, {})]])
    assert [properties["name"] for _, properties in retrieve(content, [VM], vim.VirtualMachine, ("name",))] == ["a", "b"]


@pytest.mark.parametrize("fault", [vim.fault.NoPermission(), vim.fault.NotAuthenticated(), vmodl.fault.ManagedObjectNotFound()])
def test_what_is_kept_back_is_not_taken_for_not_set(fault: Exception) -> None:
    content = Content([[(VM, {"name": "web-1", "config.instanceUuid": "u"}, {"config.extraConfig": fault})]])
    with pytest.raises(type(fault)):
        of_vm(content, VM)


def test_a_port_group_is_found_among_others_that_may_not_be_seen() -> None:
    """A user of few rights is what an administrator gives; a datacenter lists everybody's networks all the same."""
    center, mine, theirs = vim.Datacenter("datacenter-1"), vim.Network("network-1"), vim.Network("network-2")
    listed = [(center, {"network": [theirs, mine]}, {})]
    names = [(theirs, {}, {"name": vim.fault.NoPermission()}), (mine, {"name": "vlan-web"}, {})]
    assert network_named(Content([listed], [names], at=center), "DC0", "vlan-web") is mine
    with pytest.raises(Rejected) as refusal:
        network_named(Content([listed], [names], at=center), "DC0", "vlan-theirs")
    assert refusal.value.reason == "PortGroupNotFound" and "may see" in refusal.value.message
    ended = [(theirs, {}, {"name": vim.fault.NotAuthenticated()}), names[1]]
    with pytest.raises(vim.fault.NotAuthenticated):
        network_named(Content([listed], [ended], at=center), "DC0", "vlan-web")


def test_a_vm_without_a_configuration_is_not_one_without_marks() -> None:
    with pytest.raises(Retryable) as refusal:
        of_vm(Content([[(VM, {"name": "web-1", "runtime.powerState": "poweredOff"}, {})]]), VM)
    assert refusal.value.reason == "VmNotReadable"
    with pytest.raises(Retryable):
        template_at(Content([[(VM, {"name": "tmpl"}, {})]], at=VM), "/DC0/vm/tmpl")


def test_a_vm_and_its_marks() -> None:
    options = [vim.option.OptionValue(key=key, value=value) for key, value in (("guestinfo.vmscaler.site", "s"), ("guestinfo.other", "x"))]
    nic = SimpleNamespace(ipAddress=["192.0.2.7", "fe80::1"])
    info = vm_info(VM, {
        "name": "web-1", "config.instanceUuid": "u", "config.extraConfig": options, "runtime.powerState": "poweredOn",
        "guest.toolsRunningStatus": "guestToolsRunning", "guest.ipAddress": "192.0.2.7", "guest.net": [nic, SimpleNamespace(ipAddress=[])],
    })  # fmt: skip
    assert (info.guestinfo, info.guest_addresses) == ({"site": "s"}, ("192.0.2.7", "fe80::1"))
    assert (info.powered_on, info.tools_running) == (True, True)


def test_a_task_that_failed() -> None:
    error = vim.fault.NoDiskSpace(msg="the datastore\n is full")
    info = task_info(vim.Task("task-7"), {"info.state": "error", "info.error": error})
    assert (info.key, info.state, info.fault, info.message) == ("task-7", "error", "NoDiskSpace", "the datastore is full")


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (vmodl.fault.ManagedObjectNotFound(), NotFound, "ObjectNotFound"),
        (vim.fault.DuplicateName(), Conflict, "DuplicateName"),
        (vim.fault.NoPermission(privilegeId="Folder.Create"), Rejected, "NotPermitted"),
        (vim.fault.TaskInProgress(), Retryable, "TaskInProgress"),
        (vim.fault.InvalidPowerState(), Retryable, "InvalidPowerState"),
        (vim.fault.ConcurrentAccess(), Retryable, "ConcurrentAccess"),
        (vim.fault.Timedout(), Retryable, "Timedout"),
        (vmodl.fault.HostNotConnected(), Retryable, "HostNotConnected"),
        (vmodl.fault.SystemError(), Retryable, "SystemError"),
        (vim.fault.NotAuthenticated(), Retryable, "NotAuthenticated"),
        (vmodl.fault.InvalidArgument(msg="spec.location.pool"), Rejected, "InvalidArgument"),
        (vim.fault.NoDiskSpace(), Rejected, "NoDiskSpace"),
    ],
)
def test_faults_by_type(fault: Exception, kind: type[OutsideError], reason: str) -> None:
    error = of_fault("clone x", fault)
    assert (type(error), error.reason) == (kind, reason)
    assert error.message.startswith("clone x: ")


def test_a_missing_privilege_is_named() -> None:
    assert "Folder.Create" in of_fault("x", vim.fault.NoPermission(privilegeId="Folder.Create")).message


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (ssl.SSLCertVerificationError("no"), Untrusted, "CertificateNotTrusted"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), Untrusted, "TlsFailed"),
        (ssl.SSLEOFError(8, "ended"), Retryable, "Unreachable"),
        (TimeoutError("timed out"), Retryable, "Timeout"),
        (GivenUp(), Retryable, "Timeout"),
        (ConnectionRefusedError(111, "refused"), Retryable, "Unreachable"),
        (KeyError(""), Retryable, "UnexpectedAnswer"),
    ],
)
def test_errors_of_the_wire(error: Exception, kind: type[OutsideError], reason: str) -> None:
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "unable to get local issuer certificate"
    found = of_error("log in", "https://vcenter.example.org", error)
    assert (type(found), found.reason) == (kind, reason)
    assert "https://vcenter.example.org" in found.message


def test_a_limit_ends_by_time_and_by_word() -> None:
    limit = Limit(60)
    assert 59 < limit.left() <= 60
    limit.give_up()
    with pytest.raises(GivenUp):
        limit.left()
    with pytest.raises(GivenUp):
        Limit(0).left()


def order(**changes: Any) -> CloneOrder:
    wanted: dict[str, Any] = {
        "template_mo_ref": "vm-1", "folder": "/DC0/vm/acme", "name": "web-1", "port_group": "vlan-web", "address": "192.0.2.7",
        "prefix_length": 26, "gateway": None, "dns_servers": (), "domain": "", "hostname": "web-1", "guestinfo": {"site": "s"},
        "resource_pool": "/DC0/host/C0/Resources",
    }  # fmt: skip
    return CloneOrder(**{**wanted, **changes})


def inventory(*cards: Any, guest_id: str = "ubuntu64Guest", networks: tuple[Any, ...] = (vim.Network("network-1"),)) -> Content:
    center = vim.Datacenter("datacenter-1")
    content = Content(
        [[(VM, {"config.hardware.device": list(cards), "config.guestId": guest_id}, {})]],
        [[(center, {"network": list(networks)}, {})]],
        [[(network, {"name": "vlan-web"}, {}) for network in networks]],
    )
    paths = {"DC0": center, "DC0/host/C0/Resources": vim.ResourcePool("resgroup-1")}
    content.searchIndex = SimpleNamespace(FindByInventoryPath=paths.get)
    return content


def card() -> Any:
    return vim.vm.device.VirtualVmxnet3(key=4000, macAddress="00:50:56:00:00:01", addressType="assigned")


def test_a_clone_specification() -> None:
    spec = clone_spec(inventory(card()), VM, "DC0", order())
    assert (spec.powerOn, spec.template) == (True, False)
    assert [(option.key, option.value) for option in spec.config.extraConfig] == [("guestinfo.vmscaler.site", "s")]
    (change,) = spec.config.deviceChange
    assert (change.operation, change.device.key, change.device.macAddress) == ("edit", 4000, None)
    assert change.device.backing.deviceName == "vlan-web"
    (adapter,) = spec.customization.nicSettingMap
    assert (adapter.adapter.ip.ipAddress, adapter.adapter.subnetMask) == ("192.0.2.7", "255.255.255.192")
    assert list(adapter.adapter.gateway) == []
    assert spec.customization.identity.hostName.name == "web-1"


def test_a_distributed_port_group_and_a_datastore() -> None:
    group, switch, datastore = vim.dvs.DistributedVirtualPortgroup("pg-1"), vim.DistributedVirtualSwitch("dvs-1"), vim.Datastore("ds-2")
    content = inventory(card(), networks=(group,))
    content.then(
        [[(group, {"key": "pg-1", "config.distributedVirtualSwitch": switch}, {})]],
        [[(switch, {"uuid": "aa bb"}, {})]],
        [[(vim.Datacenter("datacenter-1"), {"datastore": [vim.Datastore("ds-1"), datastore]}, {})]],
        [[(vim.Datastore("ds-1"), {"name": "slow"}, {}), (datastore, {"name": "fast"}, {})]],
    )
    spec = clone_spec(content, VM, "DC0", order(datastore="fast"))
    port = spec.config.deviceChange[0].device.backing.port
    assert (port.portgroupKey, port.switchUuid) == ("pg-1", "aa bb")
    assert spec.location.datastore == datastore


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (inventory(), "TemplateCards"),
        (inventory(card(), card()), "TemplateCards"),
        (inventory(card(), guest_id="windows2019srv_64Guest"), "CustomizationNeeded"),
        (inventory(card(), networks=(vim.Network("network-1"), vim.Network("network-2"))), "PortGroupAmbiguous"),
        (inventory(card(), networks=(vim.OpaqueNetwork("network-1"),)), "PortGroupNotSupported"),
    ],
)
def test_what_a_template_cannot_be_cloned_with(content: Content, reason: str) -> None:
    with pytest.raises(Rejected) as refusal:
        clone_spec(content, VM, "DC0", order())
    assert refusal.value.reason == reason
