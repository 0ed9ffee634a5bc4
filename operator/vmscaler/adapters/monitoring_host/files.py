"""Files on a host by SFTP: read whole, written beside and renamed over, removed. Called by `editor` only for writes.

A file is never written in place: a reader, or a crash, finds the old content or the new.
"""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import stat
from dataclasses import dataclass

import asyncssh

from vmscaler.adapters.monitoring_host.shell import Shell
from vmscaler.decide.yaml_nodes import MAX_BYTES
from vmscaler.ports.errors import Rejected
from vmscaler.ports.monitoring import SYSTEM


@dataclass(frozen=True)
class Owner:
    """Mode bits and owner that a file has, or shall have."""

    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class RemoteFile:
    """A file as it was read. `modified` in seconds since the epoch, by the host's clock."""

    content: bytes
    owner: Owner
    modified: int


def digest(content: bytes) -> str:
    """MD5, which names a version here and guards nothing."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class RemoteFiles:
    """Raises what `Shell` raises; Rejected(NotAccessible) names the path and what to do."""

    def __init__(self, shell: Shell) -> None:
        self.shell = shell

    async def read(self, path: str) -> RemoteFile | None:
        """The file, or None where it is not there. Raises Rejected(StyleNotSupported) for one larger than 4 MiB."""
        async with self.shell.sftp(path) as sftp:
            try:
                async with sftp.open(path, "rb") as file:
                    attributes = await file.stat()
                    content = bytes(await file.read(MAX_BYTES + 1))  # type: ignore[arg-type]  # opened in binary
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                return None
        if len(content) > MAX_BYTES:
            raise Rejected(
                SYSTEM, "StyleNotSupported", f"{self.shell.name}: {path} is larger than {MAX_BYTES} bytes: too large to be edited"
            )
        return RemoteFile(content, _owner(attributes), attributes.mtime or 0)

    async def config_path(self, path: str) -> str:
        """Where the configuration file really is. A link into another folder is refused: relative paths in it would change."""
        async with self.shell.sftp(path) as sftp:
            attributes = await sftp.lstat(path)
            if not stat.S_ISLNK(attributes.permissions or 0):
                return path
            real = await sftp.realpath(path)
            folder = await sftp.realpath(posixpath.dirname(path))
        if posixpath.dirname(str(real)) != str(folder):
            raise self.shell.not_accessible(f"{path} is a link to {real}: give the file itself as configFile")
        return str(real)

    async def folder_owner(self, path: str) -> Owner:
        """Who owns a folder. Raises Rejected(NotAccessible) with the command that makes it."""
        async with self.shell.sftp(path) as sftp:
            try:
                attributes = await sftp.stat(path)
            except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                raise self.shell.not_accessible(
                    f"the folder {path} is not there: make it on the host, `install -d -o <the program's user> -m 0750 {path}`"
                ) from None
        if not stat.S_ISDIR(attributes.permissions or 0):
            raise self.shell.not_accessible(f"{path} is no folder")
        return _owner(attributes)

    async def names(self, folder: str) -> list[str]:
        """What is in a folder."""
        async with self.shell.sftp(folder) as sftp:
            return sorted(str(name) for name in await sftp.listdir(folder) if name not in (".", ".."))

    async def write_new(self, path: str, content: bytes, owner: Owner) -> None:
        """Write a file that no reader looks at yet, replacing a left-over of a crash; on disk when this returns."""
        async with self.shell.sftp(path) as sftp:
            with contextlib.suppress(asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                await sftp.remove(path)
            # Readable to nobody else until it has its owner.
            async with sftp.open(path, "xb", asyncssh.SFTPAttrs(permissions=0o600)) as file:
                await file.write(content)
                attributes = await file.stat()
                if (attributes.uid, attributes.gid) != (owner.uid, owner.gid):
                    await file.setstat(asyncssh.SFTPAttrs(uid=owner.uid, gid=owner.gid))
                await file.setstat(asyncssh.SFTPAttrs(permissions=owner.mode))
                await file.fsync()

    async def rename_over(self, staged: str, path: str) -> None:
        """Atomically (posix-rename@openssh.com)."""
        async with self.shell.sftp(path) as sftp:
            try:
                await sftp.posix_rename(staged, path)
                return
            except asyncssh.SFTPFailure:
                pass  # the protocol says no more: look for the reason that happens
        if await self.is_mounted(path):
            raise self.shell.not_accessible(f"{path} is a mount of a single file and cannot be replaced: mount its folder instead")
        raise self.shell.not_accessible(f"{path} cannot be replaced (the host says only that it failed)")

    async def is_mounted(self, path: str) -> bool:
        """Whether the path itself is a mount point here (a container's bind mount of one file)."""
        done = await self.shell.run(["cat", "/proc/self/mountinfo"])
        return any(line.split(" ")[4:5] == [path] for line in done.output.splitlines())

    async def remove(self, path: str) -> None:
        """Remove; absent is fine."""
        async with self.shell.sftp(path) as sftp:
            with contextlib.suppress(asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
                await sftp.remove(path)


def _owner(attributes: asyncssh.SFTPAttrs) -> Owner:
    return Owner(stat.S_IMODE(attributes.permissions or 0o600), attributes.uid or 0, attributes.gid or 0)
