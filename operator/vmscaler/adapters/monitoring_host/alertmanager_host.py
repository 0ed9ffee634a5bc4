"""One Alertmanager and the host of its files: routes and tokens. Called by `hosts`.

An edit of alertmanager.yml: lock -> read -> splice -> amtool on the staged whole -> back up -> compare -> rename -> reload ->
the loaded hash is that of these bytes. Somebody else's edit in between: start over. The reload fails: old bytes, reload again.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Callable
from dataclasses import replace

import structlog

from vmscaler.adapters.monitoring_host.editor import LOCK, Editor, FileChange, safe_name
from vmscaler.adapters.monitoring_host.loading import alertmanager_has, reload
from vmscaler.adapters.monitoring_http import MonitoringHttp
from vmscaler.api.site import AlertmanagerHost
from vmscaler.decide.monitoring_files import with_route, without_route
from vmscaler.decide.routes import receiver_document, route_document
from vmscaler.decide.splice import YamlFile
from vmscaler.ports.errors import OutsideError, Rejected, Retryable
from vmscaler.ports.monitoring import SYSTEM, Route

log = structlog.get_logger()

_ATTEMPTS = 5


class OnAlertmanagerHost:
    """Brings one host to what is wanted. Raises as ports.monitoring.MonitoringHosts says."""

    def __init__(self, host: AlertmanagerHost, editor: Editor, http: MonitoringHttp) -> None:
        self.host, self._editor, self._http = host, editor, http
        self._turn = asyncio.Lock()

    def token_path(self, file_name: str) -> str:
        """As Alertmanager sees it."""
        folder = self.host.mounted_tokens_directory or self.host.tokens_directory
        return posixpath.join(folder, safe_name(file_name))

    async def check(self) -> str:
        """Look at all that an edit will need; the file as it is must pass the checker."""
        files = self._editor.files
        path = await files.config_path(self.host.config_file)
        await files.folder_owner(self.host.tokens_directory)
        await check_writable(self._editor, path, self.host.tokens_directory)
        await self._editor.checked(self.host.check_config_command, path, path)
        return f"{path} passes `{' '.join(self.host.check_config_command)}`"

    async def put_token(self, file_name: str, token: str) -> None:
        """Owned as the folder is, readable to its owner alone; Alertmanager reads it again for each message."""
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise Rejected(SYSTEM, "NotAccessible", "the hook's token holds what no HTTP header may hold: make a new one")
        path = posixpath.join(self.host.tokens_directory, safe_name(file_name))
        owner = replace(await self._editor.files.folder_owner(self.host.tokens_directory), mode=0o600)
        old = await self._editor.files.read(path)
        if old is None or old.content != token.encode() or old.owner != owner:
            await self._editor.write(FileChange("token", path, old, token.encode(), owner))

    async def remove_token(self, file_name: str) -> None:
        """Absent is fine."""
        path = posixpath.join(self.host.tokens_directory, safe_name(file_name))
        old = await self._editor.files.read(path)
        if old is not None:
            await self._editor.replace(FileChange("token", path, old, None, old.owner))

    async def put_route(self, route: Route) -> None:
        """Receiver and route; the token's path is this host's own."""
        receiver = receiver_document(
            route.name,
            url=route.url,
            token_file=route.token_file,
            ca_file=route.ca_file,
        )
        document = route_document(
            route.name,
            matchers=route.matchers,
            group_wait=route.group_wait,
            group_interval=route.group_interval,
            repeat_interval=route.repeat_interval,
        )
        await self._settle(lambda file: with_route(file, receiver, document))

    async def remove_route(self, name: str) -> None:
        """Absent is fine."""
        await self._settle(lambda file: without_route(file, name))

    async def _settle(self, edit: Callable[[YamlFile], YamlFile]) -> None:
        async with self._turn:
            path = await self._editor.files.config_path(self.host.config_file)
            # An Alertmanager that does not answer could not be told to load: then nothing is written either.
            change = await self._change(path, edit)
            if await alertmanager_has(self._http, change.new or b"") and not change.needed:
                return
            async with self._editor.files.shell.locked(posixpath.join(posixpath.dirname(path), LOCK)):
                for _ in range(_ATTEMPTS):
                    if await self._attempt(await self._change(path, edit)):
                        return
        raise Retryable(SYSTEM, "FileBusy", f"{self.host.name}: {path} was changed by others {_ATTEMPTS} times while it was edited")

    async def _change(self, path: str, edit: Callable[[YamlFile], YamlFile]) -> FileChange:
        old = await self._editor.files.read(path)
        if old is None:
            raise self._editor.files.shell.not_accessible(f"{path} is not there")
        return FileChange("config", path, old, await self._editor.spliced(path, old.content, edit), old.owner)

    async def _attempt(self, change: FileChange) -> bool:
        """False: somebody changed the file meanwhile."""
        editor = self._editor
        if change.needed:
            await editor.stage_checked(change, self.host.check_config_command)
            await editor.back_up(change)
            if not await editor.unchanged(change):
                await editor.discard(change)
                return False
            await editor.replace(change)
        else:
            # Not loaded, though on disk: what else is new in the file must be fit to be loaded too.
            await editor.checked(self.host.check_config_command, change.path, change.path)
        try:
            await self._reload(change.path)
            if await alertmanager_has(self._http, change.new or b""):
                return True
        except OutsideError:
            await self._take_back(change)
            raise
        now = await editor.files.read(change.path)
        if now is None or now.content != change.new:
            return False
        await self._take_back(change)
        raise editor.files.shell.not_accessible(
            f"Alertmanager reloaded and still has other content than {change.path}: it reads another file. If it runs in a container, mount the"
            " file's folder: a mount of the single file goes on showing the old content once the file is replaced"
        )

    async def _reload(self, path: str) -> None:
        await self._editor.effect("alertmanager.reload", path, lambda: reload(self._http))

    async def _take_back(self, change: FileChange) -> None:
        if not change.needed:
            return
        try:
            await self._editor.undo(change)
            await self._reload(change.path)
        except OutsideError as error:
            log.warning("after taking back the edit", host=self.host.name, path=change.path, error=str(error))


async def check_writable(editor: Editor, config_file: str, *folders: str) -> None:
    """What an edit needs beside the checkers: a lock program, folders to write into, a file that can be replaced."""
    shell = editor.files.shell
    if (await shell.run(["flock", "--version"])).status != 0:
        raise shell.not_accessible("flock is not there: install util-linux")
    for folder in (posixpath.dirname(config_file), *folders):
        if (await shell.run(["test", "-w", folder])).status != 0:
            raise shell.not_accessible(f"the folder {folder} cannot be written to: give the SSH user the permission")
    if await editor.files.is_mounted(config_file):
        raise shell.not_accessible(f"{config_file} is a mount of a single file and cannot be replaced: mount its folder instead")
