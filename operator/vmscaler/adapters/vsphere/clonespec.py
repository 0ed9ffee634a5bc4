"""From a CloneOrder to vim.vm.CloneSpec: pool, datastore, network card, fixed address, marks. Called by client.py in a thread."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from pyVmomi import vim

from vmscaler.adapters.vsphere.properties import MARK, one, retrieve
from vmscaler.ports.errors import Rejected
from vmscaler.ports.vsphere import SYSTEM, CloneOrder


def clone_spec(content: Any, template: Any, datacenter: str, order: CloneOrder) -> Any:
    """The whole specification; everything that it names is looked up before. Raises Rejected(...NotFound)."""
    properties = one(content, template, vim.VirtualMachine, ("config.hardware.device", "runtime.host", "config.guestId"))
    config = vim.vm.ConfigSpec(
        extraConfig=[vim.option.OptionValue(key=MARK + key, value=value) for key, value in sorted(order.guestinfo.items())],
        deviceChange=[_card(content, properties, datacenter, order.port_group)],
    )
    location = vim.vm.RelocateSpec(pool=_pool(content, properties.get("runtime.host"), order.resource_pool))
    if order.datastore is not None:
        location.datastore = _named(content, datacenter, "datastore", vim.Datastore, order.datastore)
    return vim.vm.CloneSpec(location=location, powerOn=True, template=False, config=config, customization=_customization(content, order))


def _pool(content: Any, host: Any, path: str | None) -> Any:
    if path is not None:
        pool = content.searchIndex.FindByInventoryPath(path.strip("/"))
        if not isinstance(pool, vim.ResourcePool):
            raise Rejected(SYSTEM, "ResourcePoolNotFound", f"vCenter has no resource pool {path}: correct spec.placement.resourcePool")
        return pool
    if host is None:
        raise Rejected(SYSTEM, "ResourcePoolNotFound", "the template is on no host: set spec.placement.resourcePool")
    compute = one(content, host, vim.HostSystem, ("parent",))["parent"]
    return one(content, compute, vim.ComputeResource, ("resourcePool",))["resourcePool"]


def _named(content: Any, datacenter: str, property_: str, type_: Any, name: str) -> Any:
    """The datacenter's datastore or network of this name."""
    found = content.searchIndex.FindByInventoryPath(datacenter)
    if not isinstance(found, vim.Datacenter):
        raise Rejected(
            SYSTEM, "DatacenterNotFound", f"vCenter has no datacenter {datacenter!r}: correct spec.vcenter.datacenter of the Site"
        )
    listed = one(content, found, vim.Datacenter, (property_,)).get(property_) or []
    for obj, properties in retrieve(content, listed, type_, ("name",)):
        if properties.get("name") == name:
            return obj
    kind = "datastore" if property_ == "datastore" else "port group"
    raise Rejected(SYSTEM, f"{kind.title().replace(' ', '')}NotFound", f"datacenter {datacenter} has no {kind} {name!r}")


def _card(content: Any, properties: dict[str, Any], datacenter: str, port_group: str) -> Any:
    cards = [device for device in properties.get("config.hardware.device") or [] if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    if len(cards) != 1:
        # A mismatch between cards and customization leaves a clone behind (NicSettingMismatch): refused before the order.
        raise Rejected(SYSTEM, "TemplateCards", f"the template has {len(cards)} network cards, it must have exactly one")
    card = cards[0]
    network = _named(content, datacenter, "network", vim.Network, port_group)
    if isinstance(network, vim.dvs.DistributedVirtualPortgroup):
        group = one(content, network, vim.dvs.DistributedVirtualPortgroup, ("key", "config.distributedVirtualSwitch"))
        switch = one(content, group["config.distributedVirtualSwitch"], vim.DistributedVirtualSwitch, ("uuid",))
        port = vim.dvs.PortConnection(portgroupKey=group["key"], switchUuid=switch["uuid"])
        card.backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    else:
        card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(network=network, deviceName=port_group)
    # Clones keep the template's MAC in some servers: asked for a fresh one.
    card.addressType, card.macAddress = "generated", None
    card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True)
    return vim.vm.device.VirtualDeviceSpec(operation=vim.vm.device.VirtualDeviceSpec.Operation.edit, device=card)


def _customization(content: Any, order: CloneOrder) -> Any:
    settings = vim.vm.customization.IPSettings(
        ip=vim.vm.customization.FixedIp(ipAddress=order.address),
        subnetMask=str(IPv4Network(f"0.0.0.0/{order.prefix_length}").netmask),
        gateway=[order.gateway] if order.gateway else [],
        dnsServerList=list(order.dns_servers),
        dnsDomain=order.domain,
    )
    if order.customization is not None:
        try:
            spec = content.customizationSpecManager.GetCustomizationSpec(order.customization).spec
        except vim.fault.NotFound as error:
            raise Rejected(
                SYSTEM,
                "CustomizationNotFound",
                f"vCenter has no customization specification {order.customization!r}: correct spec.placement",
            ) from error
        spec.nicSettingMap = [vim.vm.customization.AdapterMapping(adapter=settings)]
        return spec
    identity = vim.vm.customization.LinuxPrep(
        hostName=vim.vm.customization.FixedName(name=order.hostname), domain=order.domain or "localdomain"
    )
    return vim.vm.customization.Specification(
        identity=identity,
        globalIPSettings=vim.vm.customization.GlobalIPSettings(dnsServerList=list(order.dns_servers)),
        nicSettingMap=[vim.vm.customization.AdapterMapping(adapter=settings)],
    )
