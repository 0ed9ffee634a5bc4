"""One host with Prometheus' and Alertmanager's files, in memory: the files' bytes are real, edited by the product's own splicing.

What is "loaded" is kept apart from what is on disk, as in life. Faults: `down`, `untrusted`, `check_refuses` (the checker's words),
`reload_refuses` (the program's words; the old bytes come back).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from tests.fakes.effects import DirectEffects

from vmscaler.decide.monitoring_files import with_entries, with_route, without_entries, without_route
from vmscaler.decide.routes import receiver_document, route_document
from vmscaler.decide.splice import MARKER, StyleNotSupported, YamlFile
from vmscaler.decide.yaml_text import text
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Rejected, Retryable, Untrusted
from vmscaler.ports.monitoring import SYSTEM, Route, RuleFile, TargetFile

PROMETHEUS_YML, ALERTMANAGER_YML = "/etc/prometheus/prometheus.yml", "/etc/alertmanager/alertmanager.yml"
RULES, TARGETS, TOKENS = "/etc/prometheus/vmscaler/rules", "/etc/prometheus/vmscaler/targets", "/etc/alertmanager/vmscaler/tokens"
RULES_GLOB = f"{RULES}/vmscaler-*.yml"

_PROMETHEUS = b"global:\n  scrape_interval: 15s\n\nscrape_configs:\n  # ours by hand\n  - job_name: acme-web\n"
_ALERTMANAGER = b"route:\n  receiver: ops  # default\n  routes:\n    - receiver: ops\nreceivers:\n  - name: ops\n"


@dataclass
class FakeMonitoringHosts:
    """Implements ports.monitoring.MonitoringHosts. `files`: path -> bytes; `loaded`: the same, as the programs have them."""

    effects: Effects = field(default_factory=DirectEffects)
    files: dict[str, bytes] = field(default_factory=lambda: {PROMETHEUS_YML: _PROMETHEUS, ALERTMANAGER_YML: _ALERTMANAGER})
    down: bool = False
    untrusted: bool = False
    check_refuses: str | None = None
    reload_refuses: str | None = None
    closed: bool = False
    host: str = "fake"

    def __post_init__(self) -> None:
        self.loaded = dict(self.files)

    async def check(self) -> dict[str, str]:
        """Host name -> what was found."""
        self._reached()
        self._checked("prometheus.yml")
        return {"prometheus/fake": "fake", "alertmanager/fake": "fake"}

    async def put_rules(self, rules: RuleFile) -> None:
        """See the port."""
        content = f"{MARKER}\n{text(dict(rules.document))}".encode()
        await self._put("rules", {f"{RULES}/{rules.file_name}": content, PROMETHEUS_YML: self._entries()})

    async def remove_rules(self, file_name: str) -> None:
        """See the port."""
        await self._put("rules", {f"{RULES}/{file_name}": None})

    async def put_targets(self, targets: TargetFile) -> None:
        """See the port."""
        content = (json.dumps(list(targets.groups), indent=2, sort_keys=True) + "\n").encode()
        await self._put("targets", {f"{TARGETS}/{targets.file_name}": content, PROMETHEUS_YML: self._entries()})

    async def remove_targets(self, file_name: str) -> None:
        """See the port."""
        await self._put("targets", {f"{TARGETS}/{file_name}": None})

    async def remove_entries(self, *, keep: Collection[str] = ()) -> None:
        """See the port."""
        if self.host not in keep:
            await self._put("config", {PROMETHEUS_YML: self._spliced(PROMETHEUS_YML, lambda file: without_entries(file, RULES_GLOB))})

    async def put_token(self, file_name: str, token: str) -> None:
        """See the port."""
        await self._put("token", {f"{TOKENS}/{file_name}": token.encode()})

    async def remove_token(self, file_name: str) -> None:
        """See the port."""
        await self._put("token", {f"{TOKENS}/{file_name}": None})

    def token_path(self, file_name: str) -> str:
        """As Alertmanager sees it."""
        return f"{TOKENS}/{file_name}"

    async def put_route(self, route: Route) -> None:
        """See the port."""
        receiver = receiver_document(route.name, url=route.url, token_file=route.token_file, ca_file=route.ca_file)
        document = route_document(
            route.name,
            matchers=route.matchers,
            group_wait=route.group_wait,
            group_interval=route.group_interval,
            repeat_interval=route.repeat_interval,
        )
        await self._put("config", {ALERTMANAGER_YML: self._spliced(ALERTMANAGER_YML, lambda file: with_route(file, receiver, document))})

    async def remove_route(self, name: str) -> None:
        """See the port."""
        await self._put("config", {ALERTMANAGER_YML: self._spliced(ALERTMANAGER_YML, lambda file: without_route(file, name))})

    async def close(self) -> None:
        """Remembered."""
        self.closed = True

    def person_edits(self, path: str, line: str) -> None:
        """Somebody appends a line; nothing is reloaded."""
        self.files[path] += line.encode() + b"\n"

    def _entries(self) -> bytes:
        return self._spliced(PROMETHEUS_YML, lambda file: with_entries(file, RULES_GLOB, f"{TARGETS}/vmscaler-*.json"))

    def _spliced(self, path: str, edit: Callable[[YamlFile], YamlFile]) -> bytes:
        try:
            return edit(YamlFile(self.files[path])).content
        except StyleNotSupported as error:
            raise Rejected(SYSTEM, "StyleNotSupported", f"{path}: {error}") from None

    async def _put(self, kind: str, wanted: dict[str, bytes | None]) -> None:
        self._reached()
        before = dict(self.files)
        changed = {path: content for path, content in wanted.items() if self.files.get(path) != content}
        if not changed and all(self.loaded.get(path) == content for path, content in wanted.items()):
            return
        reloads = kind not in ("token", "targets") or PROMETHEUS_YML in changed
        if reloads:
            self._checked(", ".join(wanted))
        for path, content in changed.items():
            await self.effects.write(
                SYSTEM, f"{kind}.{'remove' if content is None else 'replace'}", path, lambda p=path, c=content: self._set(p, c)
            )  # type: ignore[misc]
        if reloads and self.reload_refuses is not None:
            self.files = before
            raise Retryable(SYSTEM, "ReloadFailed", self.reload_refuses)
        self.loaded = dict(self.files)

    async def _set(self, path: str, content: bytes | None) -> None:
        if content is None:
            self.files.pop(path, None)
        else:
            self.files[path] = content

    def _reached(self) -> None:
        if self.untrusted:
            raise Untrusted(SYSTEM, "HostKeyChanged", "fake shows another host key")
        if self.down:
            raise Retryable(SYSTEM, "Unreachable", "fake cannot be reached")

    def _checked(self, what: str) -> None:
        if self.check_refuses is not None:
            raise Rejected(SYSTEM, "CheckFailed", f"{what}: {self.check_refuses}")
