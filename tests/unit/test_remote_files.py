"""The order of SFTP calls by which a file comes to the host: what no test of the result can see (who may read it meanwhile, is it on disk)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace, TracebackType
from typing import Any

import asyncssh
import pytest

from vmscaler.adapters.monitoring_host.files import Owner, RemoteFiles
from vmscaler.decide.yaml_nodes import MAX_BYTES
from vmscaler.ports.errors import Rejected

PATH = "/etc/alertmanager/tokens/.x.staged"


class Handle:
    """An open file: what is done with it is written down."""

    def __init__(self, host: Host, path: str) -> None:
        self._host, self._path = host, path

    async def __aenter__(self) -> Handle:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._host.did.append("close")

    async def write(self, content: bytes) -> None:
        self._host.did.append(f"write {len(content)}")
        self._host.contents[self._path] = content

    async def read(self, size: int) -> bytes:
        return self._host.contents[self._path][:size]

    async def stat(self) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs(uid=1000, gid=1000, permissions=0o100664, mtime=7)

    async def setstat(self, attributes: asyncssh.SFTPAttrs) -> None:
        if attributes.uid is not None:
            self._host.did.append(f"chown {attributes.uid}:{attributes.gid}")
        if attributes.permissions is not None:
            self._host.did.append(f"chmod {attributes.permissions:o}")

    async def fsync(self) -> None:
        self._host.did.append("fsync")


class Host:
    """One host's SFTP server, a dict."""

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        self.contents = contents or {}
        self.did: list[str] = []
        self.mounts, self.name = "", "am-1"
        self.trouble: asyncssh.SFTPError | None = None

    @contextlib.asynccontextmanager
    async def sftp(self, what: str) -> AsyncIterator[Any]:
        yield self

    async def run(self, argv: list[str]) -> SimpleNamespace:
        assert argv == ["cat", "/proc/self/mountinfo"]
        return SimpleNamespace(output=self.mounts)

    def not_accessible(self, what: str) -> Rejected:
        return Rejected("monitoring", "NotAccessible", what)

    async def remove(self, path: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        if path not in self.contents:
            raise asyncssh.SFTPNoSuchFile("No such file")
        del self.contents[path]
        self.did.append("remove")

    def open(self, path: str, mode: str, attributes: asyncssh.SFTPAttrs | None = None) -> Handle:
        if self.trouble is not None:
            raise self.trouble
        if "x" in mode:
            assert path not in self.contents
        if attributes is not None:
            self.did.append(f"open {mode} {attributes.permissions:o}")
        return Handle(self, path)

    async def posix_rename(self, staged: str, path: str) -> None:
        raise self.trouble or asyncssh.SFTPFailure("Failure")


def files(host: Host) -> RemoteFiles:
    return RemoteFiles(host)  # type: ignore[arg-type]


async def test_nobody_may_read_it_before_it_has_its_owner_and_it_is_on_disk_at_the_end() -> None:
    host = Host({PATH: b"left by a crash"})
    await files(host).write_new(PATH, b"sample-token", Owner(0o640, 110, 115))
    assert host.did == ["remove", "open xb 600", "write 12", "chown 110:115", "chmod 640", "fsync", "close"]


async def test_who_owns_it_already_needs_no_right_to_give_it_away() -> None:
    host = Host()
    await files(host).write_new(PATH, b"x", Owner(0o600, 1000, 1000))
    assert host.did == ["open xb 600", "write 1", "chmod 600", "fsync", "close"]


async def test_a_file_is_read_whole_or_not_at_all() -> None:
    host = Host({"/a": b"x" * MAX_BYTES, "/b": b"x" * (MAX_BYTES + 1)})
    read = await files(host).read("/a")
    assert read is not None and len(read.content) == MAX_BYTES
    assert (read.owner, read.modified) == (Owner(0o664, 1000, 1000), 7)
    with pytest.raises(Rejected, match="too large to be edited") as refused:
        await files(host).read("/b")
    assert refused.value.reason == "StyleNotSupported"


MOUNTS = """\
22 27 0:21 / /proc rw,nosuid - proc proc rw
651 640 8:1 /srv/am/alertmanager.yml /etc/alertmanager/alertmanager.yml rw - ext4 /dev/sda1 rw
652 640 8:1 /etc/prometheus/prometheus.yml /srv/elsewhere rw - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/alertmanager/alertmanager.yml", "is a mount of a single file and cannot be replaced: mount its folder instead"),
        ("/etc/prometheus/prometheus.yml", "cannot be replaced (the host says only that it failed)"),
        ("/etc/alertmanager", "cannot be replaced (the host says only that it failed)"),
    ],
)
async def test_why_a_file_cannot_be_replaced(path: str, said: str) -> None:
    host = Host()
    host.mounts = MOUNTS
    assert await files(host).is_mounted(path) is said.startswith("is a mount")
    with pytest.raises(Rejected) as refused:
        await files(host).rename_over(PATH, path)
    assert refused.value.message == f"{path} {said}"


@pytest.mark.parametrize(
    "trouble", [asyncssh.SFTPPermissionDenied("no"), asyncssh.SFTPFailure("Failure"), asyncssh.SFTPConnectionLost("gone")]
)
async def test_what_went_wrong_is_no_absence(trouble: asyncssh.SFTPError) -> None:
    """A file that may not be read is there: taken for absent it would be made anew, or held for removed."""
    host = Host({PATH: b"x"})
    host.trouble = trouble
    for attempt in (files(host).read(PATH), files(host).remove(PATH), files(host).write_new(PATH, b"y", Owner(0o600, 1, 1))):
        with pytest.raises(type(trouble)):
            await attempt
    assert (host.contents, host.did) == ({PATH: b"x"}, [])
    if not isinstance(trouble, asyncssh.SFTPFailure):
        with pytest.raises(type(trouble)):
            await files(host).rename_over(PATH, "/b")


@pytest.mark.parametrize("absent", [asyncssh.SFTPNoSuchFile("No such file"), asyncssh.SFTPNoSuchPath("No such path")])
async def test_what_is_absent_is_none_and_gone(absent: asyncssh.SFTPError) -> None:
    host = Host()
    host.trouble = absent
    assert await files(host).read(PATH) is None
    await files(host).remove(PATH)
