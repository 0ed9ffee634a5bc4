"""One Prometheus and the host of its files: rules, targets, and our two entries in prometheus.yml. Called by `hosts`.

An edit: lock -> read -> promtool on the staged rule file and on the staged whole prometheus.yml -> back up -> compare -> rename ->
reload -> rules and scrape pool are there. A bad rule file makes a reload fail half done (facts/monitoring.md, "Prometheus"), so
after a failure the old files go back and Prometheus reloads again.
"""

from __future__ import annotations

import asyncio
import json
import posixpath
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog

from vmscaler.adapters.monitoring_host.alertmanager_host import check_writable
from vmscaler.adapters.monitoring_host.editor import LOCK, Editor, FileChange, safe_name
from vmscaler.adapters.monitoring_host.loading import has_entries, has_no_entries, has_rules, last_reload, reload
from vmscaler.adapters.monitoring_http import MonitoringHttp
from vmscaler.api.site import PrometheusHost
from vmscaler.decide.monitoring_files import SCRAPE_JOB, with_entries, without_entries
from vmscaler.decide.splice import MARKER, YamlFile
from vmscaler.decide.yaml_text import text
from vmscaler.ports.errors import OutsideError, Retryable
from vmscaler.ports.monitoring import SYSTEM, RuleFile, TargetFile

log = structlog.get_logger()

_ATTEMPTS = 5
_LOOKS, _BETWEEN_LOOKS = 50, 0.2  # seconds: 10 s after a reload that answered 200
_READABLE = 0o644

Loaded = Callable[[], Awaitable[bool]]
Edit = Callable[[YamlFile], YamlFile]


class OnPrometheusHost:
    """Brings one host to what is wanted. Raises as ports.monitoring.MonitoringHosts says."""

    def __init__(self, host: PrometheusHost, editor: Editor, http: MonitoringHttp) -> None:
        self.host, self._editor, self._http = host, editor, http
        self._turn = asyncio.Lock()

    async def check(self) -> str:
        """Look at all that an edit will need; the file as it is must pass the checker."""
        files = self._editor.files
        path = await files.config_path(self.host.config_file)
        folders = (self.host.rules_directory, self.host.targets_directory)
        for folder in folders:
            await files.folder_owner(folder)
        await check_writable(self._editor, path, *folders)
        await self._editor.checked(self.host.check_config_command, path, path)
        return f"{path} passes `{' '.join(self.host.check_config_command)}`"

    async def put_rules(self, rules: RuleFile) -> None:
        """The rule file, and our entries in prometheus.yml; loaded when this returns."""
        name, document = safe_name(rules.file_name), dict(rules.document)
        content = f"{MARKER}\n{text(document)}".encode()
        await self._settle(self._rules(name), content, self._has(name, document), self._entries)

    async def remove_rules(self, file_name: str) -> None:
        """The rule file goes; our entries stay."""
        name = safe_name(file_name)
        await self._settle(self._rules(name), None, self._has(name, None), _as_it_is)

    async def put_targets(self, targets: TargetFile) -> None:
        """The file_sd file (Prometheus sees it without a reload), and our entries in prometheus.yml."""
        path = posixpath.join(self.host.targets_directory, safe_name(targets.file_name))
        content = (json.dumps(list(targets.groups), indent=2, sort_keys=True) + "\n").encode()
        owner = replace(await self._editor.files.folder_owner(self.host.targets_directory), mode=_READABLE)
        old = await self._editor.files.read(path)
        if old is None or old.content != content or old.owner != owner:
            await self._editor.write(FileChange("targets", path, old, content, owner))
        await self._settle(None, None, self._has_entries, self._entries)

    async def remove_targets(self, file_name: str) -> None:
        """The file_sd file goes; its targets with it, without a reload."""
        path = posixpath.join(self.host.targets_directory, safe_name(file_name))
        old = await self._editor.files.read(path)
        if old is not None:
            await self._editor.replace(FileChange("targets", path, old, None, old.owner))

    async def remove_entries(self) -> None:
        """Our entries in prometheus.yml go."""
        await self._settle(None, None, self._has_no_entries, self._no_entries)

    def _rules(self, file_name: str) -> str:
        return posixpath.join(self.host.rules_directory, file_name)

    def _has(self, file_name: str, document: Mapping[str, Any] | None) -> Loaded:
        async def loaded() -> bool:
            if not await has_rules(self._http, file_name, document):
                return False
            return document is None or await self._has_entries()

        return loaded

    async def _has_entries(self) -> bool:
        return await has_entries(self._http, SCRAPE_JOB, *self._globs)

    async def _has_no_entries(self) -> bool:
        return await has_no_entries(self._http, SCRAPE_JOB, *self._globs)

    def _entries(self, file: YamlFile) -> YamlFile:
        return with_entries(file, *self._globs)

    def _no_entries(self, file: YamlFile) -> YamlFile:
        return without_entries(file, self._globs[0])

    @property
    def _globs(self) -> tuple[str, str]:
        """Our rule files and our target files, as Prometheus sees them."""
        rules = self.host.mounted_rules_directory or self.host.rules_directory
        targets = self.host.mounted_targets_directory or self.host.targets_directory
        return posixpath.join(rules, "vmscaler-*.yml"), posixpath.join(targets, "vmscaler-*.json")

    async def _settle(self, rules: str | None, content: bytes | None, loaded: Loaded, edit: Edit) -> None:
        async with self._turn:
            path = await self._editor.files.config_path(self.host.config_file)
            # A Prometheus that does not answer could not be told to load: then nothing is written either.
            is_loaded = await loaded()
            if is_loaded and not any(one.needed for one in await self._changes(path, rules, content, edit)):
                return
            async with self._editor.files.shell.locked(posixpath.join(posixpath.dirname(path), LOCK)):
                for _ in range(_ATTEMPTS):
                    if await self._attempt(await self._changes(path, rules, content, edit), loaded):
                        return
        raise Retryable(SYSTEM, "FileBusy", f"{self.host.name}: {path} was changed by others {_ATTEMPTS} times while it was edited")

    async def _changes(self, path: str, rules: str | None, content: bytes | None, edit: Edit) -> list[FileChange]:
        """The rule file (if one is meant) and prometheus.yml, whether or not they need to change."""
        files, changes = self._editor.files, []
        if rules is not None:
            old = await files.read(rules)
            owner = replace(await files.folder_owner(self.host.rules_directory), mode=_READABLE)
            changes.append(FileChange("rules", rules, old, content, owner))
        config = await files.read(path)
        if config is None:
            raise files.shell.not_accessible(f"{path} is not there")
        new = await self._editor.spliced(path, config.content, edit)
        return [*changes, FileChange("config", path, config, new, config.owner)]

    async def _attempt(self, changes: list[FileChange], loaded: Loaded) -> bool:
        """False: somebody changed prometheus.yml meanwhile."""
        editor, config = self._editor, changes[-1]
        needed = [change for change in changes if change.needed]
        staged: list[FileChange] = []
        try:
            for change in needed:
                if change.new is not None:
                    command = self.host.check_config_command if change is config else self.host.check_rules_command
                    await editor.stage_checked(change, command)
                    staged.append(change)
            if not config.needed:
                # The reload takes the whole file, with whatever people have left in it.
                await editor.checked(self.host.check_config_command, config.path, config.path)
            else:
                await editor.back_up(config)
        except OutsideError:
            await self._discard(staged)
            raise
        if not await editor.unchanged(config):
            await self._discard(staged)
            return False
        done: list[FileChange] = []
        try:
            for change in needed:
                if change is config and done and not await editor.unchanged(config):
                    # The rule file's rename took a moment: somebody's edit in it would be lost with no backup of it.
                    await self._discard([config])
                    await editor.undo(done.pop())
                    return False
                await editor.replace(change)
                done.append(change)
            if await self._reloaded(config.path, loaded):
                return True
        except OutsideError:
            await self._discard([change for change in staged if change not in done])
            await self._take_back(done, config.path)
            raise
        now = await editor.files.read(config.path)
        if now is None or now.content != config.new:
            return False
        await self._take_back(done, config.path)
        raise editor.files.shell.not_accessible(
            f"Prometheus reloaded and still has not what {', '.join(one.path for one in changes)} say: it reads other files. If it runs in a"
            " container, mount folders, not single files, and give mountedRulesDirectory and mountedTargetsDirectory"
        )

    async def _reloaded(self, path: str, loaded: Loaded) -> bool:
        """Reload, and see it: successful, at another time (an earlier one, where the host's clock was set back), and what was wanted is there."""
        _, before = await last_reload(self._http)
        await self._reload(path)
        successful, after = await last_reload(self._http)
        if not successful or after == before:
            return False
        for _ in range(_LOOKS):
            if await loaded():
                return True
            await asyncio.sleep(_BETWEEN_LOOKS)
        return False

    async def _reload(self, path: str) -> None:
        await self._editor.effect("prometheus.reload", path, lambda: reload(self._http))

    async def _discard(self, staged: list[FileChange]) -> None:
        for change in staged:
            await self._editor.discard(change)

    async def _take_back(self, done: list[FileChange], path: str) -> None:
        if not done:
            return
        try:
            for change in reversed(done):
                await self._editor.undo(change)
            await self._reload(path)
        except OutsideError as error:
            log.warning("after taking back the edit", host=self.host.name, path=path, error=str(error))


def _as_it_is(file: YamlFile) -> YamlFile:
    return file
