"""Which Prometheus the lab takes, what it says when there is none, and what is done to an unpacked Alertmanager."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import programs
from lab.debs import PackagesUnavailable
from lab.process import PartError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing on PATH, an empty cache, and no packages to be had; gives the folder of PATH."""

    async def unavailable(*_: object, **__: object) -> Path:
        raise PackagesUnavailable("no apt in this test")

    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("VMSCALER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(programs, "unpacked", unavailable)
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
    with pytest.raises(PartError, match="packages are prometheus and prometheus-alertmanager"):
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


def test_an_unpacked_alertmanager_reads_its_templates_below_its_folder(tmp_path: Path) -> None:
    packaged = tmp_path / "usr" / "bin" / "prometheus-alertmanager"
    packaged.parent.mkdir(parents=True)
    before = b"\x00/usr/share/prometheus/alertmanager3552/usr/share/prometheus/alertmanager/ui/\x00"
    packaged.write_bytes(before)
    programs._relocate(tmp_path)
    after = (packaged.parent / "alertmanager").read_bytes()
    assert after == b"\x00usr/share/prometheus/alertmanager/3552usr/share/prometheus/alertmanager//ui/\x00"
    assert len(after) == len(before)
