# ruff: noqa: ASYNC240 - small files, and nothing else runs on a test's loop
"""What must not happen to people's files: the real adapter against the lab's monitoring host, with things going wrong.

Who is not let in, and what is refused: test_monitoring_host_refusals.py.
"""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.contract.monitoring_bench import Monitoring
from tests.contract.monitoring_hosts_bench import (
    TOKEN,
    Interrupted,
    Killed,
    alertmanager_yml,
    editing,
    loaded_hash,
    people_files,
    restore,
    route,
    rules,
)

from vmscaler.adapters.monitoring_host.loading import config_hash
from vmscaler.ports.errors import Rejected, Retryable

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]


def prometheus_yml(monitoring_host: Monitoring) -> Path:
    return Path(monitoring_host.record["prometheus"]["configFile"])


async def rule_alerts(monitoring_host: Monitoring) -> list[str]:
    answer = await monitoring_host.get(monitoring_host.prometheus + "/api/v1/rules")
    return [rule["name"] for group in answer["data"]["groups"] for rule in group["rules"]]


# Who else edits


async def test_a_persons_edit_in_between_is_kept_beside_ours(monitoring_host: Monitoring) -> None:
    path, effects = alertmanager_yml(monitoring_host), Interrupted()
    before = path.read_bytes()
    effects.before["config.backup"] = lambda: path.write_bytes(before + b"# Kim was here\n")
    async with editing(monitoring_host, effects) as hosts:
        await hosts.put_route(route(hosts))
        assert effects.operations.count("config.stage") == 2, "started over"
        assert b"# Kim was here\n" in path.read_bytes()
        assert await loaded_hash(monitoring_host) == config_hash(path.read_bytes())
        await hosts.remove_route("vmscaler/acme/web")
    assert path.read_bytes() == before + b"# Kim was here\n"


async def test_a_persons_edit_of_prometheus_yml_in_between_is_kept_beside_ours(monitoring_host: Monitoring) -> None:
    path, effects = prometheus_yml(monitoring_host), Interrupted()
    before = path.read_bytes()
    effects.before["config.backup"] = lambda: path.write_bytes(before + b"# Kim was here\n")
    async with editing(monitoring_host, effects) as hosts:
        await hosts.put_rules(rules())
    assert b"vmscaler-instances" in path.read_bytes()
    assert path.read_bytes().endswith(b"# Kim was here\n")
    assert "VmscalerHighCpu" in await rule_alerts(monitoring_host)


async def test_a_persons_edit_between_our_two_files_is_kept_too(monitoring_host: Monitoring) -> None:
    """The rule file goes into its place first, which takes a moment: the last look at prometheus.yml comes after that."""
    path, effects = prometheus_yml(monitoring_host), Interrupted()
    before = path.read_bytes()
    effects.before["rules.replace"] = lambda: path.write_bytes(before + b"# Kim was here\n")
    async with editing(monitoring_host, effects) as hosts:
        await hosts.put_rules(rules())
    assert effects.operations.count("config.stage") == 2, "started over"
    assert "rules.restore" in effects.operations, "what is not loaded yet does not stay"
    assert b"vmscaler-instances" in path.read_bytes()
    assert path.read_bytes().endswith(b"# Kim was here\n")
    assert not list(path.parent.glob(".*vmscaler-staged*"))
    assert "VmscalerHighCpu" in await rule_alerts(monitoring_host)


async def test_a_file_that_never_stays_still_is_left_to_its_writer(monitoring_host: Monitoring) -> None:
    path, count = alertmanager_yml(monitoring_host), iter(range(100))
    before = path.read_bytes()

    class Restless(Interrupted):
        async def write(self, system: str, operation: str, target: str, call: Any) -> Any:
            if operation == "config.stage":
                path.write_bytes(before + b"# edit %d\n" % next(count))
            return await super().write(system, operation, target, call)

    async with editing(monitoring_host, Restless()) as hosts:
        with pytest.raises(Retryable, match="changed by others 5 times") as failed:
            await hosts.put_route(route(hosts))
        assert failed.value.reason == "FileBusy"
    assert path.read_bytes() == before + b"# edit 4\n"


async def test_a_file_that_people_left_broken_is_not_loaded_by_us(monitoring_host: Monitoring) -> None:
    path = alertmanager_yml(monitoring_host)
    async with editing(monitoring_host) as hosts:
        await hosts.put_route(route(hosts))
        broken = path.read_bytes() + b"unknown_section: 1\n"
        path.write_bytes(broken)
        for attempt in (hosts.put_route(route(hosts)), hosts.put_route(route(hosts, "shop"))):
            with pytest.raises(Rejected) as refused:
                await attempt
            assert refused.value.reason == "CheckFailed"
    assert path.read_bytes() == broken


async def test_two_editors_lose_nothing(monitoring_host: Monitoring) -> None:
    path = alertmanager_yml(monitoring_host)
    before = path.read_bytes()
    async with editing(monitoring_host) as one, editing(monitoring_host) as other:
        names = [f"p{number}" for number in range(4)]
        await asyncio.gather(*((one, other)[number % 2].put_route(route(one, name)) for number, name in enumerate(names)))
        written = path.read_bytes().decode()
        assert all(written.count(f'"vmscaler/acme/{name}"') == 2 for name in names)
        await asyncio.gather(*((one, other)[number % 2].remove_route(f"vmscaler/acme/{name}") for number, name in enumerate(names)))
    assert path.read_bytes() == before


async def test_a_lock_goes_with_its_connection(monitoring_host: Monitoring) -> None:
    path = str(alertmanager_yml(monitoring_host).parent / ".vmscaler.lock")
    async with editing(monitoring_host) as dying, editing(monitoring_host) as next_one:
        holder, waiter = dying._shells[0], next_one._shells[0]
        entered = asyncio.Event()

        async def wait() -> None:
            async with waiter.locked(path):
                entered.set()

        async with holder.locked(path):
            waiting = asyncio.create_task(wait())
            await waiter.run(["true"])
            assert not entered.is_set()
            await holder.close()
            await asyncio.wait_for(waiting, 60)


# What a crash leaves


async def test_a_kill_before_any_write_of_a_route_leaves_the_old_file_or_the_new(monitoring_host: Monitoring) -> None:
    path = alertmanager_yml(monitoring_host)
    old = path.read_bytes()
    async with editing(monitoring_host) as hosts:
        await hosts.put_route(route(hosts))
    new = path.read_bytes()
    for number in range(10):
        path.write_bytes(old)
        await monitoring_host.status_of("POST", monitoring_host.record["alertmanager"]["reloadUrl"])
        for backup in path.parent.glob(".*vmscaler-backup*"):
            backup.unlink()
        effects = Interrupted(number)
        async with editing(monitoring_host, effects) as hosts:
            try:
                await hosts.put_route(route(hosts))
                break
            except Killed:
                assert path.read_bytes() in (old, new)
        async with editing(monitoring_host) as successor:
            await successor.put_route(route(successor))
        assert path.read_bytes() == new
        assert await loaded_hash(monitoring_host) == config_hash(new)
    assert number == 4, "stage, backup, replace, reload"


async def test_a_kill_between_the_writes_of_a_rule_is_mended_by_the_next(monitoring_host: Monitoring) -> None:
    before = people_files(monitoring_host)
    writes = ["rules.stage", "config.stage", "config.backup", "rules.replace", "config.replace", "prometheus.reload"]
    for number in (2, 4, 5):
        await restore(monitoring_host, before)
        effects = Interrupted(number)
        async with editing(monitoring_host, effects) as hosts:
            with pytest.raises(Killed):
                await hosts.put_rules(rules())
        assert effects.operations == writes[:number]
        async with editing(monitoring_host) as successor:
            await successor.put_rules(rules())
        assert "VmscalerHighCpu" in await rule_alerts(monitoring_host)


# What stays as it was


async def test_mode_and_owner_stay_and_backups_are_bounded(monitoring_host: Monitoring) -> None:
    path = alertmanager_yml(monitoring_host)
    before = path.read_bytes()
    path.chmod(0o640)
    try:
        async with editing(monitoring_host) as hosts:
            await hosts.put_route(route(hosts))
            for number in range(6):
                path.write_bytes(path.read_bytes() + b"# edit %d\n" % number)
                await hosts.put_route(route(hosts, repeat_interval=f"{number + 10}m"))
            assert stat.S_IMODE(path.stat().st_mode) == 0o640
            backups = sorted(path.parent.glob(".*vmscaler-backup*"))
            assert len(backups) == 5
            assert all(stat.S_IMODE(backup.stat().st_mode) == 0o640 for backup in backups)
            assert any(b"# edit 4\n" in backup.read_bytes() and b"# edit 5\n" not in backup.read_bytes() for backup in backups)
            assert not list(path.parent.glob(".*vmscaler-staged*"))
    finally:
        path.chmod(0o644)
        path.write_bytes(before)


async def test_a_link_beside_the_file_stays_a_link(monitoring_host: Monitoring) -> None:
    """`current.yml -> alertmanager.yml`: what the link leads to is edited, not the link replaced by a file of ours."""
    path = alertmanager_yml(monitoring_host)
    link, before = path.with_name("current.yml"), path.read_bytes()
    link.symlink_to(path.name)
    try:
        async with editing(monitoring_host, alertmanager={"configFile": str(link)}) as hosts:
            await hosts.put_route(route(hosts))
            assert link.is_symlink() and b"vmscaler/acme/web" in path.read_bytes()
            assert await loaded_hash(monitoring_host) == config_hash(path.read_bytes())
            await hosts.remove_route("vmscaler/acme/web")
        assert link.is_symlink() and path.read_bytes() == before
    finally:
        link.unlink()


async def test_folders_that_are_links_are_folders(monitoring_host: Monitoring, tmp_path: Path) -> None:
    """/etc/alertmanager may lead to another disk; a file in a folder's place is named."""
    path = alertmanager_yml(monitoring_host)
    tokens = Path(monitoring_host.record["alertmanager"]["tokensDir"])
    (tmp_path / "etc").symlink_to(path.parent)
    (tmp_path / "tokens").symlink_to(tokens)
    link = path.with_name("current.yml")
    link.symlink_to(path.name)
    try:
        where = {"configFile": str(tmp_path / "etc" / "current.yml"), "tokensDirectory": str(tmp_path / "tokens")}
        async with editing(monitoring_host, alertmanager=where) as hosts:
            await hosts.put_token("vmscaler-acme.web.token", TOKEN)
            await hosts.put_route(route(hosts))
            assert (tokens / "vmscaler-acme.web.token").read_text() == TOKEN and b"vmscaler/acme/web" in path.read_bytes()
            await hosts.remove_route("vmscaler/acme/web")
            await hosts.remove_token("vmscaler-acme.web.token")
    finally:
        link.unlink()
    async with editing(monitoring_host, alertmanager={"tokensDirectory": str(path)}) as hosts:
        with pytest.raises(Rejected, match="is no folder") as refused:
            await hosts.put_token("vmscaler-acme.web.token", TOKEN)
        assert refused.value.reason == "NotAccessible"


async def test_a_token_is_readable_to_its_owner_alone(monitoring_host: Monitoring) -> None:
    async with editing(monitoring_host) as hosts:
        await hosts.put_token("vmscaler-acme.web.token", TOKEN)
        path = Path(hosts.token_path("vmscaler-acme.web.token"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_uid == path.parent.stat().st_uid
        path.chmod(0o644)
        await hosts.put_token("vmscaler-acme.web.token", TOKEN)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for wrong in ("", "a b", "a\r\nX-Evil: 1", "é"):
            with pytest.raises(Rejected):
                await hosts.put_token("vmscaler-acme.web.token", wrong)
