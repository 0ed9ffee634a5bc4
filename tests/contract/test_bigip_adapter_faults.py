"""The BIG-IP adapter when things go wrong: each fault class of the lab's BIG-IP."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from tests.contract.bigip_adapter_bench import Gate, client_of, raised, writes
from tests.contract.bigip_bench import MEMBERS, PASSWORD, USER, Bigip, bench, eventually

from lab.pki import Authority
from vmscaler.adapters.bigip import BigIpClient
from vmscaler.ports.bigip import Member
from vmscaler.ports.errors import Rejected, Retryable, Untrusted

T = TypeVar("T")
WEB = "/Common/web"
NAME = "10.9.0.5:80"
ITEM = f"{MEMBERS}/~Common~{NAME}"
SAVE = ("POST", "/mgmt/tm/sys/config", 200)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Bigip]:
    async with bench(tmp_path) as running:
        yield running


@pytest.fixture
def effects() -> Gate:
    return Gate()


@pytest.fixture
async def client(lab: Bigip, effects: Gate) -> AsyncIterator[BigIpClient]:
    async with client_of(lab, effects=effects) as made:
        yield made


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("http_503", "BigIpBusy"),
        ("async_task_503", "BigIpBusy"),
        ("mcpd_500", "ServerError"),
        ("unregistered_404", "AbsenceNotProven"),
    ],
)
async def test_a_bigip_that_is_not_well_proves_nothing(lab: Bigip, client: BigIpClient, effects: Gate, fault: str, reason: str) -> None:
    await lab.faults(**{fault: True})
    for call in (
        client.about(),
        client.pool(WEB),
        client.member(WEB, NAME),
        client.virtual_servers(WEB),
        client.current_connections(WEB, NAME),
        client.add_member(WEB, "10.9.0.5", 80),
        client.set_member(WEB, NAME, session="user-enabled", state="user-up"),
        client.remove_member(WEB, NAME),
        client.remove_node(WEB, "10.9.0.5"),
    ):
        error = await raised(call)
        assert type(error) is Retryable and error.reason == reason
    assert effects.calls == []
    await lab.faults(**{fault: {"methods": ["POST"], "path": "/members"}})
    error = await raised(client.add_member(WEB, "10.9.0.5", 80))
    assert type(error) is Retryable and error.reason == reason
    await lab.faults()
    assert await client.member(WEB, NAME) is None
    assert (await client.add_member(WEB, "10.9.0.5", 80)).name == NAME


async def test_an_odd_404_for_a_delete_is_no_absence(lab: Bigip, client: BigIpClient) -> None:
    await client.add_member(WEB, "10.9.0.5", 80)
    await lab.faults(unregistered_404={"methods": ["DELETE"]})
    assert (await raised(client.remove_member(WEB, NAME))).reason == "AbsenceNotProven"
    assert (await raised(client.remove_node("/Common/other", "10.9.0.5"))).reason == "AbsenceNotProven"


async def test_a_lost_answer_to_a_create_is_looked_up_and_adopted(lab: Bigip, client: BigIpClient, effects: Gate) -> None:
    await lab.faults(lost_answer={"count": 1})
    member = await client.add_member(WEB, "10.9.0.5", 80)
    assert (member.name, member.session) == (NAME, "user-disabled")
    assert await writes(lab) == [("POST", MEMBERS, 200), SAVE]
    assert effects.operations == ["member.create", "config.save"]


async def test_a_create_that_did_nothing_is_told(lab: Bigip, client: BigIpClient) -> None:
    await lab.faults(mcpd_500={"path": "/members", "methods": ["POST"]})
    assert (await raised(client.add_member(WEB, "10.9.0.5", 80))).reason == "ServerError"
    assert await client.member(WEB, NAME) is None


async def test_a_lost_answer_to_another_write_is_told_and_made_up_for(lab: Bigip, client: BigIpClient, effects: Gate) -> None:
    await client.add_member(WEB, "10.9.0.5", 80)
    await lab.faults(lost_answer={"count": 1})
    enable = {"session": "user-enabled", "state": "user-up"}
    assert (await raised(client.set_member(WEB, NAME, **enable))).reason == "ConnectionLost"
    await client.set_member(WEB, NAME, **enable)
    assert await writes(lab, "PATCH") == [("PATCH", ITEM, 200)]
    assert (await lab.status())["saved"]
    await lab.faults(lost_answer={"count": 1})
    assert (await raised(client.remove_member(WEB, NAME))).reason == "ConnectionLost"
    await client.remove_member(WEB, NAME)
    assert await writes(lab, "DELETE") == [("DELETE", ITEM, 200)], "not repeated behind our back"
    assert (await lab.status())["saved"]
    assert effects.operations == ["member.create", "config.save", "member.patch", "config.save", "member.delete", "config.save"]


async def test_what_another_process_left_unsaved_is_saved_once(lab: Bigip, client: BigIpClient, effects: Gate) -> None:
    async with client_of(lab) as earlier:
        await lab.faults(mcpd_500={"path": "/sys/config"})
        assert (await raised(earlier.add_member(WEB, "10.9.0.5", 80))).reason == "ServerError"
    await lab.faults()
    assert not (await lab.status())["saved"]
    await client.persist()
    assert (await lab.status())["saved"]
    await client.persist()
    assert effects.operations == ["config.save"], "a client that owes nothing writes nothing"


async def test_a_save_that_fails_is_made_up_for(lab: Bigip, client: BigIpClient) -> None:
    await lab.faults(mcpd_500={"path": "/sys/config"})
    assert (await raised(client.add_member(WEB, "10.9.0.5", 80))).reason == "ServerError"
    assert await client.member(WEB, NAME) is not None and not (await lab.status())["saved"]
    await lab.faults()
    await client.remove_node(WEB, "10.9.0.77")
    assert (await lab.status())["saved"]


async def test_a_member_that_another_was_quicker_to_make_is_adopted(lab: Bigip, tmp_path: Path) -> None:
    await lab.log_in()

    class Overtaken(Gate):
        async def write(self, system: str, operation: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
            if operation == "member.create":
                await lab.ok("POST", MEMBERS, {"name": NAME, "partition": "Common", "address": "10.9.0.5"})
            return await super().write(system, operation, target, call)

    async with client_of(lab, effects=Overtaken()) as client:
        assert (await client.add_member(WEB, "10.9.0.5", 80)).session == "user-enabled"
    assert (await writes(lab))[:2] == [("POST", MEMBERS, 200), ("POST", MEMBERS, 409)]


async def test_a_refusal_has_the_devices_words(lab: Bigip, client: BigIpClient, effects: Gate) -> None:
    await lab.faults(refuse_writes=True)
    error = await raised(client.add_member(WEB, "10.9.0.5", 80))
    assert isinstance(error, Rejected) and error.reason == "BigIpRefused"
    assert "Authorization failed: user=svc-scaler" in error.message
    assert effects.operations == ["member.create"]


async def test_an_address_that_a_named_node_has_is_refused(lab: Bigip, client: BigIpClient) -> None:
    await lab.log_in()
    await lab.ok("POST", "/mgmt/tm/ltm/node", {"name": "10.9.0.5", "partition": "Common", "address": "10.9.0.6"})
    await lab.ok("POST", MEMBERS, {"name": NAME, "partition": "Common"})
    error = await raised(client.add_member(WEB, "10.9.0.5", 80))
    assert isinstance(error, Rejected) and error.reason == "MemberDiffers" and "10.9.0.6" in error.message


async def test_a_node_that_is_only_called_by_the_address_stays(lab: Bigip, client: BigIpClient) -> None:
    await lab.log_in()
    await lab.ok("POST", "/mgmt/tm/ltm/node", {"name": "10.9.0.5", "partition": "Common", "address": "10.9.0.6"})
    await client.remove_node(WEB, "10.9.0.5")
    assert await writes(lab, "DELETE") == []


async def test_no_answer_in_time(lab: Bigip, effects: Gate) -> None:
    async with client_of(lab, effects=effects, timeout=0.5) as client:
        for method, call in (("GET", lambda: client.pool(WEB)), ("POST", lambda: client.add_member(WEB, "10.9.0.5", 80))):
            await lab.faults(latency_s={"value": 600, "methods": [method]})
            error = await raised(call())
            assert type(error) is Retryable and error.reason == "TimedOut" and "0.5 s" in error.message
        await lab.faults()

        async def added() -> Member | None:
            with contextlib.suppress(Retryable):  # half a second is little for a busy machine
                return await client.add_member(WEB, "10.9.0.5", 80)
            return None

        assert (await eventually(added, "the member")).name == NAME


async def test_nobody_there(lab: Bigip, tmp_path: Path) -> None:
    client = BigIpClient(["https://127.0.0.1:1"], USER, PASSWORD, "tmos", lab.ca.read_text(), Gate())
    error = await raised(client.pool(WEB))
    assert type(error) is Retryable and error.reason == "Unreachable" and "127.0.0.1:1" in error.message
    await client.close()


@pytest.mark.parametrize("wrong", ["authority", "name"])
async def test_a_certificate_that_is_not_trusted_gets_nothing(lab: Bigip, client: BigIpClient, wrong: str) -> None:
    assert await client.about()
    issued = Authority.wrong().issue("127.0.0.1") if wrong == "authority" else lab.authority.issue("bigip.example")
    await lab.faults(certificate={"value": {"certificate": issued.certificate, "key": issued.key}})
    before = (await lab.status())["requests"]
    for call in (client.pool(WEB), client.add_member(WEB, "10.9.0.5", 80)):
        error = await raised(call)
        assert isinstance(error, Untrusted) and error.reason == "CertificateNotTrusted" and "caBundle" in error.message
    assert (await lab.status())["requests"] == before
    await lab.faults()
    assert (await client.pool(WEB)).full_path == WEB


async def test_a_standby_unit_is_read_but_not_written_to(lab: Bigip, client: BigIpClient, effects: Gate) -> None:
    await lab.faults(standby=True)
    error = await raised(client.add_member(WEB, "10.9.0.5", 80))
    assert type(error) is Retryable and error.reason == "NoActiveUnit" and "standby" in error.message
    assert (effects.calls, await writes(lab)) == ([], [])
    assert (await client.pool(WEB)).members == ()
    await lab.faults()
    assert (await client.add_member(WEB, "10.9.0.5", 80)).name == NAME


async def test_a_ca_is_needed_and_https(lab: Bigip) -> None:
    ca = lab.ca.read_text()
    for urls, pem, reason in (
        ([lab.record["url"]], "", "CaNotUsable"),
        ([lab.record["url"]], "-----BEGIN CERTIFICATE-----", "CaNotUsable"),
        ([lab.record["url"].replace("https", "http")], ca, "UrlNotHttps"),
    ):
        with pytest.raises(Rejected) as info:
            BigIpClient(urls, USER, PASSWORD, "tmos", pem, Gate())
        assert info.value.reason == reason
