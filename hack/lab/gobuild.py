"""Builds the lab's Go parts once, into the cache, keyed by what they are made of.

Called by `lab.controlplane`, `lab.vcenter` and `lab.monitoring_modules`: `await build(Path("hack/vcenter"), name="vcenter")`
answers with the path of a binary, at once if these very sources were built before by this Go. `lab.gotoolchain`
finds Go; `lab.gobuild_progress` shows what takes minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from lab.cache import cache_dir, locked
from lab.gobuild_progress import BuildProgress, Step, show
from lab.gotoolchain import Go, GoError, find_go, minimum_go

Report = Callable[[Step], None]
_KEEP = 4


def sources(folder: Path) -> list[Path]:
    """What a module is made of: go.mod, go.sum and every .go file that is no test, in a fixed order."""
    found = [path for path in folder.rglob("*.go") if not path.name.endswith("_test.go")]
    found += [path for path in (folder / "go.mod", folder / "go.sum") if path.exists()]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def key(folder: Path, *, go_version: str, arch: str, ldflags: Sequence[str], tags: Sequence[str], package: str = ".") -> str:
    """A digest (hex) of all that decides how the binary comes out."""
    digest = hashlib.sha256()

    def take(parts: Iterable[bytes]) -> None:
        for part in parts:
            digest.update(len(part).to_bytes(8, "big") + part)

    take(text.encode() for text in (go_version, arch, str(len(ldflags)), *ldflags, str(len(tags)), *tags))
    take([] if package == "." else [package.encode()])
    for path in sources(folder):
        take((path.relative_to(folder).as_posix().encode(), path.read_bytes()))
    return digest.hexdigest()


async def build(
    source: Path,
    *,
    name: str,
    ldflags: Sequence[str] = (),
    tags: Sequence[str] = (),
    package: str = ".",
    progress: Report | None = None,
) -> Path:
    """The binary of the Go module in `source`, stripped (`-s -w` is added to `ldflags`).

    `package` is the command: the module's own, or the import path of one in a module that its go.mod pins. `progress` is called with each Step (default: shown on stderr). Raises GoError when there is no Go to be had or
    the build fails; the message holds the compiler's last lines.
    """
    async with contextlib.AsyncExitStack() as stack:
        report = progress if progress is not None else stack.enter_context(show(name))
        go = await find_go(minimum_go(source), report)
        flags = ("-s", "-w", *ldflags)
        digest = key(source, go_version=go.version, arch=go.arch, ldflags=flags, tags=tags, package=package)
        folder = cache_dir() / "bin"
        target = folder / f"{name}-{digest[:20]}"
        while not _used(target):  # also when another checkout's build forgot it a moment after it was seen
            async with locked(folder / f".{name}.lock", waiting=lambda: report(Step("waiting for another build"))):
                if not target.exists():
                    await _compile(go, source, package, target, flags, tags, report)
                    _forget_old(folder, name)
    return target


def _used(target: Path) -> bool:
    """Whether it is there; from now on it is the one that was used last, which `_forget_old` keeps."""
    try:
        os.utime(target)
    except FileNotFoundError:
        return False
    except OSError:  # another's cache, read only
        return target.exists()
    return True


async def module_folder(source: Path, module: str, *, report: Report) -> Path:
    """Where Go keeps the (read-only) files of `module`, of the version that the go.mod in `source` pins, checked against its
    go.sum; downloaded if they are not there. Raises GoError."""
    printed: list[str] = []
    go = await find_go(minimum_go(source), report)
    await _go(go, source, ["mod", "download", "-json", module], lambda line: None, printed.append)
    return Path(json.loads("".join(printed))["Dir"])


async def _compile(go: Go, source: Path, package: str, target: Path, flags: Sequence[str], tags: Sequence[str], report: Report) -> None:
    name = target.name.rpartition("-")[0]
    for stale in target.parent.glob(f".{name}.*.tmp"):
        stale.unlink()  # we hold the lock: whoever began these is dead
    options = ["-trimpath", "-buildvcs=false", "-ldflags", " ".join(flags)]
    if tags:
        options += ["-tags", ",".join(tags)]
    state = BuildProgress()
    listing = ["list", *options, "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", package]
    stale_packages: list[str] = []
    await _go(go, source, listing, lambda line: report(state.fetched(line)), stale_packages.append)
    state.expect(stale_packages)
    report(state.step("compiling"))
    with _placed(target, prefix=f".{name}.") as path:
        await _go(go, source, ["build", *options, "-v", "-o", str(path), package], lambda line: report(state.compiled(line)))


@contextlib.contextmanager
def _placed(target: Path, *, prefix: str) -> Iterator[Path]:
    """A temporary name beside `target` that becomes it at the end, so that half a binary is never found there."""
    fd, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=target.parent)
    os.close(fd)
    path = Path(name)
    try:
        yield path
        path.chmod(0o755)
        path.rename(target)
    finally:
        path.unlink(missing_ok=True)


async def _go(
    go: Go,
    folder: Path,
    args: Sequence[str],
    errors: Callable[[str], None],
    output: Callable[[str], None] | None = None,
) -> None:
    """Run Go in `folder`, line by line. Raises GoError with the end of its stderr."""
    process = await asyncio.create_subprocess_exec(
        str(go.path),
        *args,
        cwd=folder,
        env=go.env(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=1 << 22,
    )
    last: list[str] = []

    async def read(stream: asyncio.StreamReader | None, take: Callable[[str], None] | None, keep: bool) -> None:
        assert stream is not None
        async for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            if keep:
                last[:] = [*last[-29:], line]
            if take is not None and line:
                take(line)

    try:
        await asyncio.gather(read(process.stdout, output, False), read(process.stderr, errors, True))
        status = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the compilers end with it
        await process.wait()
        raise
    if status != 0:
        raise GoError(f"go {args[0]} in {folder} ended with {status}:\n" + "\n".join(last))


def _forget_old(folder: Path, name: str) -> None:
    """Keep the binaries of `name` that were used last: each source change would leave 100 MB behind."""
    prefix = f"{name}-"
    ours = [path for path in folder.iterdir() if path.name.startswith(prefix) and len(path.name) == len(prefix) + 20]
    for path in sorted(ours, key=lambda path: path.stat().st_mtime, reverse=True)[_KEEP:]:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
