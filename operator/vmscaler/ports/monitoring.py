"""Prometheus, Alertmanager and the hosts that hold their files, as the flows see them (facts/monitoring.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

SYSTEM = "monitoring"


@dataclass(frozen=True)
class FiringAlert:
    """An alert that is not resolved, as Alertmanager's API v2 shows it. `suppressed`: silenced or inhibited."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    fingerprint: str
    suppressed: bool = False


class AlertmanagerApi(Protocol):
    """Alertmanager's HTTP API. Raises Retryable, Untrusted."""

    async def about(self) -> str:
        """Version."""
        ...

    async def firing(self, matchers: Mapping[str, str]) -> list[FiringAlert]:
        """Alerts that are not resolved and whose labels equal these, by their start; silenced and inhibited ones are `suppressed`."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class PrometheusApi(Protocol):
    """Prometheus' HTTP API. Raises Retryable, Untrusted."""

    async def about(self) -> str:
        """Version."""
        ...

    async def finds(self, expression: str) -> bool:
        """Whether the PromQL expression has a value now, on any server."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


@dataclass(frozen=True)
class Route:
    """What a policy owns in alertmanager.yml: one receiver and one route of this name, calling Jenkins' hook."""

    name: str
    """`vmscaler/<namespace>/<policy>`."""
    matchers: Mapping[str, str]
    url: str
    token_file: str
    """As Alertmanager sees it; its content is written by `put_token`."""
    ca_file: str | None
    group_wait: str
    group_interval: str
    repeat_interval: str


@dataclass(frozen=True)
class RuleFile:
    """A Prometheus rule file of one policy: its file name and the document (rendered from data, never pasted)."""

    file_name: str
    document: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class TargetFile:
    """A file_sd file: file name and target groups `[{targets: [...], labels: {...}}]`."""

    file_name: str
    groups: tuple[Mapping[str, object], ...] = ()


class MonitoringHosts(Protocol):
    """All Prometheus and Alertmanager hosts of a site: every call brings each host to the wanted state, or raises.

    Nothing is changed where the host's own checker refuses; a failed reload is rolled back. An already right state is a read only.
    Raises Retryable (unreachable, file changed meanwhile too often, reload failed and rolled back), Untrusted (host key, login),
    Rejected (CheckFailed: promtool or amtool refused, with its words; StyleNotSupported: a file that cannot be spliced, left
    untouched; NotAccessible: path, permission).
    """

    async def check(self) -> dict[str, str]:
        """Log in everywhere, see that files and checkers are there: host name -> what was found. Raises on the first wrong one."""
        ...

    async def put_rules(self, rules: RuleFile) -> None:
        """Write the policy's rule file, and once per host our `rule_files` glob in prometheus.yml; reload; verify it is loaded."""
        ...

    async def remove_rules(self, file_name: str) -> None:
        """Remove the rule file, reload, verify. Absent is fine. The glob stays."""
        ...

    async def put_targets(self, targets: TargetFile) -> None:
        """Write the file_sd file (no reload), and once per host our scrape job in prometheus.yml."""
        ...

    async def remove_targets(self, file_name: str) -> None:
        """Remove the file_sd file. Absent is fine."""
        ...

    async def remove_entries(self, *, keep: Collection[str] = ()) -> None:
        """Take our glob and our scrape job out of prometheus.yml; reload; verify. Absent is fine. The rest stays byte for byte.

        `keep`: names of Prometheus hosts that are left alone, because another Site uses the same file.
        """
        ...

    async def put_token(self, file_name: str, token: str) -> None:
        """Write a token file, mode 0600 as the directory's owner. Never on a command line."""
        ...

    async def remove_token(self, file_name: str) -> None:
        """Remove the token file. Absent is fine."""
        ...

    def token_path(self, file_name: str) -> str:
        """The token file's path as Alertmanager sees it."""
        ...

    async def put_route(self, route: Route) -> None:
        """Receiver and route in alertmanager.yml: placed before broader routes, `continue: true`; check, replace, reload, verify."""
        ...

    async def remove_route(self, name: str) -> None:
        """Remove the route and the receiver of this name. Absent is fine. The rest stays byte for byte."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
