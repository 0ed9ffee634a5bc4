"""What things are called: readable where it fits, unique where it was cut, always legal where it goes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmscaler.decide import names

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
UID = "0f8e9c1a-1111-4222-8333-444455556666"
policy_names = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True)
namespaces = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


def test_names_of_a_usual_policy() -> None:
    assert names.job_name("acme", "web") == "autoscale-acme-web"
    assert names.job_name("acme", "web", prefix="scale-") == "scale-acme-web"
    assert names.job_name("acme", "web", explicit="my-job") == "my-job"
    assert names.receiver("acme", "web") == "vmscaler/acme/web"
    assert names.rule_file("acme", "web") == "vmscaler-acme.web.yml"
    assert names.targets_file("acme", "web") == "vmscaler-acme.web.json"
    assert names.token_file("acme", "web") == "vmscaler-acme.web.token"
    assert names.hook_credential(UID) == f"vmscaler-hook-{UID}"
    assert names.step_credential(UID) == f"vmscaler-step-{UID}"
    assert names.event_name("web", UID, 3) == "web-0f8e9-3"
    assert names.instance_name("web-0f8e9-3", 1) == "web-0f8e9-3-1"
    assert names.lease_name("default", "servers", "192.0.2.100") == "default.servers.192.0.2.100"


@given(st.text(max_size=300))
def test_a_slug_is_a_label(text: str) -> None:
    assert LABEL.fullmatch(names.slug(text))


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_job_name_is_legal_whatever_it_is_made_of(customer: str, service: str) -> None:
    job = names.job_name(customer, service)
    assert LABEL.fullmatch(job)
    assert len(job) <= names.JOB_NAME


@pytest.mark.parametrize("hostile", ["../../etc/cron.d/x", "web\u202efdp", "a\r\nX-Evil: 1", "${x}", "'; id", "аcme", "", "---"])
def test_hostile_names_make_plain_jobs(hostile: str) -> None:
    assert LABEL.fullmatch(names.job_name(hostile, hostile))


@given(policy_names, st.integers(0, 2**40), st.integers(1, 9999))
def test_events_and_instances_fit_labels_and_host_names(policy: str, sequence: int, number: int) -> None:
    event = names.event_name(policy, UID, sequence)
    instance = names.instance_name(event, number)
    for name in (event, instance):
        assert LABEL.fullmatch(name)
        assert len(name) <= names.OBJECT_NAME
    assert event.endswith(f"-0f8e9-{sequence}")


@given(policy_names, policy_names, st.integers(0, 10**6), st.integers(0, 10**6))
def test_two_policies_or_two_sequences_never_share_an_event(one: str, other: str, first: int, second: int) -> None:
    if (one, first) != (other, second):
        assert names.event_name(one, UID, first) != names.event_name(other, UID, second)


@pytest.mark.parametrize("length", [*range(36, 70), 253])
def test_a_long_policy_has_instances_whose_names_are_labels(length: int) -> None:
    """Labels and host names end at 63 (RFC 1123), whatever our constants say."""
    policy = "a" * length
    for sequence in (1, 99_999):
        event = names.event_name(policy, UID, sequence)
        assert LABEL.fullmatch(event) and len(names.instance_name(event, 9999)) <= 63
        fits = length + len(f"-0f8e9-{sequence}-9999") <= 63
        assert (event == f"{policy}-0f8e9-{sequence}") == fits


def test_a_cut_name_stays_unique_and_a_dot_is_no_hyphen() -> None:
    long = "a" * 240
    assert names.event_name(long + "x", UID, 1) != names.event_name(long + "y", UID, 1)
    assert names.event_name("a.b", UID, 1) != names.event_name("a-b", UID, 1)


def test_a_policy_made_anew_has_other_events() -> None:
    assert names.event_name("web", UID, 1) != names.event_name("web", "ffffffff" + UID[8:], 1)


@given(namespaces, policy_names, namespaces, policy_names)
def test_files_are_one_path_component_and_unique(ns1: str, policy1: str, ns2: str, policy2: str) -> None:
    for make in (names.rule_file, names.targets_file, names.token_file):
        file = make(ns1, policy1)
        assert re.fullmatch(r"vmscaler-[a-z0-9][a-z0-9._-]*\.(yml|json|token)", file)
        assert len(file) <= names.FILE_NAME
        assert (file == make(ns2, policy2)) == ((ns1, policy1) == (ns2, policy2))


def test_a_cut_file_name_cannot_be_taken_by_a_policy_of_that_name() -> None:
    cut = names.rule_file("acme", "a" * 240)
    assert "_" in cut  # which no Kubernetes name has
    assert len(cut) == names.FILE_NAME


@given(policy_names, namespaces, st.ip_addresses(v=4))
def test_a_lease_is_a_legal_object_name(site: str, network: str, address: object) -> None:
    lease = names.lease_name(site, network, str(address))
    assert len(lease) <= 253
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", lease)
    assert lease.endswith(f".{network}.{address}")


def test_what_cannot_be_named_is_refused() -> None:
    for number in (0, 10_000):
        with pytest.raises(ValueError, match="1 to 9999"):
            names.instance_name("web-0f8e9-3", number)
    assert names.instance_name("web-0f8e9-3", 9999).endswith("-9999")
    with pytest.raises(ValueError, match="not negative"):
        names.event_name("web", UID, -1)
    assert len(names.shorten("x" * 20, 10)) == 10
    with pytest.raises(ValueError, match="no room"):
        names.shorten("x" * 20, 9)
