"""Which Prometheus the lab takes and in which order it looks, what it says when there is none, and what is done to what it finds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab import monitoring_modules, programs
from lab.debs import PackagesUnavailable
from lab.gotoolchain import GoError
from lab.process import PartError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing on PATH, an empty cache, no packages and no compiler to be had; gives the folder of PATH."""

    async def unavailable(*_: object, **__: object) -> Path:
        raise PackagesUnavailable("no apt in this test")

    async def uncompiled(*_: object) -> Path:
        raise GoError("no Go in this test")

    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("VMSCALER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(programs, "unpacked", unavailable)
    monkeypatch.setattr(programs, "compiled", uncompiled)
    monkeypatch.setattr(programs, "_SBIN", "")
    return tmp_path / "bin"


def put(folder: Path, prometheus: str, alertmanager: str, *, without: str = "") -> None:
    """Programs that print a version as the real ones do."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, version in {
        "prometheus": prometheus,
        "promtool": prometheus,
        "prometheus-alertmanager": alertmanager,
        "amtool": alertmanager,
    }.items():
        if name != without:
            (folder / name).write_text(f"#!/bin/sh\necho '{name}, version {version}+ds (branch: debian/sid)' >&2\n")
            (folder / name).chmod(0o755)


async def test_without_any_the_message_says_what_to_install(machine: Path) -> None:
    with pytest.raises(PartError, match=r"no apt in this test.*no Go in this test.*packages are prometheus and prometheus-alertmanager"):
        await programs.monitoring_programs()
    with pytest.raises(PartError, match="openssh-server"):
        await programs.find_sshd()
    assert await programs.monitoring_programs(fetch=False) == []


async def test_a_set_with_one_missing_is_none(machine: Path) -> None:
    put(machine, "2.42.0", "0.25.0", without="amtool")
    assert await programs.monitoring_programs(fetch=False) == []


async def test_versions_come_oldest_first_and_path_wins_among_equals(machine: Path) -> None:
    kept = machine.parent / "cache" / "programs"
    put(machine, "2.53.1", "0.27.0")
    put(kept / "by-hand", "3.5.0", "0.28.1")
    put(kept / "packages" / "usr" / "bin", "2.9.0", "0.25.0")
    put(kept / "the-same", "2.53.1", "0.27.0")
    found = await programs.monitoring_programs(fetch=False)
    assert [one.label for one in found] == ["2.9.0-0.25.0", "2.53.1-0.27.0", "3.5.0-0.28.1"]
    assert found[1].promtool == str(machine / "promtool")


async def test_the_order_is_path_then_packages_then_compiling(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    kept = machine.parent / "cache" / "programs"

    async def packages(*_: object, **__: object) -> Path:
        asked.append("packages")
        if "2.42.0" not in offered:
            raise PackagesUnavailable("the distribution says no")
        put(kept / "packages" / "usr" / "bin", "2.42.0", "0.25.0", without=lacking)
        return kept / "packages"

    async def compiling(*_: object) -> Path:
        asked.append("compiling")
        put(kept / "modules", "3.15.0", "0.34.2")
        return kept / "modules"

    async def taken() -> list[str]:
        asked.clear()
        return [one.label for one in await programs.monitoring_programs(said.append)]

    said: list[str] = []
    monkeypatch.setattr(programs, "unpacked", packages)
    monkeypatch.setattr(programs, "compiled", compiling)

    offered, lacking = {"2.42.0"}, ""
    assert (await taken(), asked) == (["2.42.0-0.25.0"], ["packages"])
    assert (await taken(), asked) == (["2.42.0-0.25.0"], [])
    (kept / "packages" / "usr" / "bin" / "amtool").unlink()
    lacking = "amtool"
    assert (await taken(), asked) == (["3.15.0-0.34.2"], ["packages", "compiling"])
    assert "lack one of" in said[-1]
    assert (await taken(), asked) == (["3.15.0-0.34.2"], [])
    (kept / "modules" / "amtool").unlink()
    offered.clear()
    assert (await taken(), asked) == (["3.15.0-0.34.2"], ["packages", "compiling"])
    assert "the distribution says no" in said[-1]
    (kept / "modules" / "amtool").unlink()
    put(machine, "2.53.1", "0.27.0")
    assert (await taken(), asked) == (["2.53.1-0.27.0"], [])


@pytest.mark.parametrize(
    ("line", "module", "expected"),
    [
        ("github.com/prometheus/prometheus v0.315.0 // indirect", "prometheus", "3.15.0"),
        ("\tgithub.com/prometheus/prometheus v0.305.2\n", "prometheus", "3.5.2"),
        ("require github.com/prometheus/alertmanager v0.34.2\n", "alertmanager", "0.34.2"),
        ("require github.com/prometheus/alertmanager v1.0.0\n", "alertmanager", "1.0.0"),
    ],
)
def test_a_release_is_told_from_its_modules_version(line: str, module: str, expected: str) -> None:
    assert monitoring_modules.released(f"module x\n\n{line}\n", f"github.com/prometheus/{module}") == expected


def test_a_go_mod_without_a_release_is_refused() -> None:
    with pytest.raises(ValueError, match="no release"):
        monitoring_modules.released("require github.com/prometheus/prometheus v0.315.0-rc.0\n", "github.com/prometheus/prometheus")


async def test_what_is_compiled_is_found_from_then_on(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = machine.parent / "module"
    (module / "ui" / "app").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{machine}{os.pathsep}/usr/bin{os.pathsep}/bin")
    # Answers as Go does, and compiles programs that print the version that was stamped on them.
    (machine / "go").write_text(
        f"""#!/bin/sh
case "$1" in
env) printf 'go1.26.8\\nlinux\\namd64\\n' ;;
mod) printf '{{\\n\\t"Path": "%s",\\n\\t"Dir": "{module}"\\n}}\\n' "$4" ;;
list) printf 'a\\n' ;;
build)
  for word in "$@"; do
    case "$word" in *version.Version=*) version="${{word##*=}}" ;; esac
    [ "$before" = -o ] && target="$word"
    before="$word"
  done
  case "$word" in */alertmanager) test -s ../module/ui/app/dist/index.html && grep -q '=> ../module' go.mod || exit 1 ;; esac
  printf '#!/bin/sh\\necho %s, version %s\\n' "${{word##*/}}" "$version" > "$target"
esac
"""
    )
    (machine / "go").chmod(0o755)
    folder = await monitoring_modules.compiled(lambda name: lambda step: None)
    assert sorted(path.name for path in folder.iterdir()) == ["alertmanager", "amtool", "prometheus", "promtool"]
    (found,) = await programs.monitoring_programs(fetch=False)
    for module_path, version in (("prometheus", found.prometheus_version), ("alertmanager", found.alertmanager_version)):
        go_mod = (monitoring_modules.SOURCE / module_path / "go.mod").read_text()
        assert version == monitoring_modules.released(go_mod, f"github.com/prometheus/{module_path}")
    assert await monitoring_modules.compiled(lambda name: lambda step: None) == folder


def test_an_unpacked_alertmanager_reads_its_templates_below_its_folder(tmp_path: Path) -> None:
    packaged = tmp_path / "usr" / "bin" / "prometheus-alertmanager"
    packaged.parent.mkdir(parents=True)
    before = b"\x00/usr/share/prometheus/alertmanager3552/usr/share/prometheus/alertmanager/ui/\x00"
    packaged.write_bytes(before)
    programs._relocate(tmp_path)
    after = (packaged.parent / "alertmanager").read_bytes()
    assert after == b"\x00usr/share/prometheus/alertmanager/3552usr/share/prometheus/alertmanager//ui/\x00"
    assert len(after) == len(before)


@pytest.mark.parametrize(
    ("version", "lines"),
    [
        ("9.2p1", ()),
        ("9.7p1", ()),
        ("9.8p1", ("PerSourcePenalties no",)),
        ("10.0p2", ("PerSourcePenalties no",)),
        ("10.6", ("PerSourcePenalties no",)),
    ],
)
def test_an_sshd_that_knows_penalties_gives_none(version: str, lines: tuple[str, ...]) -> None:
    assert programs.without_penalties(version) == lines
