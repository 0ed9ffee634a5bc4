"""What is written on each VM (guestinfo.vmscaler.*), and whether a VM is ours by it. A VM is destroyed only if that matches."""

from __future__ import annotations

from collections.abc import Mapping

from vmscaler.api.vminstance import VmInstance


def identity(instance: VmInstance) -> dict[str, str]:
    """The marks that prove whose VM it is."""
    spec = instance.spec
    return {
        "installation": spec.installation,
        "site": spec.site_ref.name,
        "policy": f"{spec.policy_ref.namespace}/{spec.policy_ref.name}",
        "instance": f"{instance.metadata.namespace}/{instance.metadata.name}",
    }


def marks(instance: VmInstance, address: str) -> dict[str, str]:
    """All marks: the identity and the address."""
    return {**identity(instance), "address": address}


def ours(guestinfo: Mapping[str, str], expected: Mapping[str, str]) -> bool:
    """Whether every expected mark is on the VM with this value."""
    return bool(expected) and all(guestinfo.get(key) == value for key, value in expected.items())
