"""Who is at the other end, and who says no: host key, log-in, promtool, amtool, the reload, a path. People's files stay as they were."""

from __future__ import annotations

import contextlib
from pathlib import Path

import asyncssh
import pytest
from tests.contract.monitoring_bench import Monitoring
from tests.contract.monitoring_hosts_bench import (
    TOKEN,
    Interrupted,
    alertmanager_yml,
    editing,
    loaded_hash,
    people_files,
    route,
    rules,
)

from vmscaler.adapters.monitoring_host import SshKey
from vmscaler.adapters.monitoring_host.loading import config_hash
from vmscaler.ports.errors import Rejected, Retryable, Untrusted
from vmscaler.ports.monitoring import RuleFile, TargetFile

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]


async def test_another_host_key_is_untrusted_and_nothing_is_sent_or_written(monitoring_host: Monitoring) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    before, effects = people_files(monitoring_host), Interrupted()
    async with editing(monitoring_host, effects, ssh={"hostKeys": [other]}) as hosts:
        for attempt in (hosts.check(), hosts.put_route(route(hosts)), hosts.put_token("vmscaler-acme.web.token", TOKEN)):
            with pytest.raises(Untrusted, match=r"none of ssh\.hostKeys.*ssh-keyscan -p") as refused:
                await attempt
            assert refused.value.reason == "HostKeyChanged"
    assert people_files(monitoring_host) == before
    assert effects.calls == []


async def test_a_host_key_of_another_kind_is_untrusted_too(monitoring_host: Monitoring) -> None:
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode().strip()
    async with editing(monitoring_host, ssh={"hostKeys": [other]}) as hosts:
        with pytest.raises(Untrusted) as refused:
            await hosts.check()
        assert refused.value.reason == "HostKeyChanged"


async def test_a_host_key_that_changes_while_we_are_connected_is_found_at_the_next_log_in(monitoring_host: Monitoring) -> None:
    async with editing(monitoring_host) as hosts:
        await hosts.check()
        await monitoring_host.faults(sshd="hostKeyChanged")
        before = people_files(monitoring_host)
        with contextlib.suppress(Retryable):  # it may have to notice its lost connection first
            await hosts.put_route(route(hosts))
        with pytest.raises(Untrusted):
            await hosts.put_route(route(hosts))
        assert people_files(monitoring_host) == before
        await monitoring_host.faults()
        await hosts.put_route(route(hosts))


async def test_a_key_that_the_host_does_not_know_is_untrusted(monitoring_host: Monitoring) -> None:
    stranger = SshKey(asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())
    async with editing(monitoring_host, key=stranger) as hosts:
        with pytest.raises(Untrusted, match="authorized_keys") as refused:
            await hosts.check()
        assert refused.value.reason == "LoginRefused"
    async with editing(monitoring_host, key=SshKey("no key at all")) as hosts:
        with pytest.raises(Untrusted, match="monitoring-ssh") as refused:
            await hosts.check()
    assert "no key at all" not in repr(SshKey("no key at all"))


@pytest.mark.parametrize("fault", [{"sshd": "down"}, {"alertmanager": "down"}])
async def test_what_does_not_answer_is_retryable_and_nothing_is_written(monitoring_host: Monitoring, fault: dict[str, str]) -> None:
    before, effects = people_files(monitoring_host), Interrupted()
    async with editing(monitoring_host, effects) as hosts:
        await monitoring_host.faults(**fault)
        with pytest.raises(Retryable) as failed:
            await hosts.put_route(route(hosts))
        assert failed.value.reason == "Unreachable"
        assert people_files(monitoring_host) == before
        assert effects.calls == []
        await monitoring_host.faults()
        await hosts.put_route(route(hosts))  # the same object connects anew


async def test_what_promtool_refuses_changes_nothing(monitoring_host: Monitoring) -> None:
    before = people_files(monitoring_host)
    bad = RuleFile("vmscaler-acme.web.yml", {"groups": [{"name": "x", "rules": [{"alert": "A", "expr": "rate("}]}]})
    async with editing(monitoring_host) as hosts:
        with pytest.raises(Rejected, match=r"refuses .*vmscaler-acme.web.yml: .*parse error") as refused:
            await hosts.put_rules(bad)
        assert refused.value.reason == "CheckFailed"
    assert people_files(monitoring_host) == before


async def test_what_amtool_refuses_changes_nothing(monitoring_host: Monitoring) -> None:
    before = people_files(monitoring_host)
    async with editing(monitoring_host) as hosts:
        with pytest.raises(Rejected, match="group_interval") as refused:
            await hosts.put_route(route(hosts, group_interval="0s"))
        assert refused.value.reason == "CheckFailed"
        await monitoring_host.faults(amtool="missing")
        with pytest.raises(Rejected, match="cannot be run there") as refused:
            await hosts.put_route(route(hosts))
        assert refused.value.reason == "NotAccessible"
    assert people_files(monitoring_host) == before


async def test_alertmanager_refusing_to_load_brings_the_old_bytes_back(monitoring_host: Monitoring) -> None:
    # amtool does not look at files that the configuration names; Alertmanager does.
    before, path, effects = people_files(monitoring_host), alertmanager_yml(monitoring_host), Interrupted()
    async with editing(monitoring_host, effects) as hosts:
        with pytest.raises(Retryable, match="no such file") as failed:
            await hosts.put_route(route(hosts, ca_file="/nonexistent/ca.pem"))
        assert failed.value.reason == "ReloadFailed"
    assert {name: content for name, content in people_files(monitoring_host).items() if "backup" not in name.name} == before
    assert await loaded_hash(monitoring_host) == config_hash(path.read_bytes())
    assert effects.operations[-2:] == ["config.restore", "alertmanager.reload"]


async def test_prometheus_refusing_to_load_brings_all_old_bytes_back(monitoring_host: Monitoring) -> None:
    before, effects = people_files(monitoring_host), Interrupted()
    bad = RuleFile("vmscaler-acme.web.yml", {"groups": [{"name": "x", "rules": [{"alert": "A", "expr": "rate("}]}]})
    async with editing(monitoring_host, effects, prometheus={"checkRulesCommand": ["true"], "checkConfigCommand": ["true"]}) as hosts:
        with pytest.raises(Retryable) as failed:
            await hosts.put_rules(bad)
        assert failed.value.reason == "ReloadFailed"
    assert {name: content for name, content in people_files(monitoring_host).items() if "backup" not in name.name} == before
    assert effects.operations[-3:] == ["config.restore", "rules.restore", "prometheus.reload"]
    config = await monitoring_host.get(monitoring_host.prometheus + "/api/v1/status/config")
    assert "vmscaler" not in config["data"]["yaml"], "the half that it took is gone again"


async def test_a_prometheus_that_may_not_be_reloaded_keeps_its_files(monitoring_host: Monitoring) -> None:
    before = people_files(monitoring_host)
    await monitoring_host.faults(prometheus="noReload")
    async with editing(monitoring_host) as hosts:
        with pytest.raises(Rejected, match=r"--web\.enable-lifecycle"):
            await hosts.put_rules(rules())
    assert {name: content for name, content in people_files(monitoring_host).items() if "backup" not in name.name} == before


async def test_a_file_that_the_program_does_not_read_is_found_out(monitoring_host: Monitoring, tmp_path: Path) -> None:
    # As with a bind mount of a single file: the reload answers 200 and the old content stays loaded.
    elsewhere = tmp_path / "alertmanager.yml"
    elsewhere.write_bytes(
        alertmanager_yml(monitoring_host)
        .read_bytes()
        .replace(b"templates/", str(alertmanager_yml(monitoring_host).parent).encode() + b"/templates/")
    )
    before = elsewhere.read_bytes()
    async with editing(monitoring_host, alertmanager={"configFile": str(elsewhere)}) as hosts:
        with pytest.raises(Rejected, match="it reads another file") as refused:
            await hosts.put_route(route(hosts))
        assert refused.value.reason == "NotAccessible"
    assert elsewhere.read_bytes() == before


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
async def test_names_that_would_lead_elsewhere_are_refused(monitoring_host: Monitoring, name: str) -> None:
    before, effects = people_files(monitoring_host), Interrupted()
    async with editing(monitoring_host, effects) as hosts:
        attempts = [
            hosts.put_rules(RuleFile(name)),
            hosts.put_targets(TargetFile(name)),
            hosts.remove_rules(name),
            hosts.remove_targets(name),
        ]
        for attempt in (*attempts, hosts.put_token(name, TOKEN), hosts.remove_token(name)):
            with pytest.raises(Rejected, match="no name of a file of ours"):
                await attempt
    assert people_files(monitoring_host) == before
    assert effects.calls == []


async def test_a_link_into_another_folder_and_a_missing_folder_are_named(monitoring_host: Monitoring, tmp_path: Path) -> None:
    link = tmp_path / "link.yml"
    link.symlink_to(alertmanager_yml(monitoring_host))
    async with editing(monitoring_host, alertmanager={"configFile": str(link)}) as hosts:
        with pytest.raises(Rejected, match="is a link to"):
            await hosts.put_route(route(hosts))
    async with editing(monitoring_host, alertmanager={"tokensDirectory": "/nonexistent/tokens", "configFile": "/nonexistent.yml"}) as hosts:
        with pytest.raises(Rejected, match="install -d"):
            await hosts.put_token("vmscaler-acme.web.token", TOKEN)
        with pytest.raises(Rejected, match=r"/nonexistent\.yml is not there"):
            await hosts.put_route(route(hosts))
    assert link.is_symlink()
