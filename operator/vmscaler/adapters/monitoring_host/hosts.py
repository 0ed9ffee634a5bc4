"""All Prometheus and Alertmanager hosts of a site behind one client. Made by adapters/systems.py."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Awaitable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from vmscaler.adapters.monitoring_host.alertmanager_host import OnAlertmanagerHost
from vmscaler.adapters.monitoring_host.editor import Editor
from vmscaler.adapters.monitoring_host.files import RemoteFiles
from vmscaler.adapters.monitoring_host.prometheus_host import OnPrometheusHost
from vmscaler.adapters.monitoring_host.shell import Shell, SshKey
from vmscaler.adapters.monitoring_http import Endpoint, MonitoringHttp
from vmscaler.api.monitoringhosts import AlertmanagerHost, MonitoringHost, PrometheusHost, Ssh
from vmscaler.ports.effects import Effects
from vmscaler.ports.monitoring import Route, RuleFile, TargetFile

T = TypeVar("T")


class SshMonitoringHosts:
    """Implements ports.monitoring.MonitoringHosts. Hosts are worked on side by side; the first one's error is raised at the end."""

    def __init__(
        self,
        prometheus: Sequence[PrometheusHost],
        alertmanager: Sequence[AlertmanagerHost],
        *,
        keys: Mapping[str, SshKey],
        effects: Effects,
        timeout: float = 20.0,
    ) -> None:
        """`keys` by the name of the Secret that a host's `ssh` refers to; `timeout` in seconds, for each call to a host."""
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="monitoring-yaml")
        self._shells: list[Shell] = []
        self._https: list[MonitoringHttp] = []

        def editor(name: str, ssh: Ssh) -> Editor:
            shell = Shell(name, ssh, keys[ssh.credentials_secret_ref.name], timeout=timeout)
            self._shells.append(shell)
            return Editor(RemoteFiles(shell), effects, self._threads)

        def http(host: MonitoringHost) -> MonitoringHttp:
            # A reload of a large configuration takes seconds.
            client = MonitoringHttp(Endpoint(host.name, host.url, host.ca_bundle), timeout=max(timeout, 60.0))
            self._https.append(client)
            return client

        self._prometheus = [OnPrometheusHost(one, editor(one.name, one.ssh), http(one)) for one in prometheus]
        self._alertmanager = [OnAlertmanagerHost(one, editor(one.name, one.ssh), http(one)) for one in alertmanager]

    async def check(self) -> dict[str, str]:
        """`prometheus/<host>` and `alertmanager/<host>` -> what was found."""
        hosts: dict[str, OnPrometheusHost | OnAlertmanagerHost] = {
            **{f"prometheus/{one.host.name}": one for one in self._prometheus},
            **{f"alertmanager/{one.host.name}": one for one in self._alertmanager},
        }
        return dict(zip(hosts, await _each([host.check() for host in hosts.values()]), strict=True))

    async def put_rules(self, rules: RuleFile) -> None:
        """See the port."""
        await _each([host.put_rules(rules) for host in self._prometheus])

    async def remove_rules(self, file_name: str) -> None:
        """See the port."""
        await _each([host.remove_rules(file_name) for host in self._prometheus])

    async def put_targets(self, targets: TargetFile) -> None:
        """See the port."""
        await _each([host.put_targets(targets) for host in self._prometheus])

    async def remove_targets(self, file_name: str) -> None:
        """See the port."""
        await _each([host.remove_targets(file_name) for host in self._prometheus])

    async def remove_entries(self, *, keep: Collection[str] = ()) -> None:
        """See the port."""
        await _each([host.remove_entries() for host in self._prometheus if host.host.name not in keep])

    async def put_token(self, file_name: str, token: str) -> None:
        """See the port."""
        await _each([host.put_token(file_name, token) for host in self._alertmanager])

    async def remove_token(self, file_name: str) -> None:
        """See the port."""
        await _each([host.remove_token(file_name) for host in self._alertmanager])

    def token_path(self, file_name: str) -> str:
        """On the first host; `put_route` puts another host's own folder in its place there."""
        return self._alertmanager[0].token_path(file_name)

    async def put_route(self, route: Route) -> None:
        """See the port."""
        name = posixpath.basename(route.token_file)
        common = route.token_file == self.token_path(name)
        await _each([host.put_route(replace(route, token_file=host.token_path(name)) if common else route) for host in self._alertmanager])

    async def remove_route(self, name: str) -> None:
        """See the port."""
        await _each([host.remove_route(name) for host in self._alertmanager])

    async def close(self) -> None:
        """Close connections; later calls raise Closed."""
        await asyncio.gather(*(shell.close() for shell in self._shells), *(http.close() for http in self._https))
        # What waits for a thread gets one: cancelled, it would look as if its caller had been.
        self._threads.shutdown(wait=False)


async def _each(calls: Sequence[Awaitable[T]]) -> list[T]:
    """All of them to their end, so that a dead host of a pair keeps no other from being right."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]
