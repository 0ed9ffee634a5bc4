"""VmTemplate: a vSphere template, adopted by its inventory path (made from a VM: a later version)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from vmscaler.api.meta import (
    Conditions,
    Count,
    DnsLabel,
    Generation,
    InventoryPath,
    LongText,
    Model,
    NameRef,
    PrinterColumn,
    Resource,
    Text,
    Word,
    clip,
)


class SourceMethod(StrEnum):
    """How a template is made from a VM."""

    CLONE = "Clone"
    CONVERT = "Convert"


class SourceVm(Model):
    """The VM that a template is made from."""

    inventory_path: InventoryPath = Field(description="The VM's inventory path.")
    method: SourceMethod = SourceMethod.CLONE


class VmTemplateSpec(Model):
    """Which vSphere template, and who may use it."""

    site_ref: NameRef = NameRef(name="default")
    inventory_path: InventoryPath = Field(
        description="The template's inventory path, e.g. /DC0/vm/templates/tmpl-web. It is adopted, never changed."
    )
    source: SourceVm | None = Field(default=None, description="Make the template from this VM. Not acted on yet: refused with a condition.")
    description: Text = Field(default="", description="For people.")
    version_notes: LongText = Field(default="", description="For people: what changed from version to version.")
    shared_with: Annotated[list[DnsLabel], Field(max_length=64)] = Field(
        default=[], description="Other namespaces whose policies may use it."
    )


class VmTemplateStatus(Model):
    """What vCenter says of the template."""

    observed_generation: Generation | None = None
    conditions: Conditions = []
    mo_ref: Word | None = None
    cpus: Count | None = None
    memory_mib: Count | None = Field(default=None, alias="memoryMiB")
    disk_gib: Count | None = Field(default=None, alias="diskGiB")
    guest_os: Word | None = Field(default=None, alias="guestOS")
    used_by: Annotated[list[Word], Field(max_length=1000), clip(1000)] = []


class VmTemplate(Resource[VmTemplateSpec, VmTemplateStatus]):
    """A vSphere template that policies clone VMs from."""

    KIND: ClassVar[str] = "VmTemplate"
    PLURAL: ClassVar[str] = "vmtemplates"
    SHORT: ClassVar[str] = "vmt"
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[list[PrinterColumn]] = [
        PrinterColumn(name="Ready", json_path='.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn(name="CPU", type="integer", json_path=".status.cpus"),
        PrinterColumn(name="Memory-MiB", type="integer", json_path=".status.memoryMiB", description="MiB"),
        PrinterColumn(name="Disk-GiB", type="integer", json_path=".status.diskGiB", description="GiB"),
        PrinterColumn(name="Reason", json_path='.status.conditions[?(@.type=="Ready")].reason'),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ]
