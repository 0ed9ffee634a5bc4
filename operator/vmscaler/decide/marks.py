"""What is written on each VM (guestinfo.vmscaler.*), and whether a VM is ours by it. A VM is destroyed only if that matches."""

from __future__ import annotations

from collections.abc import Mapping

from vmscaler.api.vminstance import VmInstance


def identity(instance: VmInstance) -> dict[str, str]:
    """The marks that prove whose VM it is. The address is one of them once the instance has one, which is before any order: in a cluster that
    was restored from a backup the sequence counts again, and a VM that serves has the name of one that is to be made."""
    spec = instance.spec
    address = {"address": instance.status.address} if instance.status.address is not None else {}
    return {
        "installation": spec.installation,
        "site": spec.site_ref.name,
        "policy": f"{spec.policy_ref.namespace}/{spec.policy_ref.name}",
        "instance": f"{instance.metadata.namespace}/{instance.metadata.name}",
        **address,
    }


def marks(instance: VmInstance, address: str) -> dict[str, str]:
    """All marks: the identity and the address."""
    return {**identity(instance), "address": address}


def ours(guestinfo: Mapping[str, str], expected: Mapping[str, str]) -> bool:
    """Whether every expected mark is on the VM with this value."""
    return bool(expected) and all(guestinfo.get(key) == value for key, value in expected.items())
