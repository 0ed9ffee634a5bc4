"""Which addresses may be handed out, which network a range is in, which ranges overlap, what a grant covers."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmscaler.api.autoscalingpolicy import PolicyNetwork
from vmscaler.api.site import Network, NetworkGrant, Tenant
from vmscaler.decide.addresses import Refusal, candidates, network_of, overlap, range_granted, usable

FRONT = Network(name="front", port_group="pg", cidr="192.0.2.0/25", gateway="192.0.2.1", vlan=10)
BACK = Network(name="back", port_group="pg2", cidr="192.0.2.128/25")


def asked(start: str, end: str, **more: object) -> PolicyNetwork:
    return PolicyNetwork.model_validate({"ipPool": {"start": start, "end": end, "subnet": "192.0.2.0/24"}, **more})


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (asked("192.0.2.10", "192.0.2.20"), "front"),
        (asked("192.0.2.130", "192.0.2.130"), "back"),
        (asked("192.0.2.10", "192.0.2.20", name="front", vlan=10, gateway="192.0.2.1"), "front"),
        (asked("192.0.2.130", "192.0.2.140", vlan=99, gateway="192.0.2.254"), "back"),  # the Site says neither of it
        (asked("192.0.2.100", "192.0.2.200"), "NetworkNotFound"),
        (asked("198.51.100.1", "198.51.100.2"), "NetworkNotFound"),
        (asked("192.0.2.10", "192.0.2.20", name="nowhere"), "NetworkNotFound"),
        (asked("192.0.2.10", "192.0.2.20", name="back"), "RangeOutsideNetwork"),
        (asked("192.0.2.100", "192.0.2.200", name="front"), "RangeOutsideNetwork"),
        (asked("192.0.2.100", "192.0.2.200", name="back"), "RangeOutsideNetwork"),
        (asked("192.0.2.10", "192.0.2.20", vlan=11), "VlanMismatch"),
        (asked("192.0.2.10", "192.0.2.20", gateway="192.0.2.2"), "GatewayMismatch"),
    ],
)
def test_the_network_of_a_range(wanted: PolicyNetwork, expected: str) -> None:
    found = network_of(wanted, [FRONT, BACK])
    assert (found.reason if isinstance(found, Refusal) else found.name) == expected
    if isinstance(found, Refusal):
        assert len(found.message) > 20


@pytest.mark.parametrize(
    ("start", "end", "clash"),
    [
        ("192.0.2.1", "192.0.2.9", None),
        ("192.0.2.1", "192.0.2.10", "a"),
        ("192.0.2.20", "192.0.2.30", "a"),
        ("192.0.2.21", "192.0.2.29", None),
        ("192.0.2.12", "192.0.2.13", "a"),
        ("192.0.2.1", "192.0.2.250", "a"),
        ("192.0.2.35", "192.0.2.35", "b"),
        ("10.0.0.1", "10.0.0.9", None),
    ],
)
def test_overlaps(start: str, end: str, clash: str | None) -> None:
    assert overlap(start, end, [("a", "192.0.2.10", "192.0.2.20"), ("b", "192.0.2.30", "192.0.2.40")]) == clash


def test_a_grant_of_a_range() -> None:
    tenant = Tenant(namespaces=["acme"], networks=[NetworkGrant(name="front", ranges=["192.0.2.96/28"]), NetworkGrant(name="back")])
    assert range_granted(tenant, "front", "192.0.2.96", "192.0.2.111")
    assert not range_granted(tenant, "front", "192.0.2.95", "192.0.2.100")
    assert not range_granted(tenant, "front", "192.0.2.100", "192.0.2.112")
    assert range_granted(tenant, "back", "192.0.2.128", "192.0.2.255")
    assert not range_granted(tenant, "other", "192.0.2.100", "192.0.2.100")
    two = Tenant(namespaces=["acme"], networks=[NetworkGrant(name="front", ranges=["192.0.2.96/28", "192.0.2.64/28"])])
    assert range_granted(two, "front", "192.0.2.64", "192.0.2.79") and range_granted(two, "front", "192.0.2.96", "192.0.2.97")
    assert not range_granted(two, "front", "192.0.2.79", "192.0.2.96")  # each end in one of them, and what is between in none
    assert not range_granted(Tenant(namespaces=["acme"]), "front", "192.0.2.100", "192.0.2.100")


low = int(IPv4Address("192.0.2.0"))
numbers = st.integers(low - 20, low + 300)


@given(
    ends=st.tuples(numbers, numbers),
    prefix=st.integers(24, 30),
    gateway=st.none() | numbers,
    reserved=st.frozensets(numbers, max_size=20),
    taken=st.frozensets(numbers, max_size=20),
)
def test_candidates_are_free_usable_in_the_range_and_all_of_them(
    ends: tuple[int, int], prefix: int, gateway: int | None, reserved: frozenset[int], taken: frozenset[int]
) -> None:
    network = IPv4Network(f"192.0.2.64/{prefix}", strict=False)
    start, end = sorted(ends)
    found = list(
        candidates(
            str(IPv4Address(start)),
            str(IPv4Address(end)),
            cidr=str(network),
            gateway=None if gateway is None else str(IPv4Address(gateway)),
            reserved={str(IPv4Address(one)) for one in reserved},
            taken={str(IPv4Address(one)) for one in taken},
        )
    )
    expected = [
        str(IPv4Address(number))
        for number in range(start, end + 1)
        if IPv4Address(number) in network
        and IPv4Address(number) not in (network.network_address, network.broadcast_address)
        and number != gateway
        and number not in reserved
        and number not in taken
    ]
    assert found == expected


@given(
    ends=st.tuples(numbers, numbers),
    prefix=st.integers(24, 30),
    gateway=st.none() | numbers,
    reserved=st.frozensets(numbers, max_size=20),
)
def test_usable_counts_the_candidates(ends: tuple[int, int], prefix: int, gateway: int | None, reserved: frozenset[int]) -> None:
    start, end = (str(IPv4Address(number)) for number in sorted(ends))
    cidr = str(IPv4Network(f"192.0.2.64/{prefix}", strict=False))
    router = None if gateway is None else str(IPv4Address(gateway))
    kept = {str(IPv4Address(one)) for one in reserved}
    found = sum(1 for _ in candidates(start, end, cidr=cidr, gateway=router, reserved=kept, taken=()))
    assert usable(start, end, cidr=cidr, gateway=router, reserved=kept) == found


def test_a_large_range_is_counted_without_going_through_it() -> None:
    """Each reconcile of a policy asks, on the event loop; through this one it would take a minute."""
    assert usable("10.0.0.0", "10.255.255.255", cidr="10.0.0.0/8", gateway="10.0.0.1", reserved=["10.0.0.1", "10.2.0.1"]) == 2**24 - 4
