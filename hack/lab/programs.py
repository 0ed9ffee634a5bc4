"""The real programs of a monitoring host: prometheus, promtool, alertmanager, amtool, sshd: found, or fetched once.

Called by `lab.monitoring`, the lab (to show progress before it starts parts) and the contract tests (which run on every
version that is there). `python -m lab.programs` fetches what is missing and prints what it found; `--newest` (`make newest`)
also compiles the newest that hack/monitoring pins, which from then on is one of those at hand.
Order: on PATH; else the distribution's packages, unpacked into the cache (`lab.debs`); else compiled (`lab.monitoring_modules`).
A release unpacked by hand into `<cache>/programs/<any name>/` (the four files, at the top or in usr/bin) is found too.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.cache import cache_dir
from lab.debs import PackagesUnavailable, Progress, library_path, unpacked
from lab.gobuild_progress import PlainLines
from lab.gotoolchain import GoError
from lab.monitoring_modules import compiled
from lab.process import PartError

_NAMES = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "amtool": ("amtool",),
}
_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"


@dataclass(frozen=True)
class MonitoringPrograms:
    """One set of the four; versions as they print them, without the distribution's suffix."""

    prometheus: str
    promtool: str
    alertmanager: str
    amtool: str
    prometheus_version: str
    alertmanager_version: str
    alertmanager_folder: str | None = None  # where Alertmanager must be started, if that matters (see _relocate)

    @property
    def label(self) -> str:
        """For a test's id and for people: "2.42.0-0.25.0"."""
        return f"{self.prometheus_version}-{self.alertmanager_version}"


@dataclass(frozen=True)
class Sshd:
    """An OpenSSH server: what to start it with, and lines that the sshd_config of this very version needs."""

    path: str
    version: str
    environment: dict[str, str]
    config_lines: tuple[str, ...] = ()


def say(line: str) -> None:
    """Progress for people, on stderr (stdout is for the ready record)."""
    print(line, file=sys.stderr, flush=True)


async def monitoring_programs(progress: Progress = say, *, fetch: bool = True) -> list[MonitoringPrograms]:
    """Every version at hand, the oldest Prometheus first. If there is none (and `fetch`): the distribution's, else compiled.

    Raises PartError that says what to install."""
    homes: list[Path | None] = [None, *sorted((cache_dir() / "programs").glob("[!.]*"))]
    found = [found for home in homes if (found := await _complete(home))]
    if not found and fetch:
        found = [await _fetched(progress)]
    by_version = {one.label: one for one in reversed(found)}  # PATH's wins among equals
    return sorted(by_version.values(), key=lambda one: _ordered(one.prometheus_version))


async def _fetched(progress: Progress) -> MonitoringPrograms:
    try:
        packages = ["prometheus", "prometheus-alertmanager"]
        # promtool has a package of its own since Prometheus 3 in Debian.
        folder = await unpacked("monitoring", packages, progress, split_off=["promtool"], finish=_relocate)
        if found := await _complete(folder):
            return found
        raise PackagesUnavailable("the distribution's packages lack one of: " + ", ".join(_NAMES))
    except PackagesUnavailable as error:
        progress(f"no Prometheus and Alertmanager here ({error}): compiling them, once, for minutes")
        try:
            folder = await compiled(lambda name: PlainLines(name, sys.stderr))
        except GoError as no_go:
            raise PartError(
                f"no Prometheus and Alertmanager here ({error}), and they cannot be compiled ({no_go}). Install them so that prometheus, "
                "promtool, alertmanager and amtool are on PATH: Debian's packages are prometheus and prometheus-alertmanager"
            ) from no_go
    if found := await _complete(folder):
        return found
    raise PartError(f"what was compiled into {folder} lacks one of: " + ", ".join(_NAMES))


async def find_sshd(progress: Progress = say) -> Sshd:
    """An OpenSSH sshd. Raises PartError that says what to install (the lab then has a stand-in)."""
    if path := shutil.which("sshd", path=os.environ.get("PATH", "") + ":" + _SBIN):
        version = await _sshd_version(path, {})
        return Sshd(path, version, {}, without_penalties(version))
    try:
        folder = await unpacked("sshd", ["openssh-server"], progress)
    except PackagesUnavailable as error:
        raise PartError(f"no sshd here ({error}); install your distribution's openssh-server") from error
    environment = {"LD_LIBRARY_PATH": found} if (found := library_path(folder)) else {}
    # Since OpenSSH 9.8 and 10.0 sshd starts helpers from paths that were compiled in.
    helpers = {"SshdSessionPath": "sshd-session", "SshdAuthPath": "sshd-auth"}
    lines = tuple(f'{option} "{helper}"' for option, name in helpers.items() if (helper := folder / "usr/lib/openssh" / name).exists())
    path = str(folder / "usr/sbin/sshd")
    version = await _sshd_version(path, environment)
    return Sshd(path, version, environment, (*without_penalties(version), *lines))


def without_penalties(version: str) -> tuple[str, ...]:
    """Since OpenSSH 9.8 an address whose logins fail, or whose sessions die, is turned away for seconds to minutes (sshd_config(5),
    PerSourcePenalties). In the lab people and attackers all come from 127.0.0.1, and sessions are killed on purpose. Raises PartError."""
    if (number := re.match(r"(\d+)\.(\d+)", version)) is None:
        raise PartError(f"{version!r} is no version of OpenSSH")
    return ("PerSourcePenalties no",) if (int(number[1]), int(number[2])) >= (9, 8) else ()


def _relocate(tree: Path) -> None:
    """Make `usr/bin/alertmanager`: Debian's, which reads its templates at a path compiled in, reads them below the folder
    that it is started in. The path is made relative within its own length, so nothing else of the program changes."""
    compiled_in = b"/usr/share/prometheus/alertmanager"
    packaged = tree / "usr/bin/prometheus-alertmanager"
    program = tree / "usr/bin/alertmanager"
    program.write_bytes(packaged.read_bytes().replace(compiled_in, compiled_in[1:] + b"/"))
    program.chmod(0o755)


async def _complete(home: Path | None) -> MonitoringPrograms | None:
    """The four in `home`, or on PATH; None if one is missing."""
    where = f"{home}/usr/bin:{home}" if home else None
    paths: list[str] = []
    for names in _NAMES.values():
        found = next((path for name in names if (path := shutil.which(name, path=where))), None)
        if found is None:
            return None
        paths.append(found)
    prometheus, promtool, alertmanager, amtool = paths
    return MonitoringPrograms(
        prometheus,
        promtool,
        alertmanager,
        amtool,
        await _version(prometheus),
        await _version(alertmanager),
        str(home) if home else None,
    )


async def _version(path: str) -> str:
    """ "2.42.0" of "prometheus, version 2.42.0+ds (branch: ...)". Raises PartError."""
    if match := re.search(r"version v?(\d+\.\d+\.\d+)", await _printed(path, "--version")):
        return match.group(1)
    raise PartError(f"{path} --version prints no version")


async def _sshd_version(path: str, environment: dict[str, str]) -> str:
    # -V is new; an older sshd complains about the option and prints its version all the same.
    match = re.search(r"OpenSSH_(\S+?)[, \n]", await _printed(path, "-V", environment=environment))
    if match is None:
        raise PartError(f"{path} does not start: it prints no version")
    return match.group(1)


async def _printed(*argv: str, environment: dict[str, str] | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(60):
            return (await process.communicate())[0].decode(errors="replace")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


async def _main(*, newest: bool) -> None:
    if newest:
        await compiled()
    found = {
        "monitoring": [dataclasses.asdict(one) for one in await monitoring_programs()],
        "sshd": dataclasses.asdict(await find_sshd()),
    }
    print(json.dumps(found, indent=2))


def _newest() -> bool:
    parser = argparse.ArgumentParser(prog="python -m lab.programs", description="The monitoring host's programs that are at hand.")
    parser.add_argument("--newest", action="store_true", help="compile the newest Prometheus and Alertmanager first (minutes, once)")
    return bool(parser.parse_args().newest)


if __name__ == "__main__":
    asyncio.run(_main(newest=_newest()))
