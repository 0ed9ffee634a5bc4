# ruff: noqa: ASYNC240 - small files, and nothing else runs on a test's loop
"""What must not happen to people's files: the real adapter against the lab's monitoring host, with things going wrong."""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import pytest_asyncio
from tests.contract.monitoring_bench import Monitoring
from tests.contract.monitoring_hosts_bench import (
    TOKEN,
    Interrupted,
    Killed,
    lab_hosts,
    people_files,
    restore,
    route,
    rules,
)

from vmscaler.adapters.monitoring_host import SshKey, SshMonitoringHosts
from vmscaler.adapters.monitoring_host.loading import config_hash
from vmscaler.ports.errors import Rejected, Retryable, Untrusted
from vmscaler.ports.monitoring import RuleFile, TargetFile

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def lab(lab_monitoring: Monitoring) -> AsyncIterator[Monitoring]:
    before = people_files(lab_monitoring)
    yield lab_monitoring
    await lab_monitoring.faults()
    await restore(lab_monitoring, before)


@contextlib.asynccontextmanager
async def editing(lab: Monitoring, effects: Interrupted | None = None, **changes: Any) -> AsyncIterator[SshMonitoringHosts]:
    hosts = lab_hosts(lab, effects or Interrupted(), **changes)
    try:
        yield hosts
    finally:
        await hosts.close()


def alertmanager_yml(lab: Monitoring) -> Path:
    return Path(lab.record["alertmanager"]["configFile"])


def prometheus_yml(lab: Monitoring) -> Path:
    return Path(lab.record["prometheus"]["configFile"])


async def loaded_hash(lab: Monitoring) -> int:
    async with lab.session.get(lab.alertmanager + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("alertmanager_config_hash "))))


async def rule_alerts(lab: Monitoring) -> list[str]:
    answer = await lab.get(lab.prometheus + "/api/v1/rules")
    return [rule["name"] for group in answer["data"]["groups"] for rule in group["rules"]]


# Who is at the other end


async def test_another_host_key_is_untrusted_and_nothing_is_sent_or_written(lab: Monitoring) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    before, effects = people_files(lab), Interrupted()
    async with editing(lab, effects, ssh={"hostKeys": [other]}) as hosts:
        for attempt in (hosts.check(), hosts.put_route(route(hosts)), hosts.put_token("vmscaler-acme.web.token", TOKEN)):
            with pytest.raises(Untrusted, match=r"none of ssh\.hostKeys.*ssh-keyscan -p") as refused:
                await attempt
            assert refused.value.reason == "HostKeyChanged"
    assert people_files(lab) == before
    assert effects.calls == []


async def test_a_host_key_of_another_kind_is_untrusted_too(lab: Monitoring) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode().strip()
    async with editing(lab, ssh={"hostKeys": [other]}) as hosts:
        with pytest.raises(Untrusted) as refused:
            await hosts.check()
        assert refused.value.reason == "HostKeyChanged"


async def test_a_host_key_that_changes_while_we_are_connected_is_found_at_the_next_log_in(lab: Monitoring) -> None:
    async with editing(lab) as hosts:
        await hosts.check()
        await lab.faults(sshd="hostKeyChanged")
        before = people_files(lab)
        with contextlib.suppress(Retryable):  # it may have to notice its lost connection first
            await hosts.put_route(route(hosts))
        with pytest.raises(Untrusted):
            await hosts.put_route(route(hosts))
        assert people_files(lab) == before
        await lab.faults()
        await hosts.put_route(route(hosts))


async def test_a_key_that_the_host_does_not_know_is_untrusted(lab: Monitoring) -> None:
    stranger = SshKey(asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())
    async with editing(lab, key=stranger) as hosts:
        with pytest.raises(Untrusted, match="authorized_keys") as refused:
            await hosts.check()
        assert refused.value.reason == "LoginRefused"
    async with editing(lab, key=SshKey("no key at all")) as hosts:
        with pytest.raises(Untrusted, match="monitoring-ssh") as refused:
            await hosts.check()
    assert "no key at all" not in repr(SshKey("no key at all"))


@pytest.mark.parametrize("fault", [{"sshd": "down"}, {"alertmanager": "down"}])
async def test_what_does_not_answer_is_retryable_and_nothing_is_written(lab: Monitoring, fault: dict[str, str]) -> None:
    before, effects = people_files(lab), Interrupted()
    async with editing(lab, effects) as hosts:
        await lab.faults(**fault)
        with pytest.raises(Retryable) as failed:
            await hosts.put_route(route(hosts))
        assert failed.value.reason == "Unreachable"
        assert people_files(lab) == before
        assert effects.calls == []
        await lab.faults()
        await hosts.put_route(route(hosts))  # the same object connects anew


# Who says no


async def test_what_promtool_refuses_changes_nothing(lab: Monitoring) -> None:
    before = people_files(lab)
    bad = RuleFile("vmscaler-acme.web.yml", {"groups": [{"name": "x", "rules": [{"alert": "A", "expr": "rate("}]}]})
    async with editing(lab) as hosts:
        with pytest.raises(Rejected, match=r"refuses .*vmscaler-acme.web.yml: .*parse error") as refused:
            await hosts.put_rules(bad)
        assert refused.value.reason == "CheckFailed"
    assert people_files(lab) == before


async def test_what_amtool_refuses_changes_nothing(lab: Monitoring) -> None:
    before = people_files(lab)
    async with editing(lab) as hosts:
        with pytest.raises(Rejected, match="group_interval") as refused:
            await hosts.put_route(route(hosts, group_interval="0s"))
        assert refused.value.reason == "CheckFailed"
        await lab.faults(amtool="missing")
        with pytest.raises(Rejected, match="cannot be run there") as refused:
            await hosts.put_route(route(hosts))
        assert refused.value.reason == "NotAccessible"
    assert people_files(lab) == before


async def test_alertmanager_refusing_to_load_brings_the_old_bytes_back(lab: Monitoring) -> None:
    # amtool does not look at files that the configuration names; Alertmanager does.
    before, path, effects = people_files(lab), alertmanager_yml(lab), Interrupted()
    async with editing(lab, effects) as hosts:
        with pytest.raises(Retryable, match="no such file") as failed:
            await hosts.put_route(route(hosts, ca_file="/nonexistent/ca.pem"))
        assert failed.value.reason == "ReloadFailed"
    assert {name: content for name, content in people_files(lab).items() if "backup" not in name.name} == before
    assert await loaded_hash(lab) == config_hash(path.read_bytes())
    assert effects.operations[-2:] == ["config.restore", "alertmanager.reload"]


async def test_prometheus_refusing_to_load_brings_all_old_bytes_back(lab: Monitoring) -> None:
    before, effects = people_files(lab), Interrupted()
    bad = RuleFile("vmscaler-acme.web.yml", {"groups": [{"name": "x", "rules": [{"alert": "A", "expr": "rate("}]}]})
    async with editing(lab, effects, prometheus={"checkRulesCommand": ["true"], "checkConfigCommand": ["true"]}) as hosts:
        with pytest.raises(Retryable) as failed:
            await hosts.put_rules(bad)
        assert failed.value.reason == "ReloadFailed"
    assert {name: content for name, content in people_files(lab).items() if "backup" not in name.name} == before
    assert effects.operations[-3:] == ["config.restore", "rules.restore", "prometheus.reload"]
    config = await lab.get(lab.prometheus + "/api/v1/status/config")
    assert "vmscaler" not in config["data"]["yaml"], "the half that it took is gone again"


async def test_a_prometheus_that_may_not_be_reloaded_keeps_its_files(lab: Monitoring) -> None:
    before = people_files(lab)
    await lab.faults(prometheus="noReload")
    async with editing(lab) as hosts:
        with pytest.raises(Rejected, match=r"--web\.enable-lifecycle"):
            await hosts.put_rules(rules())
    assert {name: content for name, content in people_files(lab).items() if "backup" not in name.name} == before


async def test_a_file_that_the_program_does_not_read_is_found_out(lab: Monitoring, tmp_path: Path) -> None:
    # As with a bind mount of a single file: the reload answers 200 and the old content stays loaded.
    elsewhere = tmp_path / "alertmanager.yml"
    elsewhere.write_bytes(
        alertmanager_yml(lab).read_bytes().replace(b"templates/", str(alertmanager_yml(lab).parent).encode() + b"/templates/")
    )
    before = elsewhere.read_bytes()
    async with editing(lab, alertmanager={"configFile": str(elsewhere)}) as hosts:
        with pytest.raises(Rejected, match="it reads another file") as refused:
            await hosts.put_route(route(hosts))
        assert refused.value.reason == "NotAccessible"
    assert elsewhere.read_bytes() == before


# Who else edits


async def test_a_persons_edit_in_between_is_kept_beside_ours(lab: Monitoring) -> None:
    path, effects = alertmanager_yml(lab), Interrupted()
    before = path.read_bytes()
    effects.before["config.backup"] = lambda: path.write_bytes(before + b"# Kim was here\n")
    async with editing(lab, effects) as hosts:
        await hosts.put_route(route(hosts))
        assert effects.operations.count("config.stage") == 2, "started over"
        assert b"# Kim was here\n" in path.read_bytes()
        assert await loaded_hash(lab) == config_hash(path.read_bytes())
        await hosts.remove_route("vmscaler/acme/web")
    assert path.read_bytes() == before + b"# Kim was here\n"


async def test_a_persons_edit_of_prometheus_yml_in_between_is_kept_beside_ours(lab: Monitoring) -> None:
    path, effects = prometheus_yml(lab), Interrupted()
    before = path.read_bytes()
    effects.before["config.backup"] = lambda: path.write_bytes(before + b"# Kim was here\n")
    async with editing(lab, effects) as hosts:
        await hosts.put_rules(rules())
    assert b"vmscaler-instances" in path.read_bytes()
    assert path.read_bytes().endswith(b"# Kim was here\n")
    assert "VmscalerHighCpu" in await rule_alerts(lab)


async def test_a_file_that_never_stays_still_is_left_to_its_writer(lab: Monitoring) -> None:
    path, count = alertmanager_yml(lab), iter(range(100))
    before = path.read_bytes()

    class Restless(Interrupted):
        async def write(self, system: str, operation: str, target: str, call: Any) -> Any:
            if operation == "config.stage":
                path.write_bytes(before + b"# edit %d\n" % next(count))
            return await super().write(system, operation, target, call)

    async with editing(lab, Restless()) as hosts:
        with pytest.raises(Retryable, match="changed by others 5 times") as failed:
            await hosts.put_route(route(hosts))
        assert failed.value.reason == "FileBusy"
    assert path.read_bytes() == before + b"# edit 4\n"


async def test_a_file_that_people_left_broken_is_not_loaded_by_us(lab: Monitoring) -> None:
    path = alertmanager_yml(lab)
    async with editing(lab) as hosts:
        await hosts.put_route(route(hosts))
        broken = path.read_bytes() + b"unknown_section: 1\n"
        path.write_bytes(broken)
        for attempt in (hosts.put_route(route(hosts)), hosts.put_route(route(hosts, "shop"))):
            with pytest.raises(Rejected) as refused:
                await attempt
            assert refused.value.reason == "CheckFailed"
    assert path.read_bytes() == broken


async def test_two_editors_lose_nothing(lab: Monitoring) -> None:
    path = alertmanager_yml(lab)
    before = path.read_bytes()
    async with editing(lab) as one, editing(lab) as other:
        names = [f"p{number}" for number in range(4)]
        await asyncio.gather(*((one, other)[number % 2].put_route(route(one, name)) for number, name in enumerate(names)))
        written = path.read_bytes().decode()
        assert all(written.count(f'"vmscaler/acme/{name}"') == 2 for name in names)
        await asyncio.gather(*((one, other)[number % 2].remove_route(f"vmscaler/acme/{name}") for number, name in enumerate(names)))
    assert path.read_bytes() == before


async def test_a_lock_goes_with_its_connection(lab: Monitoring) -> None:
    path = str(alertmanager_yml(lab).parent / ".vmscaler.lock")
    async with editing(lab) as dying, editing(lab) as next_one:
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
            await asyncio.wait_for(waiting, 15)


# What a crash leaves


async def test_a_kill_before_any_write_of_a_route_leaves_the_old_file_or_the_new(lab: Monitoring) -> None:
    path = alertmanager_yml(lab)
    old = path.read_bytes()
    async with editing(lab) as hosts:
        await hosts.put_route(route(hosts))
    new = path.read_bytes()
    for number in range(10):
        path.write_bytes(old)
        await lab.status_of("POST", lab.record["alertmanager"]["reloadUrl"])
        for backup in path.parent.glob(".*vmscaler-backup*"):
            backup.unlink()
        effects = Interrupted(number)
        async with editing(lab, effects) as hosts:
            try:
                await hosts.put_route(route(hosts))
                break
            except Killed:
                assert path.read_bytes() in (old, new)
        async with editing(lab) as successor:
            await successor.put_route(route(successor))
        assert path.read_bytes() == new
        assert await loaded_hash(lab) == config_hash(new)
    assert number == 4, "stage, backup, replace, reload"


async def test_a_kill_between_the_writes_of_a_rule_is_mended_by_the_next(lab: Monitoring) -> None:
    before = people_files(lab)
    writes = ["rules.stage", "config.stage", "config.backup", "rules.replace", "config.replace", "prometheus.reload"]
    for number in (2, 4, 5):
        await restore(lab, before)
        effects = Interrupted(number)
        async with editing(lab, effects) as hosts:
            with pytest.raises(Killed):
                await hosts.put_rules(rules())
        assert effects.operations == writes[:number]
        async with editing(lab) as successor:
            await successor.put_rules(rules())
        assert "VmscalerHighCpu" in await rule_alerts(lab)


# What stays as it was


async def test_mode_and_owner_stay_and_backups_are_bounded(lab: Monitoring) -> None:
    path = alertmanager_yml(lab)
    before = path.read_bytes()
    path.chmod(0o640)
    try:
        async with editing(lab) as hosts:
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


async def test_a_token_is_readable_to_its_owner_alone(lab: Monitoring) -> None:
    async with editing(lab) as hosts:
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


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/cron.d/x",
        "vmscaler-a/b.yml",
        "*.yml",
        ".hidden.yml",
        "vmscaler-..yml",
        "vmscaler-x.sh",
        "vmscaler-" + "a" * 300 + ".yml",
        "vmscaler-a\n.yml",
    ],
)
async def test_names_that_would_lead_elsewhere_are_refused(lab: Monitoring, name: str) -> None:
    before, effects = people_files(lab), Interrupted()
    async with editing(lab, effects) as hosts:
        attempts = [
            hosts.put_rules(RuleFile(name)),
            hosts.put_targets(TargetFile(name)),
            hosts.remove_rules(name),
            hosts.remove_targets(name),
        ]
        for attempt in (*attempts, hosts.put_token(name, TOKEN), hosts.remove_token(name)):
            with pytest.raises(Rejected, match="no name of a file of ours"):
                await attempt
    assert people_files(lab) == before
    assert effects.calls == []


async def test_a_link_into_another_folder_and_a_missing_folder_are_named(lab: Monitoring, tmp_path: Path) -> None:
    link = tmp_path / "link.yml"
    link.symlink_to(alertmanager_yml(lab))
    async with editing(lab, alertmanager={"configFile": str(link)}) as hosts:
        with pytest.raises(Rejected, match="is a link to"):
            await hosts.put_route(route(hosts))
    async with editing(lab, alertmanager={"tokensDirectory": "/nonexistent/tokens", "configFile": "/nonexistent.yml"}) as hosts:
        with pytest.raises(Rejected, match="install -d"):
            await hosts.put_token("vmscaler-acme.web.token", TOKEN)
        with pytest.raises(Rejected, match=r"/nonexistent\.yml is not there"):
            await hosts.put_route(route(hosts))
    assert link.is_symlink()
