"""A subnet per run: held alone, released, and never where somebody listens (listeners are given: no socket here)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import subnet
from lab.process import PartError
from lab.subnet import Subnet


@pytest.fixture(autouse=True)
def own_runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(subnet, "listeners", lambda: iter([]))  # a lab beside this one may be where a test wants to be
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "vmscaler"


@pytest.fixture
def two_prefixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only 127.7.0.0/24 and 127.7.1.0/24 are there to be had, tried in turn."""
    draws = iter([7, 0, 7, 1] * 50)
    monkeypatch.setattr(subnet.random, "randint", lambda *_: next(draws))


def test_addresses_are_those_of_the_readme() -> None:
    with Subnet.take() as taken:
        prefix = taken.network.removesuffix(".0/24")
        assert prefix.startswith("127.") and not prefix.startswith("127.0.")
        assert taken.vip == f"{prefix}.10"
        assert taken.vms == (f"{prefix}.20", f"{prefix}.21")
        assert (taken.range_start, taken.range_end) == (f"{prefix}.100", f"{prefix}.119")
        assert taken.infrastructure == taken.address(1)


@pytest.mark.parametrize("n", [-1, 0, 255, 256])
def test_only_host_addresses(n: int) -> None:
    with pytest.raises(ValueError, match="no host address"):
        Subnet("127.3.4.0/24").address(n)


@pytest.mark.parametrize("network", ["10.0.0.0/24", "127.3.0.0/16", "127.3.4.1/24"])
def test_only_a_24_of_loopback(network: str) -> None:
    with pytest.raises(ValueError):
        Subnet(network)


@pytest.mark.usefixtures("two_prefixes")
def test_two_runs_never_share_one_and_a_released_one_comes_back() -> None:
    with Subnet.take() as first, Subnet.take() as second:
        assert {first.network, second.network} == {"127.7.0.0/24", "127.7.1.0/24"}
        with pytest.raises(PartError, match="no free"):
            Subnet.take(tries=10)
        first.release()
        with Subnet.take() as third:
            assert third.network == first.network


@pytest.mark.usefixtures("two_prefixes")
def test_another_process_respects_the_lock_and_its_end_releases_it(own_runtime_dir: Path) -> None:
    code = (
        "import sys; from lab.subnet import _locked; from pathlib import Path; "
        "print(_locked(Path(sys.argv[1])), flush=True); sys.stdin.read()"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(subnet.__file__).parent.parent)}
    lock = subnet.runtime_dir() / "127.7.0.lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline().strip() != "None"
        with Subnet.take() as taken:
            assert taken.network == "127.7.1.0/24"
        other.kill()
    with Subnet.take(tries=2) as taken:
        assert taken.network == "127.7.0.0/24"
    assert list(own_runtime_dir.iterdir()) == []


@pytest.mark.usefixtures("two_prefixes")
def test_not_where_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subnet, "listeners", lambda: iter([("127.7.0.44", 80)]))
    with Subnet.take() as taken:
        assert taken.network == "127.7.1.0/24"


def test_a_port_held_on_every_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subnet, "listeners", lambda: iter([("0.0.0.0", 8080), ("127.7.0.44", 9100)]))
    with pytest.raises(PartError, match="port 8080"):
        Subnet.take(ports=(8080, 9100))
    Subnet.take(ports=(9100,)).release()


def test_a_runtime_folder_of_somebody_else_is_refused(own_runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subnet.runtime_dir()
    monkeypatch.setattr(subnet.os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(PartError, match="not a folder of this user"):
        subnet.runtime_dir()
    assert own_runtime_dir.is_dir()


@pytest.mark.skipif(sys.byteorder != "little", reason="the samples are from a little-endian machine")
@pytest.mark.parametrize(
    ("printed", "found"),
    [
        ("0100007F:1F90", ("127.0.0.1", 8080)),
        ("00000000:0016", ("0.0.0.0", 22)),
        ("00000000000000000000000000000000:1F90", ("0.0.0.0", 8080)),
        ("0000000000000000FFFF00000100047F:1F90", ("127.4.0.1", 8080)),
        ("00000000000000000000000001000000:1F90", None),
    ],
)
def test_the_kernels_table_is_read(printed: str, found: tuple[str, int] | None) -> None:
    assert subnet._ipv4(printed) == found
