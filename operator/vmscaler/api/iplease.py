"""IpLease: one address in use. Its name is `<site>.<network>.<address>`, so the API server makes every allocation unique."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from vmscaler.api.meta import Model, NameRef, PrinterColumn, Resource


class LeasePhase(StrEnum):
    """Leased to an instance; resting after use; or let go with its dead site."""

    LEASED = "Leased"
    QUARANTINED = "Quarantined"
    ABANDONED = "Abandoned"


class LeaseHolder(Model):
    """The VmInstance that holds the address."""

    namespace: str
    name: str
    uid: str


class IpLeaseSpec(Model):
    """Fixed when the address is taken."""

    site_ref: NameRef
    network: str
    address: str
    holder: LeaseHolder


class IpLeaseStatus(Model):
    """Leased until its holder is gone; then Quarantined until `releaseAt`, if it was ever powered on."""

    phase: LeasePhase = LeasePhase.LEASED
    since: datetime | None = None
    release_at: datetime | None = None
    reason: str = ""


class IpLease(Resource[IpLeaseSpec, IpLeaseStatus]):
    """One address in use or at rest."""

    KIND: ClassVar[str] = "IpLease"
    PLURAL: ClassVar[str] = "ipleases"
    SHORT: ClassVar[str] = "ipl"
    NAMESPACED: ClassVar[bool] = False
    COLUMNS: ClassVar[list[PrinterColumn]] = [
        PrinterColumn(name="Phase", json_path=".status.phase"),
        PrinterColumn(name="Address", json_path=".spec.address"),
        PrinterColumn(name="Namespace", json_path=".spec.holder.namespace"),
        PrinterColumn(name="Holder", json_path=".spec.holder.name"),
        PrinterColumn(name="Release", json_path=".status.releaseAt"),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ]
