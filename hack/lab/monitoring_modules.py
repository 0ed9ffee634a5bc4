"""Prometheus, promtool, Alertmanager and amtool compiled from the Go modules that hack/monitoring pins.

Called by `lab.programs`: as the last resort where neither PATH nor the distribution has them, and by `--newest`. Each of the
two has a go.mod of its own, so that it is made of the very dependencies that its release was made of.
Less than a release: no web interface in either (its files are made by npm and are in no Go module; the APIs are all there), and
Prometheus discovers by file_sd, http_sd and static_configs only (the tag remove_all_sd: the clouds' SDKs are most of it).
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab.cache import cache_dir, locked
from lab.gobuild import Report, build, module_folder
from lab.gobuild_progress import Step, show

SOURCE = Path(__file__).resolve().parents[1] / "monitoring"
_PROMETHEUS = "github.com/prometheus/prometheus"
_ALERTMANAGER = "github.com/prometheus/alertmanager"
_STAMP = "github.com/prometheus/common/version.Version"
_PAGE = "<!doctype html><title>Alertmanager</title><p>This build has no web interface; its API is at /api/v2.</p>\n"


def released(go_mod: str, module: str) -> str:
    """What the release calls itself of which the text of a go.mod pins `module`: "3.15.0" for Prometheus' v0.315.0, "0.34.2" for
    Alertmanager's v0.34.2. Raises ValueError when it pins none."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+v(\d+)\.(\d+)\.(\d+)\s", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError(f"go.mod requires no release of {module}")
    major, minor, patch = map(int, found.groups())
    if module == _PROMETHEUS and major == 0:  # since 3.0 the tag v0.3xx.y is of the release 3.xx.y (two digits)
        major, minor = divmod(minor, 100)
    return f"{major}.{minor}.{patch}"


async def compiled(report: Callable[[str], Report] | None = None) -> Path:
    """A folder with the four, compiled now (minutes) unless these very modules were before.

    `report` gives what is called with each Step of one program (default: shown on stderr). Raises lab.gotoolchain.GoError."""
    binaries = {
        **await _both(SOURCE / "prometheus", _PROMETHEUS, ("prometheus", "promtool"), report, tags=("remove_all_sd",)),
        **await _alertmanager(report),
    }
    folder = cache_dir() / "programs" / "modules"
    async with locked(folder.with_name(".modules.lock")):
        await asyncio.to_thread(_link, folder, binaries)
    return folder


async def _both(
    source: Path, module: str, commands: tuple[str, ...], report: Callable[[str], Report] | None, tags: tuple[str, ...] = ()
) -> dict[str, Path]:
    version = released(await asyncio.to_thread((source / "go.mod").read_text), module)
    stamp = f"-X {_STAMP}={version}"  # else --version prints none
    return {
        name: await build(
            source,
            name=name,
            package=f"{module}/cmd/{name}",
            ldflags=[stamp],
            tags=tags,
            progress=report(name) if report else None,
        )
        for name in commands
    }


async def _alertmanager(report: Callable[[str], Report] | None) -> dict[str, Path]:
    """Alertmanager embeds ui/app/dist, which its Go module lacks: built from a copy of the module with a page there."""
    pinned = SOURCE / "alertmanager"
    with tempfile.TemporaryDirectory(prefix="vmscaler-alertmanager-") as scratch:
        with show("alertmanager") as shown:
            said = report("alertmanager") if report else shown
            said(Step("fetching its module"))
            module = await module_folder(pinned, _ALERTMANAGER, report=said)
        source = Path(scratch) / "main"
        await asyncio.to_thread(_with_page, pinned, module, Path(scratch) / "module", source)
        return await _both(source, _ALERTMANAGER, ("alertmanager", "amtool"), report)


def _with_page(pinned: Path, module: Path, copy: Path, source: Path) -> None:
    # copyfile and not copy: what Go keeps is read-only, and a copy of its modes could not be removed.
    shutil.copytree(module, copy, copy_function=shutil.copyfile)
    for folder in (copy, copy / "ui", copy / "ui" / "app"):
        folder.chmod(0o755)
    page = copy / "ui" / "app" / "dist" / "index.html"
    page.parent.mkdir()
    page.write_text(_PAGE)
    source.mkdir()
    shutil.copyfile(pinned / "go.sum", source / "go.sum")
    go_mod = (pinned / "go.mod").read_text()
    (source / "go.mod").write_text(f"{go_mod}\nreplace {_ALERTMANAGER} => ../{copy.name}\n")


def _link(folder: Path, binaries: dict[str, Path]) -> None:
    """Links, each put in place at once: who looks meanwhile finds the old one or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, binary in binaries.items():
        fresh = folder / f".{name}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(binary)
        fresh.rename(folder / name)
