"""Which addresses may be handed out, and which network a range is in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from vmscaler.api.autoscalingpolicy import PolicyNetwork
from vmscaler.api.site import Network, Tenant


@dataclass(frozen=True)
class Refusal:
    """Why a spec cannot be met: a reason word and what to do."""

    reason: str
    message: str


def network_of(range_: PolicyNetwork, networks: Sequence[Network]) -> Network | Refusal:
    """The site's network that the policy's range is in, checked for all that the range says of it."""
    start, end = IPv4Address(range_.ip_pool.start), IPv4Address(range_.ip_pool.end)
    if range_.name is not None:
        found = next((network for network in networks if network.name == range_.name), None)
        if found is None:
            names = ", ".join(network.name for network in networks)
            return Refusal("NetworkNotFound", f"the Site has no network {range_.name!r}: use one of {names}, or ask its administrator")
    else:
        found = next((n for n in networks if start in IPv4Network(n.cidr) and end in IPv4Network(n.cidr)), None)
        if found is None:
            return Refusal("NetworkNotFound", f"no network of the Site contains {start}-{end}: its CIDRs are {_cidrs(networks)}")
    cidr = IPv4Network(found.cidr)
    if start not in cidr or end not in cidr:
        return Refusal("RangeOutsideNetwork", f"{start}-{end} is not inside {found.cidr} of network {found.name!r}")
    if range_.vlan is not None and found.vlan is not None and range_.vlan != found.vlan:
        return Refusal("VlanMismatch", f"vlan {range_.vlan} is given, network {found.name!r} is VLAN {found.vlan}: correct one of them")
    if range_.gateway is not None and found.gateway is not None and range_.gateway != found.gateway:
        return Refusal(
            "GatewayMismatch", f"gateway {range_.gateway} is given, network {found.name!r} has {found.gateway}: correct one of them"
        )
    return found


def overlap(start: str, end: str, others: Sequence[tuple[str, str, str]]) -> str | None:
    """The key of the first other range (key, start, end) that shares an address with start-end, or None."""
    low, high = IPv4Address(start), IPv4Address(end)
    for key, other_start, other_end in others:
        if low <= IPv4Address(other_end) and IPv4Address(other_start) <= high:
            return key
    return None


def range_granted(tenant: Tenant, network: str, start: str, end: str) -> bool:
    """Whether the grant covers the whole range in this network."""
    low, high = IPv4Address(start), IPv4Address(end)
    for grant in tenant.networks:
        if grant.name == network and (
            not grant.ranges or any(low in IPv4Network(cidr) and high in IPv4Network(cidr) for cidr in grant.ranges)
        ):
            return True
    return False


def candidates(start: str, end: str, *, cidr: str, gateway: str | None, reserved: Collection[str], taken: Collection[str]) -> Iterator[str]:
    """Addresses from start to end that may be handed out, lowest first.

    Never: the network's and the broadcast address, the gateway, reserved ones (the VIP among them), and those taken.
    """
    never = {*reserved, *taken, gateway}
    for number in _hosts(start, end, cidr):
        address = str(IPv4Address(number))
        if address not in never:
            yield address


def usable(start: str, end: str, *, cidr: str, gateway: str | None, reserved: Collection[str]) -> int:
    """How many `candidates` there are with none taken, without going through a range that may have 65,536 of them."""
    hosts = _hosts(start, end, cidr)
    never = {*reserved, *([gateway] if gateway is not None else [])}
    return len(hosts) - sum(1 for address in never if int(IPv4Address(address)) in hosts)


def _hosts(start: str, end: str, cidr: str) -> range:
    """The numbers from start to end that a host of this network may have."""
    network = IPv4Network(cidr)
    first = max(int(IPv4Address(start)), int(network.network_address) + 1)
    return range(first, min(int(IPv4Address(end)), int(network.broadcast_address) - 1) + 1)


def _cidrs(networks: Sequence[Network]) -> str:
    return ", ".join(f"{network.name} {network.cidr}" for network in networks)
