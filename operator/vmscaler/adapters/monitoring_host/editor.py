"""Changing files on one host so that a checker agrees first and everything can be undone. Called by `prometheus_host`, `alertmanager_host`.

    staged = await editor.stage(...)      beside the file, so that relative paths in it resolve
    await editor.checked(...)             the host's own promtool or amtool
    await editor.commit([...])            nobody changed it meanwhile? back up, then rename over
    await editor.undo([...])              the old bytes back (the reload failed)

Every write passes the effects' seam once; the lock file (empty, made by flock) does not.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from vmscaler.adapters.monitoring_host.files import Owner, RemoteFile, RemoteFiles, digest
from vmscaler.api.printable import printable
from vmscaler.decide.splice import StyleNotSupported, YamlFile
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Closed, OutsideError, Rejected
from vmscaler.ports.monitoring import SYSTEM

log = structlog.get_logger()

LOCK = ".vmscaler.lock"
_STAGED, _BACKUP, _BACKUPS = "vmscaler-staged", "vmscaler-backup", 5
_FILE_NAME = re.compile(r"vmscaler-[a-z0-9](?:[a-z0-9_-]|\.(?!\.))*\.(?:yml|json|token)\Z")
_WORDS = 1500  # characters of a checker's output in a message


@dataclass(frozen=True)
class FileChange:
    """One file from `old` to `new` (None: absent). `kind` names the effect: config, rules, targets, token."""

    kind: str
    path: str
    old: RemoteFile | None
    new: bytes | None
    owner: Owner

    @property
    def needed(self) -> bool:
        """Whether anything is to be written."""
        return (self.old.content if self.old else None) != self.new


@dataclass(frozen=True)
class _Edit:
    before: YamlFile
    edit: Callable[[YamlFile], YamlFile]
    after: YamlFile


def safe_name(file_name: str) -> str:
    """The name, if it is one of ours and cannot lead anywhere. Raises Rejected(NotAccessible)."""
    if len(file_name) > 240 or not _FILE_NAME.match(file_name):
        raise Rejected(SYSTEM, "NotAccessible", f"{file_name!r} is no name of a file of ours")
    return file_name


def _hidden(path: str, suffix: str) -> str:
    return posixpath.join(posixpath.dirname(path), f".{posixpath.basename(path)}.{suffix}")


class Editor:
    """For one host. Raises what `Shell` raises, Rejected(CheckFailed) and Rejected(StyleNotSupported)."""

    def __init__(self, files: RemoteFiles, effects: Effects, threads: ThreadPoolExecutor) -> None:
        self.files, self._effects, self._threads = files, effects, threads
        self.name = files.shell.name
        self._last: dict[str, _Edit] = {}
        self._written: dict[str, str] = {}

    async def spliced(self, path: str, content: bytes, edit: Callable[[YamlFile], YamlFile]) -> bytes:
        """The edited content, made in a thread. What was parsed last is kept: a large file costs one parse per edit, not four.

        Raises Rejected(StyleNotSupported), Closed.
        """
        file = YamlFile(content)
        if last := self._last.get(path):
            if content == last.before.content and edit == last.edit:
                return last.after.content
            file = next((known for known in (last.after, last.before) if known.content == content), file)
        try:
            thread = self._threads.submit(edit, file)
        except RuntimeError:  # it was shut down
            raise Closed(SYSTEM, "Closed", f"{self.name}: this client was closed: its Site or Secret has changed", after=1.0) from None
        try:
            edited = await asyncio.wrap_future(thread)
        except StyleNotSupported as error:
            raise Rejected(SYSTEM, "StyleNotSupported", f"{self.name}: {path}: {error}. The file was left as it is") from None
        self._last[path] = _Edit(file, edit, edited)
        return edited.content

    async def stage(self, change: FileChange) -> str:
        """Write the new content beside the file and give its path; one name per file, so a crash leaves at most one."""
        assert change.new is not None
        staged, content = _hidden(change.path, _STAGED), change.new
        await self._write(change, "stage", lambda: self.files.write_new(staged, content, change.owner))
        return staged

    async def checked(self, command: Sequence[str], path: str, shown: str) -> None:
        """Raises Rejected(CheckFailed) with the checker's words; `shown` is what `path` is called in them."""
        done = await self.files.shell.run([*command, path])
        words = done.output.replace(path, shown).strip()
        if done.status in (126, 127):
            raise self.files.shell.not_accessible(f"`{' '.join(command)}` cannot be run there ({words[:200]}): correct the Site's command")
        if done.status != 0:
            raise Rejected(SYSTEM, "CheckFailed", f"{self.name}: `{' '.join(command)}` refuses {shown}: {_last(words)}")

    async def stage_checked(self, change: FileChange, command: Sequence[str]) -> str:
        """Stage and have it checked; what is refused does not stay."""
        staged = await self.stage(change)
        try:
            await self.checked(command, staged, change.path)
        except OutsideError:
            await self.discard(change)
            raise
        return staged

    async def discard(self, change: FileChange) -> None:
        """Remove what was staged, as well as it goes: the next stage would replace it."""
        try:
            await self._write(change, "discard", lambda: self.files.remove(_hidden(change.path, _STAGED)))
        except OutsideError as error:
            log.warning("staged file left behind", host=self.name, path=change.path, error=str(error))

    async def unchanged(self, change: FileChange) -> bool:
        """Whether the file is still what it was: the last look before a rename."""
        now = await self.files.read(change.path)
        return (now.content if now else None) == (change.old.content if change.old else None)

    async def replace(self, change: FileChange) -> None:
        """Rename what was staged over the file, or remove the file."""
        if change.new is None:
            await self._write(change, "remove", lambda: self.files.remove(change.path))
            return
        staged = _hidden(change.path, _STAGED)
        await self._write(change, "replace", lambda: self.files.rename_over(staged, change.path))
        self._written[change.path] = digest(change.new)

    async def write(self, change: FileChange) -> None:
        """Stage and rename as one effect: for files that no checker reads."""
        if change.new is None:
            await self.replace(change)
            return
        staged, content = _hidden(change.path, _STAGED), change.new

        async def both() -> None:
            await self.files.write_new(staged, content, change.owner)
            await self.files.rename_over(staged, change.path)

        await self._write(change, "write", both)

    async def undo(self, change: FileChange) -> None:
        """The old content back, unless somebody has changed the file since."""
        now = await self.files.read(change.path)
        if (now.content if now else None) != change.new:
            log.warning("not put back: somebody changed the file", host=self.name, path=change.path)
            return
        back = replace(change, new=change.old.content if change.old else None)
        staged = _hidden(change.path, _STAGED)

        async def restore() -> None:
            if back.new is None:
                await self.files.remove(change.path)
                return
            await self.files.write_new(staged, back.new, change.owner)
            await self.files.rename_over(staged, change.path)

        await self._write(change, "restore", restore)
        self._written.pop(change.path, None)

    async def back_up(self, change: FileChange) -> None:
        """Keep what people wrote last, five versions of it; a version that we wrote ourselves needs no keeping."""
        old = change.old
        if old is None or self._written.get(change.path) == digest(old.content):
            return
        time = datetime.fromtimestamp(old.modified, UTC).strftime("%Y%m%dT%H%M%SZ")
        folder, begin = posixpath.split(_hidden(change.path, _BACKUP))
        kept = sorted(name for name in await self.files.names(folder) if name.startswith(begin + "-"))
        same_second = [name for name in kept if name.startswith(f"{begin}-{time}-")]
        mark = digest(old.content)[:8]
        if any(name.endswith(f"-{mark}") for name in same_second):
            return
        # SFTP tells whole seconds: versions of one second are numbered, so that the oldest one is the first to go.
        number = int(same_second[-1].split("-")[-2]) + 1 if same_second else 0
        backup = _hidden(change.path, f"{_BACKUP}-{time}-{number:04d}-{mark}")

        async def keep() -> None:
            await self.files.write_new(backup, old.content, old.owner)
            for name in kept[: max(0, len(kept) + 1 - _BACKUPS)]:
                await self.files.remove(posixpath.join(folder, name))

        await self._write(change, "backup", keep)

    async def effect(self, operation: str, target: str, call: Callable[[], Awaitable[None]]) -> None:
        """Any other write on this host (a reload)."""
        await self._effects.write(SYSTEM, operation, f"{self.name}:{target}", call)

    async def _write(self, change: FileChange, verb: str, call: Callable[[], Awaitable[None]]) -> None:
        await self.effect(f"{change.kind}.{verb}", change.path, call)


def _last(words: str) -> str:
    flat = " ".join(printable(words).split())
    return flat if len(flat) <= _WORDS else "..." + flat[-_WORDS:]
