"""What a pool says of the service: its port, its baseline, whether the VIP fits."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vmscaler.decide.addresses import Refusal


@dataclass(frozen=True)
class MemberView:
    """What the decisions need of a member."""

    name: str
    address: str
    port: int
    enabled: bool


def full_path(name: str) -> str:
    """A pool's full path: a bare name is in /Common."""
    return name if name.startswith("/") else f"/Common/{name}"


def member_port(given: int | None, members: Sequence[MemberView], pool: str) -> int | Refusal:
    """The spec's port, or the one that all members share. Port 0 is the device's "any": a VM's own cannot be had from it."""
    if given is not None:
        return given
    ports = sorted({member.port for member in members})
    if ports == [0]:
        return Refusal(
            "MemberPortUnknown", f"the members of {pool} take any port: set spec.f5.memberPort to the one that the service listens on"
        )
    if len(ports) == 1:
        return ports[0]
    if not ports:
        return Refusal("MemberPortUnknown", f"pool {pool} has no members to take the port from: set spec.f5.memberPort")
    return Refusal("MemberPortUnknown", f"the members of {pool} have the ports {', '.join(map(str, ports))}: set spec.f5.memberPort")


def vip_matches(vip: str | None, vip_port: int | None, virtuals: Sequence[tuple[str, str, int]], pool: str) -> Refusal | None:
    """Whether one of the virtual servers (name, address, port) has the given VIP. None found at all is only a warning: iRules exist."""
    if vip is None or not virtuals:
        return None
    for _, address, port in virtuals:
        if address == vip and (vip_port is None or vip_port == port):
            return None
    seen = ", ".join(f"{name} {address}:{port}" for name, address, port in virtuals)
    wanted = vip if vip_port is None else f"{vip}:{vip_port}"
    return Refusal(
        "VipMismatch", f"spec.f5 gives the VIP {wanted}, but {pool} is used by {seen}: correct vip and vipPort or leave them out"
    )


def baseline(members: Sequence[MemberView], ours: Collection[str]) -> list[MemberView]:
    """Members whose address is not one of our instances': made by people."""
    return [member for member in members if member.address not in ours]
