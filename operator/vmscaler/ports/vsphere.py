"""vCenter as the flows see it. Value types hold leaf values only (facts/vsphere.md: never whole runtime, summary, config)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

SYSTEM = "vsphere"


@dataclass(frozen=True)
class TemplateInfo:
    """A template's identity and hardware."""

    mo_ref: str
    name: str
    is_template: bool
    cpus: int
    memory_mib: int
    disk_gib: int
    guest_os: str
    folder: str
    """Inventory path of the folder that holds it."""


@dataclass(frozen=True)
class VmInfo:
    """A VM as it is now. `guestinfo` holds the extraConfig keys that begin with `guestinfo.vmscaler.`, without that prefix."""

    mo_ref: str
    name: str
    instance_uuid: str
    powered_on: bool
    tools_running: bool
    guest_addresses: tuple[str, ...]
    guestinfo: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CloneOrder:
    """A clone with all names fixed beforehand. The VM is powered on by the clone."""

    template_mo_ref: str
    folder: str
    name: str
    port_group: str
    address: str
    prefix_length: int
    gateway: str | None
    dns_servers: tuple[str, ...]
    domain: str
    hostname: str
    guestinfo: dict[str, str]
    resource_pool: str | None = None
    datastore: str | None = None
    customization: str | None = None


@dataclass(frozen=True)
class TaskInfo:
    """A vCenter task. `state` is queued | running | success | error; `fault` the fault's type name; `result` a moRef."""

    key: str
    state: str
    progress: int | None = None
    result: str | None = None
    fault: str | None = None
    message: str = ""


class VSphere(Protocol):
    """One vCenter. Every call raises Retryable (down, time-out, busy), Untrusted (certificate, login) besides what it names."""

    async def about(self) -> str:
        """Product and version; also proves that certificate and login are right."""
        ...

    async def identity(self) -> str:
        """The vCenter's own instance UUID: what is absent from another vCenter is not gone."""
        ...

    async def template(self, inventory_path: str) -> TemplateInfo:
        """What is at this path. Raises NotFound, Rejected(NotPermitted)."""
        ...

    async def find_vm(self, folder: str, name: str) -> VmInfo | None:
        """The VM of this name in this folder, or None. Raises Rejected(FolderNotFound)."""
        ...

    async def vm(self, mo_ref: str) -> VmInfo:
        """A VM by reference. Raises NotFound."""
        ...

    async def clones_in_flight(self, template_mo_ref: str) -> list[TaskInfo]:
        """Queued and running clone tasks of the template (the template's recentTask)."""
        ...

    async def ensure_folder(self, path: str) -> None:
        """Create the VM folder and its missing parents; existing ones are fine. Raises Rejected(NotPermitted | FolderNotFound)."""
        ...

    async def clone(self, order: CloneOrder) -> str:
        """Order the clone and return the task's key at once. Raises NotFound (template), Conflict (name taken), Rejected."""
        ...

    async def task(self, key: str) -> TaskInfo:
        """A task's state. Raises NotFound where vCenter has forgotten it."""
        ...

    async def power_on(self, mo_ref: str) -> None:
        """Power on and wait; already on is fine. Raises NotFound, Rejected."""
        ...

    async def destroy(self, mo_ref: str, expected_guestinfo: dict[str, str]) -> None:
        """Power off if needed and destroy, after a last look that guestinfo matches. Absent is fine.

        Raises Rejected(NotOurs) when the marks differ: a VM that is not ours is never touched.
        """
        ...

    async def addresses_in_use(self, addresses: frozenset[str]) -> dict[str, str]:
        """Which of these a guest in the inventory reports: address -> VM name. A powered-off VM reports none."""
        ...

    async def close(self) -> None:
        """Log out."""
        ...
