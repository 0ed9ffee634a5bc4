"""What the editor of a monitoring host does to files, on a folder in memory: the last look, undo, backups. The real host is in tests/contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from tests.fakes.effects import DirectEffects

from vmscaler.adapters.monitoring_host.editor import Editor, FileChange, safe_name
from vmscaler.adapters.monitoring_host.files import Owner, RemoteFile, digest
from vmscaler.decide.splice import StyleNotSupported, YamlFile
from vmscaler.ports.errors import Rejected, Retryable

PATH, STAGED, BACKUP = "/etc/x/a.yml", "/etc/x/.a.yml.vmscaler-staged", "/etc/x/.a.yml.vmscaler-backup"
THEIRS, OURS = Owner(0o640, 7, 8), Owner(0o600, 1, 2)


class Folder:
    """What `RemoteFiles` does, in a dict; a command answers what the test says."""

    def __init__(self) -> None:
        self.held: dict[str, RemoteFile] = {}
        self.now, self.answer = 1_767_225_600, (0, "")
        self.broken = False
        self.shell = SimpleNamespace(name="mon-1", run=self._run, not_accessible=lambda what: Rejected("monitoring", "NotAccessible", what))
        self.ran: list[Sequence[str]] = []

    async def _run(self, command: Sequence[str]) -> Any:
        self.ran.append(command)
        return SimpleNamespace(status=self.answer[0], output=self.answer[1])

    def put(self, content: bytes, path: str = PATH, owner: Owner = THEIRS) -> RemoteFile:
        self.held[path] = RemoteFile(content, owner, self.now)
        return self.held[path]

    async def read(self, path: str) -> RemoteFile | None:
        return self.held.get(path)

    async def names(self, folder: str) -> list[str]:
        assert folder == "/etc/x"
        return sorted(path.removeprefix(f"{folder}/") for path in self.held)

    async def write_new(self, path: str, content: bytes, owner: Owner) -> None:
        self.put(content, path, owner)

    async def rename_over(self, staged: str, path: str) -> None:
        self.held[path] = self.held.pop(staged)

    async def remove(self, path: str) -> None:
        if self.broken:
            raise Retryable("monitoring", "Unreachable", "away")
        self.held.pop(path, None)

    def contents(self) -> dict[str, bytes]:
        return {path: file.content for path, file in self.held.items()}

    def backups(self) -> list[bytes]:
        return [self.held[path].content for path in sorted(self.held) if path.startswith(BACKUP)]


@pytest.fixture
def folder() -> Folder:
    return Folder()


@pytest_asyncio.fixture
async def editor(folder: Folder) -> AsyncIterator[Editor]:
    with ThreadPoolExecutor(1) as threads:
        yield Editor(folder, DirectEffects(), threads)  # type: ignore[arg-type]


def change(old: RemoteFile | None, new: bytes | None, path: str = PATH) -> FileChange:
    return FileChange("config", path, old, new, THEIRS)


def test_what_is_as_it_should_be_needs_no_write() -> None:
    file = RemoteFile(b"a", THEIRS, 0)
    assert [change(file, b"a").needed, change(None, None).needed] == [False, False]
    assert [change(file, b"b").needed, change(file, None).needed, change(None, b"").needed] == [True, True, True]


@pytest.mark.parametrize("name", ["vmscaler-a.yml", "vmscaler-acme.web-1.token", "vmscaler-0_a.b.json", "vmscaler-" + "a" * 227 + ".yml"])
def test_names_of_ours(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "vmscaler-" + "a" * 228 + ".yml",
        "vmscaler-.yml",
        "vmscaler-a..yml",
        "vmscaler-A.yml",
        "x-vmscaler-a.yml",
        "vmscaler-a/b.yml",
        "vmscaler-a.yml\n",
    ],
)
def test_names_that_are_none_of_ours(name: str) -> None:
    with pytest.raises(Rejected, match="no name of a file of ours") as refused:
        safe_name(name)
    assert refused.value.reason == "NotAccessible"


async def test_staged_beside_it_then_renamed_over(editor: Editor, folder: Folder) -> None:
    wanted = change(folder.put(b"old"), b"new")
    assert await editor.stage(wanted) == STAGED
    assert folder.contents() == {PATH: b"old", STAGED: b"new"} and folder.held[STAGED].owner == THEIRS
    await editor.replace(wanted)
    assert folder.contents() == {PATH: b"new"}
    await editor.replace(change(folder.held[PATH], None))
    assert folder.contents() == {}
    await editor.write(change(None, b"x"))
    assert folder.contents() == {PATH: b"x"}
    await editor.write(change(folder.held[PATH], None))
    assert folder.contents() == {}


async def test_what_the_checker_refuses_does_not_stay_and_is_told_by_the_files_name(editor: Editor, folder: Folder) -> None:
    wanted = change(folder.put(b"old"), b"new")
    folder.answer = (0, "fine")
    assert await editor.stage_checked(wanted, ["check", "it"]) == STAGED and folder.ran == [["check", "it", STAGED]]
    folder.answer = (1, f"{'x' * 3000}\n {STAGED}:7: no\n")
    with pytest.raises(Rejected) as refused:
        await editor.stage_checked(wanted, ["check", "it"])
    assert (refused.value.reason, folder.contents()) == ("CheckFailed", {PATH: b"old"})
    assert refused.value.message.startswith(f"mon-1: `check it` refuses {PATH}: ...xxx") and refused.value.message.endswith(
        f"x {PATH}:7: no"
    )
    assert len(refused.value.message) < 1600
    folder.answer = (2, "short\n")
    with pytest.raises(Rejected, match=r"refuses /etc/x/a\.yml: short$"):
        await editor.stage_checked(wanted, ["check", "it"])
    for status in (126, 127):
        folder.answer = (status, "not found")
        with pytest.raises(Rejected, match=r"`check it` cannot be run there \(not found\)") as refused:
            await editor.stage_checked(wanted, ["check", "it"])
        assert (refused.value.reason, folder.contents()) == ("NotAccessible", {PATH: b"old"})
    folder.broken, folder.answer = True, (1, "no")
    with pytest.raises(Rejected, match="refuses"):  # what could not be removed does not hide why
        await editor.stage_checked(wanted, ["check", "it"])


async def test_the_last_look_before_a_rename(editor: Editor, folder: Folder) -> None:
    wanted = change(folder.put(b"old"), b"new")
    assert await editor.unchanged(wanted)
    folder.put(b"theirs")
    assert not await editor.unchanged(wanted)
    folder.held.clear()
    assert not await editor.unchanged(wanted) and await editor.unchanged(change(None, b"new"))
    folder.put(b"")
    assert not await editor.unchanged(change(None, b"new"))


async def test_undo_brings_the_old_bytes_back_but_never_over_somebodys(editor: Editor, folder: Folder) -> None:
    wanted = change(folder.put(b"old"), b"new")
    await editor.write(wanted)
    await editor.undo(wanted)
    assert folder.contents() == {PATH: b"old"} and folder.held[PATH].owner == THEIRS
    await editor.write(wanted)
    folder.put(b"theirs")
    await editor.undo(wanted)
    assert folder.contents() == {PATH: b"theirs"}
    folder.held.clear()
    await editor.undo(wanted)
    assert folder.contents() == {}, "somebody removed it"
    made = change(None, b"new")
    await editor.write(made)
    await editor.undo(made)
    assert folder.contents() == {}
    gone = change(folder.put(b"old"), None)
    await editor.replace(gone)
    await editor.undo(gone)
    assert folder.contents() == {PATH: b"old"}


async def test_backups_are_what_people_wrote_once_each_and_the_oldest_goes_first(editor: Editor, folder: Folder) -> None:
    await editor.back_up(change(None, b"new"))
    assert folder.backups() == []
    folder.put(b"somebody else's", f"{BACKUP}s-are-here")
    for number in range(4):
        for _ in range(2):
            await editor.back_up(change(folder.put(b"%d" % number), b"new"))  # four versions in one second
    assert sorted(path for path in folder.held if path.startswith(f"{BACKUP}-"))[0] == f"{BACKUP}-20260101T000000Z-0000-{digest(b'0')[:8]}"
    assert folder.held[f"{BACKUP}-20260101T000000Z-0003-{digest(b'3')[:8]}"].owner == THEIRS
    for number in range(4, 7):
        folder.now += 1
        await editor.back_up(change(folder.put(b"%d" % number), b"new"))
    assert folder.backups() == [b"2", b"3", b"4", b"5", b"6", b"somebody else's"]
    folder.now += 1
    await editor.back_up(change(folder.put(b"6"), b"new"))
    assert folder.held[f"{BACKUP}-20260101T000004Z-0000-{digest(b'6')[:8]}"].content == b"6", "numbers are those of a second"


async def test_what_we_wrote_ourselves_needs_no_backup(editor: Editor, folder: Folder) -> None:
    wanted = change(folder.put(b"old"), b"new")
    await editor.stage(wanted)
    await editor.replace(wanted)
    await editor.back_up(change(folder.held[PATH], b"newer"))
    assert folder.backups() == []
    await editor.back_up(change(folder.put(b"new # Kim"), b"newer"))
    assert folder.backups() == [b"new # Kim"]
    await editor.undo(change(RemoteFile(b"old", THEIRS, 0), b"new # Kim"))
    await editor.back_up(change(folder.put(b"new"), b"newer"))
    assert sorted(folder.backups()) == [b"new", b"new # Kim"]


async def test_a_file_is_parsed_once_per_edit(editor: Editor) -> None:
    seen: list[YamlFile] = []

    def edit(file: YamlFile) -> YamlFile:
        seen.append(file)
        return YamlFile(file.content + b"# ours\n")

    def other(file: YamlFile) -> YamlFile:
        seen.append(file)
        return YamlFile(file.content + b"# other\n")

    assert await editor.spliced(PATH, b"a: 1\n", edit) == b"a: 1\n# ours\n"
    assert await editor.spliced(PATH, b"a: 1\n", edit) == b"a: 1\n# ours\n" and len(seen) == 1
    assert await editor.spliced(PATH, b"a: 2\n", edit) == b"a: 2\n# ours\n", "another content"
    assert await editor.spliced(PATH, b"a: 2\n", other) == b"a: 2\n# other\n" and seen[-1] is seen[-2], "another edit of it"
    assert await editor.spliced(PATH, b"a: 2\n# other\n", edit) == b"a: 2\n# other\n# ours\n"
    assert await editor.spliced("/etc/x/b.yml", b"a: 2\n", other) == b"a: 2\n# other\n" and seen[-1] is not seen[-3]

    def refuse(_: YamlFile) -> YamlFile:
        raise StyleNotSupported("line 1: no")

    with pytest.raises(Rejected, match=r"mon-1: /etc/x/a\.yml: line 1: no\. The file was left as it is") as refused:
        await editor.spliced(PATH, b"a: 3\n", refuse)
    assert refused.value.reason == "StyleNotSupported"
