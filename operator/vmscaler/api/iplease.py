"""IpLease: one address in use. Its name is `<site>.<network>.<address>`, so the API server makes every allocation unique."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from pydantic import ConfigDict

from vmscaler.api.cel import Rule, immutable, rules
from vmscaler.api.meta import DnsLabel, DnsName, IpV4, Message, Model, NameRef, PrinterColumn, Resource, Uid, WholeSecond


class LeasePhase(StrEnum):
    """Leased to an instance; resting after use; or let go with its dead site."""

    LEASED = "Leased"
    QUARANTINED = "Quarantined"
    ABANDONED = "Abandoned"


class LeaseHolder(Model):
    """The VmInstance that holds the address."""

    namespace: DnsLabel
    name: DnsName
    uid: Uid


class IpLeaseSpec(Model):
    """Fixed when the address is taken."""

    model_config = ConfigDict(json_schema_extra=rules(immutable("a lease's spec")))

    site_ref: NameRef
    network: DnsLabel
    address: IpV4
    holder: LeaseHolder


class IpLeaseStatus(Model):
    """Leased until its holder is gone; then Quarantined until `releaseAt`, if it was ever powered on."""

    phase: LeasePhase = LeasePhase.LEASED
    since: datetime | None = None
    release_at: WholeSecond | None = None
    reason: Message = ""


class IpLease(Resource[IpLeaseSpec, IpLeaseStatus]):
    """One address in use or at rest."""

    KIND: ClassVar[str] = "IpLease"
    PLURAL: ClassVar[str] = "ipleases"
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.metadata.name == self.spec.siteRef.name + '.' + self.spec.network + '.' + self.spec.address",
            "name the lease <site>.<network>.<address>: only so is every address handed out once",
            ".metadata",
        ),
    )
    SHORT: ClassVar[str] = "ipl"
    NAMESPACED: ClassVar[bool] = False
    COLUMNS: ClassVar[list[PrinterColumn]] = [
        PrinterColumn(name="Phase", json_path=".status.phase"),
        PrinterColumn(name="Holder", json_path=".spec.holder.name"),
        PrinterColumn(name="Release", json_path=".status.releaseAt", priority=1),
        PrinterColumn(name="Holder Namespace", json_path=".spec.holder.namespace", priority=1),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ]
