"""A connection or a command that ends in the middle says neither yes nor no: the real adapter against the lab's monitoring host."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.contract.monitoring_bench import Monitoring, eventually
from tests.contract.monitoring_hosts_bench import Interrupted, alertmanager_yml, editing, people_files, route

from vmscaler.adapters.alertmanager import AlertmanagerClient
from vmscaler.adapters.monitoring_http import Endpoint
from vmscaler.ports.errors import Closed, Retryable

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]


async def restart_sshd(monitoring_host: Monitoring) -> None:
    assert (await monitoring_host.control("POST", "/restart", {"name": "sshd"}))[0] == 200


async def test_a_checker_whose_connection_is_lost_has_refused_nothing(monitoring_host: Monitoring, tmp_path: Path) -> None:
    """Its output is cut off and it has no exit status, which is not a no: a no would end a scale-out."""
    runs, before, effects = tmp_path / "runs", people_files(monitoring_host), Interrupted()
    slow = {"checkConfigCommand": ["sh", "-c", f": >{runs}; exec sleep 300"]}

    async def checking() -> bool:
        return runs.exists()

    async with editing(monitoring_host, effects, alertmanager=slow) as hosts:
        attempt = asyncio.create_task(hosts.put_route(route(hosts)))
        await eventually(checking, "the checker runs")
        await restart_sshd(monitoring_host)
        # What runs below an sshd that is stopped is stopped too, and may be seen to be first.
        with pytest.raises(Retryable, match=r"the connection was lost while sh ran|sh was killed there"):
            await attempt
    assert alertmanager_yml(monitoring_host).read_bytes() == before[alertmanager_yml(monitoring_host)]
    assert "config.replace" not in effects.operations


@pytest.mark.parametrize("script", ["kill -9 $$", "sh -c 'kill -9 $$'; exit $?"])
async def test_a_checker_that_the_host_kills_has_refused_nothing(monitoring_host: Monitoring, script: str) -> None:
    before = people_files(monitoring_host)
    async with editing(monitoring_host, alertmanager={"checkConfigCommand": ["sh", "-c", script]}) as hosts:
        for attempt in (hosts.check, lambda: hosts.put_route(route(hosts))):
            with pytest.raises(Retryable, match="killed there by signal 9") as failed:
                await attempt()
            assert failed.value.reason == "HostBusy"
    assert people_files(monitoring_host) == before


async def test_a_command_says_yes_or_cannot_say_in_whatever_moment_its_connection_is_lost(
    monitoring_host: Monitoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with editing(monitoring_host) as hosts:
        shell, ends = hosts._shells[0], set()
        for heard in range(6):  # how often the host was heard of it: the session is open, the command runs, it has ended
            connection, left = await shell._connected(), iter(range(heard, -1, -1))
            hear = connection.data_received

            def hear_and_lose(data: bytes, datatype: int | None = None) -> None:
                hear(data, datatype)  # noqa: B023 - of this round
                if next(left, 0) == 0:  # noqa: B023
                    connection.abort()  # noqa: B023

            monkeypatch.setattr(connection, "data_received", hear_and_lose)
            try:
                ends.add(str((await shell.run(["sleep", "0.02"])).status))
            except Retryable as error:
                ends.add(error.reason)
        assert ends <= {"0", "Unreachable", "HostBusy"}


async def test_nothing_goes_on_when_the_lock_is_lost(monitoring_host: Monitoring) -> None:
    """Another editor may have it by then, and its staged file has the name that ours had."""
    lock = str(alertmanager_yml(monitoring_host).parent / ".vmscaler.lock")
    async with editing(monitoring_host) as hosts:
        shell = hosts._shells[0]
        async with shell.locked(lock):
            await shell.run(["true"])
            await restart_sshd(monitoring_host)
            for _ in range(2):
                with pytest.raises(Retryable):
                    await shell.run(["true"])
        assert (await shell.run(["true"])).status == 0


async def test_what_fails_late_leaves_the_next_connection_alone(monitoring_host: Monitoring) -> None:
    async with editing(monitoring_host) as hosts:
        shell = hosts._shells[0]
        lost = await shell._connected()
        with pytest.raises(Retryable), shell._told("a call that hears of it late", lost):
            lost.abort()
            await lost.wait_closed()
            present = await shell._connected()
            raise OSError("the connection was lost")
        assert present is not lost
        assert await shell._connected() is present


async def test_a_client_that_was_closed_says_so_and_opens_nothing(monitoring_host: Monitoring) -> None:
    """Its Site has changed: a step that has it still is begun anew with the present one."""
    async with editing(monitoring_host) as hosts, editing(monitoring_host) as half:
        opening = asyncio.create_task(hosts._shells[0]._connected())
        await asyncio.sleep(0)
        await hosts.close()
        half._threads.shutdown()
        for attempt in (opening, hosts.check(), hosts.put_route(route(hosts)), half.put_route(route(half))):
            with pytest.raises(Closed):
                await attempt
    alerts = AlertmanagerClient([Endpoint("am-1", monitoring_host.alertmanager)])
    await alerts.close()
    with pytest.raises(Closed):
        await alerts.firing({})
