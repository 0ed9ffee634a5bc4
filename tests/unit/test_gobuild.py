"""lab.gobuild without Go: the key, what Go is new enough, counting progress, and how it is shown."""

from __future__ import annotations

import asyncio
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.cache import cache_dir, locked
from lab.gobuild import build, key, sources
from lab.gobuild_progress import BuildProgress, PlainLines, Step
from lab.gotoolchain import GoError, minimum_go, new_enough


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "module"
    (folder / "inner").mkdir(parents=True)
    (folder / "go.mod").write_text("module example.test/m\n\ngo 1.26.0\n")
    (folder / "go.sum").write_text("")
    (folder / "main.go").write_text("package main\n")
    (folder / "inner" / "a.go").write_text("package inner\n")
    return folder


def digest(
    folder: Path,
    *,
    go: str = "go1.26.8",
    arch: str = "linux/amd64",
    ldflags: tuple[str, ...] = ("-s",),
    tags: tuple[str, ...] = (),
    package: str = ".",
) -> str:
    return key(folder, go_version=go, arch=arch, ldflags=ldflags, tags=tags, package=package)


def test_key_depends_on_everything_that_is_built(module: Path) -> None:
    first = digest(module)
    seen = {
        first,
        digest(module, go="go1.26.9"),
        digest(module, arch="linux/arm64"),
        digest(module, ldflags=("-s", "-w")),
        digest(module, package="example.test/other/cmd/x"),
    }
    seen |= {digest(module, ldflags=("-s-w",)), digest(module, ldflags=(), tags=("-s",)), digest(module, tags=("x",))}
    for name in ("go.mod", "go.sum", "main.go", "inner/a.go"):
        path = module / name
        before = path.read_text()
        path.write_text(before + "// more\n")
        seen.add(digest(module))
        path.write_text(before)
    (module / "inner" / "a.go").rename(module / "a.go")
    seen.add(digest(module))
    assert len(seen) == 13


def test_key_is_stable_and_blind_to_what_is_not_built(module: Path, tmp_path: Path) -> None:
    first = digest(module)
    (module / "README.md").write_text("words")
    (module / "main_test.go").write_text("package main\n")
    assert digest(module) == first
    moved = module.rename(tmp_path / "elsewhere")
    assert digest(moved) == first
    assert [path.relative_to(moved).as_posix() for path in sources(moved)] == [
        "go.mod",
        "go.sum",
        "inner/a.go",
        "main.go",
    ]


@pytest.mark.parametrize(
    ("version", "minimum", "expected"),
    [
        ("go1.26.8", "1.26.0", True),
        ("go1.26", "1.26.0", True),
        ("go1.26.8 X:boringcrypto", "1.26.0", True),
        ("go1.27.0", "1.26.5", True),
        ("go1.9.7", "1.26.0", False),
        ("go1.25.11", "1.26.0", False),
        ("go1.26rc1", "1.26.0", False),
        ("devel go1.28-abcdef", "1.26.0", False),
    ],
)
def test_new_enough(version: str, minimum: str, expected: bool) -> None:
    assert new_enough(version, minimum) is expected


def test_minimum_go_is_the_go_line(module: Path) -> None:
    assert minimum_go(module) == "1.26.0"
    (module / "go.mod").write_text("module example.test/m\n\ngodebug default=go1.26\n")
    with pytest.raises(GoError, match="no go line"):
        minimum_go(module)


def test_progress_counts_each_package_once_and_ignores_other_lines() -> None:
    progress = BuildProgress()
    assert progress.fetched("go: downloading k8s.io/api v0.36.3") == Step("downloading modules", 1)
    assert progress.fetched("go: finding module") == Step("downloading modules", 1)
    progress.expect(["a/b", "c", "example.test/m"])
    assert progress.compiled("a/b") == Step("compiling", 1, 3)
    assert progress.compiled("a/b") == Step("compiling", 1, 3)
    assert progress.compiled("# a/b") == Step("compiling", 1, 3)
    assert progress.compiled("not/stale") == Step("compiling", 1, 3)
    progress.compiled("c")
    assert progress.compiled("example.test/m") == Step("linking", 3, 3)


def test_plain_lines_come_every_ten_seconds_and_at_each_change() -> None:
    out, now = io.StringIO(), [100.0]
    lines = PlainLines("vcenter", out, clock=lambda: now[0])
    for second in range(25):
        now[0] = 100.0 + second
        lines(Step("compiling", second, 30))
    lines(Step("linking", 30, 30))
    assert out.getvalue().splitlines() == [
        "building vcenter: compiling 0/30 (0 s)",
        "building vcenter: compiling 10/30 (10 s)",
        "building vcenter: compiling 20/30 (20 s)",
        "building vcenter: linking 30/30 (24 s)",
    ]


def test_cache_dir_takes_the_first_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("VMSCALER_CACHE", raising=False)
    assert cache_dir() == tmp_path / "home" / ".cache" / "vmscaler"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "vmscaler"
    monkeypatch.setenv("VMSCALER_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    assert stat.S_IMODE((tmp_path / "own").stat().st_mode) == 0o700


async def test_locked_lets_one_in_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []
    first_is_in, may_leave, second_waits = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with locked(tmp_path / "lock"):
            first_is_in.set()
            await may_leave.wait()
            order.append("first leaves")

    async def second() -> None:
        await first_is_in.wait()
        async with locked(tmp_path / "lock", waiting=second_waits.set, every=0.01):
            order.append("second enters")

    async with asyncio.TaskGroup() as group:
        group.create_task(first())
        group.create_task(second())
        await second_waits.wait()
        may_leave.set()
    assert order == ["first leaves", "second enters"]


@dataclass(frozen=True)
class FakeGo:
    count: Path

    def builds(self) -> int:
        return len(self.count.read_text().splitlines())

    def fail(self, yes: bool) -> None:
        mark = self.count.with_suffix(".fail")
        mark.touch() if yes else mark.unlink()


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGo:
    """A `go` on PATH that answers as Go's command line does, and counts its builds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "go"
    script.write_text(
        """#!/bin/sh
case "$1" in
env) printf 'go1.26.8\\nlinux\\namd64\\n' ;;
list) printf 'a\\nexample.test/m\\n' ;;
build)
  echo built >> "$GO_COUNT"
  echo a >&2
  if [ -e "$GO_COUNT.fail" ]; then echo '# a' >&2; echo 'main.go:1:1: undefined: x' >&2; exit 1; fi
  while [ "$1" != -o ]; do shift; done
  echo example.test/m >&2
  echo "$GOFLAGS $GOTOOLCHAIN $CGO_ENABLED" > "$2"
esac
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("VMSCALER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GO_COUNT", str(tmp_path / "count"))
    monkeypatch.setenv("GOFLAGS", "-mod=mod")
    return FakeGo(tmp_path / "count")


async def test_build_happens_once_for_the_same_sources(module: Path, fake_go: FakeGo) -> None:
    steps: list[Step] = []
    one, two = await asyncio.gather(*(build(module, name="m", progress=steps.append) for _ in range(2)))
    assert one == two
    assert fake_go.builds() == 1
    assert one.read_text() == "-mod=readonly local 0\n"
    assert os.access(one, os.X_OK)
    assert Step("linking", 2, 2) in steps
    (module / "main.go").write_text("package main // changed\n")
    assert await build(module, name="m", progress=steps.append) != one
    assert fake_go.builds() == 2


async def test_one_that_another_build_forgets_just_then_is_built_again(
    module: Path, fake_go: FakeGo, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = await build(module, name="m", progress=lambda _: None)
    used = os.utime

    def forgotten(path: Path) -> None:
        if fake_go.builds() == 1:
            path.unlink()
        used(path)

    monkeypatch.setattr(os, "utime", forgotten)
    assert await build(module, name="m", progress=lambda _: None) == target
    assert target.exists() and fake_go.builds() == 2


async def test_a_failed_build_says_why_and_leaves_nothing(module: Path, fake_go: FakeGo) -> None:
    fake_go.fail(True)
    with pytest.raises(GoError, match="undefined: x"):
        await build(module, name="m", progress=lambda _: None)
    assert [path.name for path in (cache_dir() / "bin").iterdir()] == [".m.lock"]
    fake_go.fail(False)
    assert (await build(module, name="m", progress=lambda _: None)).exists()


async def test_old_binaries_are_forgotten_but_not_those_of_another_part(module: Path, fake_go: FakeGo) -> None:
    other = await build(module, name="m-other", progress=lambda _: None)
    for number in range(6):
        (module / "main.go").write_text(f"package main // {number}\n")
        newest = await build(module, name="m", progress=lambda _: None)
    kept = sorted(path.name for path in (cache_dir() / "bin").glob("m-*"))
    assert newest.name in kept
    assert other.name in kept
    assert len(kept) == 5
