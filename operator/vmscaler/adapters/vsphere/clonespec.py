"""From a CloneOrder to vim.vm.CloneSpec: pool, datastore, network card, fixed address, marks. Called by client.py in a thread."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from pyVmomi import vim

from vmscaler.adapters.vsphere.lookups import by_path, datastore_named, network_named
from vmscaler.adapters.vsphere.properties import MARK, one
from vmscaler.ports.errors import Rejected
from vmscaler.ports.vsphere import SYSTEM, CloneOrder


def clone_spec(content: Any, template: Any, datacenter: str, order: CloneOrder) -> Any:
    """The whole specification; everything that it names is looked up before. Raises Rejected with what to correct."""
    properties = one(content, template, vim.VirtualMachine, ("config.hardware.device", "runtime.host", "config.guestId"))
    config = vim.vm.ConfigSpec(
        extraConfig=[vim.option.OptionValue(key=MARK + key, value=value) for key, value in sorted(order.guestinfo.items())],
        deviceChange=[_card(content, properties, datacenter, order.port_group)],
    )
    location = vim.vm.RelocateSpec(pool=_pool(content, properties.get("runtime.host"), order.resource_pool))
    if order.datastore is not None:
        location.datastore = datastore_named(content, datacenter, order.datastore)
    customization = _customization(content, order, str(properties.get("config.guestId") or ""))
    return vim.vm.CloneSpec(location=location, powerOn=True, template=False, config=config, customization=customization)


def _pool(content: Any, host: Any, path: str | None) -> Any:
    """A template belongs to no pool: without one given, the root pool of the cluster (or host) on which it is registered."""
    if path is not None:
        pool = by_path(content, path)
        if not isinstance(pool, vim.ResourcePool):
            said = f"vCenter has no resource pool {path}: correct spec.placement.resourcePool of the policy"
            raise Rejected(SYSTEM, "ResourcePoolNotFound", said)
        return pool
    if host is None:
        raise Rejected(SYSTEM, "ResourcePoolNotFound", "the template is on no host: set spec.placement.resourcePool of the policy")
    compute = one(content, host, vim.HostSystem, ("parent",))["parent"]
    return one(content, compute, vim.ComputeResource, ("resourcePool",))["resourcePool"]


def _card(content: Any, properties: dict[str, Any], datacenter: str, port_group: str) -> Any:
    cards = [device for device in properties.get("config.hardware.device") or [] if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    if len(cards) != 1:
        # A mismatch between cards and customization leaves a clone behind (NicSettingMismatch): refused before the order.
        raise Rejected(SYSTEM, "TemplateCards", f"the template has {len(cards)} network cards: it must have exactly one")
    card = cards[0]
    network = network_named(content, datacenter, port_group)
    if isinstance(network, vim.OpaqueNetwork):
        raise Rejected(SYSTEM, "PortGroupNotSupported", f"{port_group!r} is an opaque network: use a standard or distributed port group")
    if isinstance(network, vim.dvs.DistributedVirtualPortgroup):
        group = one(content, network, vim.dvs.DistributedVirtualPortgroup, ("key", "config.distributedVirtualSwitch"))
        switch = one(content, group["config.distributedVirtualSwitch"], vim.DistributedVirtualSwitch, ("uuid",))
        port = vim.dvs.PortConnection(portgroupKey=group["key"], switchUuid=switch["uuid"])
        card.backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    else:
        card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(network=network, deviceName=port_group)
    # Some servers keep the template's MAC in a clone: asked for a fresh one.
    card.addressType, card.macAddress = "generated", None
    card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True)
    return vim.vm.device.VirtualDeviceSpec(operation=vim.vm.device.VirtualDeviceSpec.Operation.edit, device=card)


def _customization(content: Any, order: CloneOrder, guest_id: str) -> Any:
    settings = vim.vm.customization.IPSettings(
        ip=vim.vm.customization.FixedIp(ipAddress=order.address),
        subnetMask=str(IPv4Network(f"0.0.0.0/{order.prefix_length}").netmask),
        gateway=[order.gateway] if order.gateway else [],
        dnsServerList=list(order.dns_servers),
        dnsDomain=order.domain or None,
    )
    adapters = [vim.vm.customization.AdapterMapping(adapter=settings)]
    if order.customization is not None:
        try:
            spec = content.customizationSpecManager.GetCustomizationSpec(order.customization).spec
        except vim.fault.NotFound as error:
            said = f"vCenter has no customization specification {order.customization!r}: correct spec.placement.customization of the policy"
            raise Rejected(SYSTEM, "CustomizationNotFound", said) from error
        spec.nicSettingMap = adapters
        if order.dns_servers:
            spec.globalIPSettings.dnsServerList = list(order.dns_servers)
        return spec
    if guest_id.startswith("win"):
        said = (
            "a Windows guest needs a customization specification (licence, administrator): set spec.placement.customization of the policy"
        )
        raise Rejected(SYSTEM, "CustomizationNeeded", said)
    return vim.vm.customization.Specification(
        identity=vim.vm.customization.LinuxPrep(
            hostName=vim.vm.customization.FixedName(name=order.hostname), domain=order.domain or "localdomain"
        ),
        globalIPSettings=vim.vm.customization.GlobalIPSettings(dnsServerList=list(order.dns_servers)),
        nicSettingMap=adapters,
    )
