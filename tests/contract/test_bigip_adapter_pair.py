"""The BIG-IP adapter on a pair: which unit is written to and read, what a failover does, what is synchronised and saved."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.bigip_adapter_bench import Gate, client_of, writes
from tests.contract.bigip_bench import Bigip, bench, eventually

from lab.bigip import system
from lab.bigip.query import collection
from lab.bigip.routing import Call, Router
from vmscaler.adapters.bigip import units as units_module
from vmscaler.ports.errors import Retryable

WEB = "/Common/web"
GROUP = "/Common/failover"


def _with_device_group(router: Router, device: system.System, *, auto: bool = False) -> None:
    """The lab's device group as /mgmt/tm/cm/device-group lists it, among those that every device has."""

    def groups(call: Call) -> dict[str, Any]:
        listed = [("device_trust_group", "sync-only", "enabled"), ("gtm", "sync-only", "disabled")]
        listed += [(str(device.group).rpartition("/")[2], "sync-failover", "enabled" if auto else "disabled")] if device.group else []
        kind = "tm:cm:device-group:device-group"
        items = [
            {"kind": f"{kind}state", "name": name, "partition": "Common", "fullPath": f"/Common/{name}", "type": type_, "autoSync": sync}
            for name, type_, sync in listed
        ]
        return collection(call, f"{kind}collectionstate", "/tm/cm/device-group", items)

    router.add("GET", "tm/cm/device-group", groups)


@contextlib.asynccontextmanager
async def pair(folder: Path, monkeypatch: pytest.MonkeyPatch, *, auto: bool = False) -> AsyncIterator[tuple[Bigip, Bigip]]:
    """Two units; the second is standby. They share no configuration: a test sees which one was asked."""
    add_routes = system.add_routes

    def more_routes(router: Router, device: system.System) -> None:
        add_routes(router, device)
        _with_device_group(router, device, auto=auto)

    monkeypatch.setattr(system, "add_routes", more_routes)
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    async with (
        bench(folder / "a", hostname="a.example", peer="b.example", deviceGroup=GROUP) as a,
        bench(folder / "b", hostname="b.example", peer="a.example", deviceGroup=GROUP) as b,
    ):
        await b.faults(standby=True)
        yield a, b


async def test_a_pair_is_written_to_at_its_active_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    effects = Gate()
    async with pair(tmp_path, monkeypatch) as (a, b), client_of(b, a, effects=effects) as client:
        assert (await client.add_member(WEB, "10.9.0.5", 80)).name == "10.9.0.5:80"
        assert (await client.pool(WEB)).members != ()
        assert (len(await writes(a)), await writes(b)) == (3, [])
        await a.faults(standby=True)
        await b.faults()
        await client.add_member(WEB, "10.9.0.6", 80)
        assert (len(await writes(a)), len(await writes(b))) == (3, 3)
        assert [m.name for m in (await client.pool(WEB)).members] == ["10.9.0.6:80"]
        await b.faults(standby=True)
        with pytest.raises(Retryable) as raised:
            await client.add_member(WEB, "10.9.0.7", 80)
        assert raised.value.reason == "NoActiveUnit" and "failover" in raised.value.message
    assert effects.operations == ["member.create", "config.save", "config.sync"] * 2
    assert {target for _, operation, target in effects.calls if operation == "config.sync"} == {GROUP}


async def test_one_of_a_pair_may_be_down_but_not_the_active_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair(tmp_path, monkeypatch) as (a, b), client_of(b, a) as client:
        await b.faults(http_503=True)
        assert await client.about() == "16.1.4"
        assert (await client.add_member(WEB, "10.9.0.5", 80)).name == "10.9.0.5:80"
        assert len((await client.pool(WEB)).members) == 1
        await b.faults(standby=True)
        await a.faults(http_503=True)
        with pytest.raises(Retryable) as raised:
            await client.add_member(WEB, "10.9.0.6", 80)
        assert raised.value.reason == "BigIpBusy"
        with pytest.raises(Retryable):
            await client.pool(WEB)
        assert await writes(b) == []


async def test_reads_follow_a_failover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units_module, "_BELIEVED_SECONDS", 0.2)
    async with pair(tmp_path, monkeypatch) as (a, b), client_of(a, b) as client:
        await client.add_member(WEB, "10.9.0.5", 80)
        assert len((await client.pool(WEB)).members) == 1
        await a.faults(standby=True)
        await b.faults()

        async def followed() -> bool:
            return (await client.pool(WEB)).members == ()

        await eventually(followed, "reads from the other unit")
        monkeypatch.setattr(units_module, "_BELIEVED_SECONDS", 3600)
        await client.remove_member(WEB, "10.9.0.77:80")  # a look at who is active, believed for an hour
        await b.faults(http_503=True)
        await a.faults()
        with pytest.raises(Retryable):
            await client.pool(WEB)
        assert len((await client.pool(WEB)).members) == 1


async def test_every_change_is_synchronised_and_a_drain_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    effects = Gate()
    async with pair(tmp_path, monkeypatch) as (a, b), client_of(a, b, effects=effects) as client:
        await client.add_member(WEB, "10.9.0.5", 80)
        effects.calls.clear()
        await client.set_member(WEB, "10.9.0.5:80", session="user-disabled", state="user-down")
        assert effects.operations == ["member.patch", "config.sync"]
        status = await a.status()
        assert (status["syncStatus"], status["saved"]) == ("In Sync", False)


async def test_what_another_process_left_unsynchronised_is_synchronised_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    effects = Gate()
    async with pair(tmp_path, monkeypatch) as (a, b), client_of(a, b, effects=effects) as client:
        async with client_of(a, b) as earlier:
            await a.faults(mcpd_500={"path": "/tm/cm", "methods": ["POST"]})
            with pytest.raises(Retryable):
                await earlier.add_member(WEB, "10.9.0.5", 80)
        await a.faults()
        await client.persist()
        await client.persist()
    assert effects.operations == ["config.save", "config.sync"]


async def test_a_group_that_synchronises_by_itself_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    effects = Gate()
    async with pair(tmp_path, monkeypatch, auto=True) as (a, b), client_of(a, b, effects=effects) as client:
        await client.add_member(WEB, "10.9.0.5", 80)
    assert effects.operations == ["member.create", "config.save"]
