"""VmInstance: one VM that the autoscaler made. Deleting it is the clean-up path.

The spec is a snapshot of all that creation and clean-up need, so that both work when policy and template are gone.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from vmscaler.api.autoscalingpolicy import Exporter, Timeouts
from vmscaler.api.cel import immutable, rules
from vmscaler.api.meta import (
    Cidr,
    Conditions,
    DnsLabel,
    InventoryName,
    InventoryPath,
    IpV4,
    Labels,
    Message,
    Model,
    NameRef,
    PolicyRef,
    PoolName,
    Port,
    PrinterColumn,
    Resource,
    Text,
    Word,
)


class InstancePhase(StrEnum):
    """Where an instance is in its life."""

    PENDING = "Pending"
    CLONING = "Cloning"
    BOOTING = "Booting"
    JOINING = "Joining"
    IN_SERVICE = "InService"
    DRAINING = "Draining"
    DESTROYING = "Destroying"


class InstanceNetwork(Model):
    """The network of the VM's card, and the range its address is from."""

    name: DnsLabel
    port_group: Text
    cidr: Cidr
    gateway: IpV4 | None = None
    dns_servers: Annotated[list[IpV4], Field(max_length=4)] = []
    domain: Word = ""
    start: IpV4
    end: IpV4


class InstanceTemplate(Model):
    """The template as it was resolved at the claim."""

    inventory_path: InventoryPath
    mo_ref: Word


class InstancePlacement(Model):
    """Where the VM lives."""

    folder: InventoryPath
    resource_pool: InventoryPath | None = None
    datastore: InventoryName | None = None
    customization: InventoryName | None = None


class InstancePool(Model):
    """The pool that the VM joins."""

    name: PoolName
    member_port: Port
    health_check_path: Word


class InstanceMetrics(Model):
    """How the VM is scraped: under the service's own job label."""

    prometheus_job: Text
    labels: Labels = {}
    port: Port
    exporter: Exporter = Exporter.NODE


class VmInstanceSpec(Model):
    """Fixed at the claim; never changed."""

    model_config = ConfigDict(json_schema_extra=rules(immutable("an instance's spec")))

    policy_ref: PolicyRef
    site_ref: NameRef
    event_ref: NameRef
    installation: DnsLabel
    service: DnsLabel
    vm_name: InventoryName
    template: InstanceTemplate
    placement: InstancePlacement
    network: InstanceNetwork
    pool: InstancePool
    metrics: InstanceMetrics
    timeouts: Timeouts = Timeouts()


class InstanceVm(Model):
    """The VM in vCenter. `started` is written before the clone is ordered: from then on it may exist and may have been powered on.
    `vcenter`, written with it, is the vCenter's own instance UUID."""

    started: bool = False
    vcenter: Word | None = None
    mo_ref: Word | None = None
    instance_uuid: Word | None = None
    task: Word | None = None


class InstanceMember(Model):
    """The pool member. `started` is written before it is made."""

    started: bool = False
    pool: Word | None = None
    name: Word | None = None
    enabled: bool = False


class InstanceRemoval(Model):
    """How far the clean-up is; `drain_until` bounds the wait for connections."""

    started_at: datetime
    drain_until: datetime | None = None
    reason: Message = ""
    left_pool: bool = False
    vm_gone: bool = False


class VmInstanceStatus(Model):
    """Written by the step that runs, and by the clean-up once a deletion timestamp is set."""

    phase: InstancePhase = InstancePhase.PENDING
    address: Word | None = None
    lease: Word | None = None
    vm: InstanceVm | None = None
    member: InstanceMember | None = None
    in_service_since: datetime | None = None
    removal: InstanceRemoval | None = None
    conditions: Conditions = []


class VmInstance(Resource[VmInstanceSpec, VmInstanceStatus]):
    """One VM that the autoscaler made. Deleting it drains it, takes it from the pool, destroys the VM and frees the address."""

    KIND: ClassVar[str] = "VmInstance"
    PLURAL: ClassVar[str] = "vminstances"
    SHORT: ClassVar[str] = "vmi"
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[list[PrinterColumn]] = [
        PrinterColumn(name="Phase", json_path=".status.phase"),
        PrinterColumn(name="Address", json_path=".status.address"),
        PrinterColumn(name="Pool", json_path=".status.member.pool"),
        PrinterColumn(name="VM", json_path=".spec.vmName", priority=1),
        PrinterColumn(name="Event", json_path=".spec.eventRef.name", priority=1),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ]
