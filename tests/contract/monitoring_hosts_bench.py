"""The port MonitoringHosts on the fake and on the lab's monitoring host, with the same handles on both."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.contract.monitoring_bench import Monitoring
from tests.fakes.effects import DirectEffects
from tests.fakes.policies import policy

from vmscaler.adapters.monitoring_host import SshKey, SshMonitoringHosts
from vmscaler.api.site import AlertmanagerHost, PrometheusHost
from vmscaler.decide import names
from vmscaler.decide.routes import policy_matchers
from vmscaler.decide.rules import rule_document
from vmscaler.ports.effects import Effects
from vmscaler.ports.monitoring import MonitoringHosts, Route, RuleFile

T = TypeVar("T")

SECRET = "monitoring-ssh"
TOKEN = "sample-token-for-tests-only"


def rules(name: str = "web", **monitoring: Any) -> RuleFile:
    """A policy's rule file as the flows make it."""
    return RuleFile(names.rule_file("acme", name), rule_document(policy(name, **monitoring), site_name="default"))


def route(hosts: MonitoringHosts, name: str = "web", **changes: Any) -> Route:
    """A policy's route as the flows make it."""
    wanted: dict[str, Any] = {
        "name": names.receiver("acme", name),
        "matchers": policy_matchers("acme", name, "default"),
        "url": "https://jenkins.example.com/generic-webhook-trigger/invoke",
        "token_file": hosts.token_path(names.token_file("acme", name)),
        "ca_file": None,
        "group_wait": "10s",
        "group_interval": "1m",
        "repeat_interval": "5m",
    }
    return Route(**{**wanted, **changes})


def lab_hosts(lab: Monitoring, effects: Effects, *, ssh: dict[str, Any] | None = None, **changes: Any) -> SshMonitoringHosts:
    """The real adapter; `changes` are fields of both hosts where they have them, `ssh` of the log-in."""
    record = lab.record
    login = {
        "host": record["ssh"]["host"],
        "port": record["ssh"]["port"],
        "user": record["ssh"]["user"],
        "hostKeys": record["ssh"]["hostKeys"],
        "credentialsSecretRef": {"name": SECRET},
        **(ssh or {}),
    }
    prometheus = {
        "name": "prom-1",
        "url": record["prometheus"]["url"],
        "ssh": login,
        "configFile": record["prometheus"]["configFile"],
        "rulesDirectory": record["prometheus"]["rulesDir"],
        "targetsDirectory": record["prometheus"]["targetsDir"],
        "checkConfigCommand": [record["prometheus"]["promtool"], "check", "config"],
        "checkRulesCommand": [record["prometheus"]["promtool"], "check", "rules"],
        **changes.get("prometheus", {}),
    }
    alertmanager = {
        "name": "am-1",
        "url": record["alertmanager"]["url"],
        "ssh": login,
        "configFile": record["alertmanager"]["configFile"],
        "tokensDirectory": record["alertmanager"]["tokensDir"],
        "checkConfigCommand": [record["alertmanager"]["amtool"], "check-config"],
        **changes.get("alertmanager", {}),
    }
    key = changes.get("key") or SshKey(Path(record["ssh"]["privateKeyPath"]).read_text())
    return SshMonitoringHosts(
        [PrometheusHost.model_validate(prometheus)], [AlertmanagerHost.model_validate(alertmanager)], keys={SECRET: key}, effects=effects
    )


class Killed(BaseException):
    """What a kill -9 looks like from inside: nothing is caught, nothing cleaned up."""


class Interrupted(DirectEffects):
    """Calls the hooks in `before` by operation (once each), and dies before the nth write, counted from 0."""

    def __init__(self, die_at: int | None = None) -> None:
        super().__init__()
        self.before: dict[str, Callable[[], object]] = {}
        self._die_at = die_at

    async def write(self, system: str, operation: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        if len(self.calls) == self._die_at:
            raise Killed
        if hook := self.before.pop(operation, None):
            hook()
        return await super().write(system, operation, target, call)

    @property
    def operations(self) -> list[str]:
        """What was written, in order."""
        return [operation for _, operation, _ in self.calls]


def people_files(lab: Monitoring) -> dict[Path, bytes]:
    """Every file of the host's configuration folders, whole; links and staged files too."""
    record = lab.record
    folders = {
        Path(record["prometheus"]["configFile"]).parent,
        Path(record["prometheus"]["rulesDir"]),
        Path(record["prometheus"]["targetsDir"]),
        Path(record["alertmanager"]["configFile"]).parent,
        Path(record["alertmanager"]["tokensDir"]),
    }
    return dict(_files(folders))


def _files(folders: set[Path]) -> Iterator[tuple[Path, bytes]]:
    for folder in sorted(folders):
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.name != ".vmscaler.lock":
                yield path, path.read_bytes()


async def restore(lab: Monitoring, before: dict[Path, bytes]) -> None:
    """Put the host's files back and have both programs load them."""
    now = people_files(lab)
    if now == before:
        return
    for path in now.keys() - before.keys():
        path.unlink()
    for path, content in before.items():
        if now.get(path) != content:
            path.write_bytes(content)
    await asyncio.gather(*(lab.status_of("POST", lab.record[name]["reloadUrl"]) for name in ("prometheus", "alertmanager")))


@contextlib.asynccontextmanager
async def editing(lab: Monitoring, effects: Interrupted | None = None, **changes: Any) -> AsyncIterator[SshMonitoringHosts]:
    """`lab_hosts`, closed at the end."""
    hosts = lab_hosts(lab, effects or Interrupted(), **changes)
    try:
        yield hosts
    finally:
        await hosts.close()


def alertmanager_yml(lab: Monitoring) -> Path:
    return Path(lab.record["alertmanager"]["configFile"])


async def loaded_hash(lab: Monitoring) -> int:
    """What Alertmanager says of the configuration that it has loaded."""
    async with lab.session.get(lab.alertmanager + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("alertmanager_config_hash "))))
