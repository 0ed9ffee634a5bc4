"""Programs out of the distribution's packages without installing them: `apt-get download` and `dpkg -x` into the cache.

Called by `lab.programs`. No root, no service started, nothing of the system changed (facts/monitoring.md, "Getting the
real programs"). Where the machine's own package lists are empty or stale, lists are fetched into the cache folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from lab.cache import cache_dir, locked
from lab.process import PartError

Progress = Callable[[str], None]
_COMMAND_LIMIT = 300.0
_DONE = ".complete"


class PackagesUnavailable(PartError):
    """The packages cannot be had here; the message says why."""


def distribution() -> str | None:
    """ "debian-12", "ubuntu-24.04"; None where there is no apt or it is no Debian family."""
    try:
        fields = platform.freedesktop_os_release()
    except OSError:
        return None
    family = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".split()
    if not {"debian", "ubuntu"} & set(family) or not all(map(shutil.which, ("apt-get", "apt-cache", "dpkg"))):
        return None
    return re.sub(r"[^a-z0-9.-]", "", f"{fields['ID']}-{fields.get('VERSION_ID', 'rolling')}".lower())


async def unpacked(
    group: str,
    packages: Sequence[str],
    progress: Progress,
    *,
    split_off: Sequence[str] = (),
    finish: Callable[[Path], None] = lambda tree: None,
) -> Path:
    """The folder into which `packages` are unpacked, made at the first call and kept in the cache under `group`.

    Shared libraries that its programs miss on this machine are fetched too. `split_off` names packages that only some releases
    have (others keep their files in `packages`); `finish` is called on the new tree before it is put in place. Raises
    PackagesUnavailable."""
    name = distribution()
    if name is None:
        raise PackagesUnavailable("this machine has no apt to download packages with")
    home = cache_dir() / "programs"
    home.mkdir(parents=True, exist_ok=True)
    folder = home / f"{group}-{name}-{platform.machine()}"
    if (folder / _DONE).exists():
        return folder
    async with locked(home / f".{folder.name}.lock"):
        if (folder / _DONE).exists():
            return folder
        progress(f"downloading {', '.join(packages)} ({name}) and unpacking without installing, once")
        with tempfile.TemporaryDirectory(dir=home, prefix=".new-") as scratch:
            tree = await _fetch(Path(scratch), packages, split_off)
            finish(tree)
            (tree / _DONE).write_text("\n".join(packages) + "\n")
            shutil.rmtree(folder, ignore_errors=True)
            tree.rename(folder)
        progress(f"unpacked {', '.join(packages)} into {folder}")
    return folder


def library_path(folder: Path) -> str | None:
    """What LD_LIBRARY_PATH must be for programs of `folder`; None if the packages there brought no library."""
    return ":".join(sorted({str(found.parent) for found in folder.glob("**/lib*.so*")})) or None


async def _fetch(scratch: Path, packages: Sequence[str], split_off: Sequence[str]) -> Path:
    tree, pool = scratch / "tree", scratch / "pool"
    tree.mkdir(mode=0o755)
    pool.mkdir()
    wanted, options = list(packages), _sandbox()
    fetched: set[str] = set()
    while wanted:
        try:
            await _run("apt-get", *options, "download", *wanted, cwd=pool)
        except PackagesUnavailable:
            if options != _sandbox():
                raise
            options = await _private_lists()
            await _run("apt-get", *options, "download", *wanted, cwd=pool)
        if not fetched and (there := [name for name in split_off if await _offered(name, options)]):
            await _run("apt-get", *options, "download", *there, cwd=pool)
            wanted += there
        for deb in pool.glob("*.deb"):
            await _run("dpkg", "-x", str(deb), str(tree))
            deb.unlink()
        fetched |= set(wanted)
        wanted = await _missing_libraries(tree, wanted, fetched, options)
    return tree


def _sandbox() -> list[str]:
    """As root, apt would hand the download to its own user, who may not write into our folder."""
    return ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []


async def _private_lists() -> list[str]:
    """Fetch package lists into the cache; gives the options that make apt use them (so no root is needed)."""
    state = cache_dir() / "apt"
    for part in ("lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    options = [*_sandbox(), "-o", f"Dir::State={state}", "-o", f"Dir::State::lists={state / 'lists'}"]
    options += ["-o", f"Dir::Cache={state / 'cache'}", "-o", "Dir::State::status=/var/lib/dpkg/status"]
    # One unreachable source of somebody's many fails the whole update; whether ours is there, the download will tell.
    with contextlib.suppress(PackagesUnavailable):
        await _run("apt-get", *options, "update", cwd=state)
    return options


async def _missing_libraries(tree: Path, packages: Sequence[str], fetched: set[str], options: Sequence[str]) -> list[str]:
    """Packages named lib* that `packages` depend on and that are not on the machine, if a program of the tree misses any library."""
    missed_by = [
        str(program.relative_to(tree)) for program in await asyncio.to_thread(_programs, tree) if await _misses_library(program, tree)
    ]
    if not missed_by:
        return []
    found = await _run("apt-cache", *options, "depends", "--important", *packages, cwd=tree)
    names = {line.split()[-1] for line in found.splitlines() if re.search(r"Depends: lib", line)} - fetched
    missing = [name for name in sorted(names) if not await _installed(name)]
    if not missing:
        raise PackagesUnavailable(f"{', '.join(missed_by)} of the distribution misses a library that no package named brings")
    return missing


def _programs(tree: Path) -> list[Path]:
    """Not the first one alone: since OpenSSH 9.8 what needs the libraries is a helper that sshd starts."""
    return sorted(found for found in tree.rglob("*") if found.is_file() and os.access(found, os.X_OK) and _is_elf(found))


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


async def _misses_library(program: Path, tree: Path) -> bool:
    with contextlib.suppress(PackagesUnavailable):  # ldd fails at a program that is linked statically
        return "not found" in await _run("ldd", str(program), cwd=tree, environment={"LD_LIBRARY_PATH": library_path(tree) or ""})
    return False


async def _offered(package: str, options: Sequence[str]) -> bool:
    with contextlib.suppress(PackagesUnavailable):
        return bool(await _run("apt-cache", *options, "show", "--no-all-versions", package))
    return False


async def _installed(package: str) -> bool:
    with contextlib.suppress(PackagesUnavailable):
        return await _run("dpkg-query", "-W", "-f=${db:Status-Status}", package) == "installed"
    return False


async def _run(*argv: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a command and give what it printed. Raises PackagesUnavailable with its last line."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C", **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_COMMAND_LIMIT):
            printed = (await process.communicate())[0].decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = printed.strip().splitlines()[-1:] or ["no output"]
        raise PackagesUnavailable(f"{' '.join(argv[:1])} failed ({process.returncode}): {last[0]}")
    return printed
