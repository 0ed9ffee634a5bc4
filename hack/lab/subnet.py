"""A 127.a.b.0/24 for each run of the lab, so that tests run beside a kept demo.

Called by `lab.datacentre` and the contract tests; parts get addresses as strings in their configs. Every address of
127.0.0.0/8 is local on Linux with nothing to set up, so "taken" means: a lock of ours on a file named after the subnet
(among runs of one user), and no listener there (among users).
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import random
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.process import PartError

RANGE_START, RANGE_END = 100, 119
VIP, VMS = 10, (20, 21)
_TCP_LISTEN = "0A"


def runtime_dir() -> Path:
    """A folder of this user's for locks: $XDG_RUNTIME_DIR/vmscaler, else vmscaler-<uid> in the temporary folder.

    Raises PartError when somebody else owns it (the temporary folder is everybody's)."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    usable = base is not None and os.access(base, os.W_OK)
    path = Path(base) / "vmscaler" if base and usable else Path(tempfile.gettempdir()) / f"vmscaler-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PartError(f"{path} is not a folder of this user's; remove it or set XDG_RUNTIME_DIR")
    return path


def listeners() -> Iterator[tuple[str, int]]:
    """Every listening TCP socket of this machine that IPv4 can reach, as (address, port), from /proc/net (proc(5)).

    One at "::" serves IPv4 too (as Java and Go programs do) and is told as 0.0.0.0."""
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            fields = line.split()
            if fields[3] == _TCP_LISTEN and (found := _ipv4(fields[1])):
                yield found


def _ipv4(local: str) -> tuple[str, int] | None:
    """ "0100007F:1F90" -> ("127.0.0.1", 8080); None for a plain IPv6 address. The kernel prints words in host order."""
    printed, port = local.split(":")
    words = [int(printed[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(printed), 8)]
    if len(words) == 4:
        address = ipaddress.IPv6Address(b"".join(words))
        if address.ipv4_mapped is None:
            return ("0.0.0.0", int(port, 16)) if int(address) == 0 else None
    return str(ipaddress.IPv4Address(words[-1])), int(port, 16)


def everywhere(ports: Iterable[int]) -> list[int]:
    """Those of `ports` that some program listens on at 0.0.0.0: no address of any subnet can use them."""
    return sorted({port for address, port in listeners() if address == "0.0.0.0"} & set(ports))


class Subnet:
    """One 127.a.b.0/24: the addresses that README.md names and, if made by `take`, the hold on it until `release`."""

    def __init__(self, network: str, *, lock: int | None = None, lock_path: Path | None = None) -> None:
        """`network` as in "127.3.4.0/24". Raises ValueError if it is not a /24 within 127.0.0.0/8."""
        self._network = ipaddress.IPv4Network(network)
        if self._network.prefixlen != 24 or not self._network.subnet_of(ipaddress.IPv4Network("127.0.0.0/8")):
            raise ValueError(f"{network} is not a /24 of 127.0.0.0/8")
        self._lock = lock
        self._lock_path = lock_path

    @classmethod
    def take(cls, ports: Iterable[int] = (), *, tries: int = 200) -> Subnet:
        """Hold a subnet that nobody uses until `release` or the end of this process (children do not inherit the hold).

        `ports` are those that the run needs at addresses of its subnet. Raises PartError when a program holds one of
        them on every address, or when no subnet was free in `tries` tries."""
        if busy := everywhere(ports):
            raise PartError(f"port {busy[0]}, which the lab needs, is in use on every address: stop that program first")
        used = {address.rsplit(".", 1)[0] for address, _ in listeners()}
        folder = runtime_dir()
        for _ in range(tries):
            # 127.0.0.0/16 is where other programs' loopback habits live (resolvers at 127.0.0.53, Debian's 127.0.1.1).
            prefix = f"127.{random.randint(1, 254)}.{random.randint(0, 255)}"  # no secret
            path = folder / f"{prefix}.lock"
            if prefix in used or (lock := _locked(path)) is None:
                continue
            return cls(f"{prefix}.0/24", lock=lock, lock_path=path)
        raise PartError(f"no free 127.a.b.0/24 in {tries} tries; locks are in {folder}")

    def release(self) -> None:
        """Let go; harmless if done before."""
        lock, self._lock = self._lock, None
        if lock is not None:
            if self._lock_path is not None:
                self._lock_path.unlink(missing_ok=True)
            os.close(lock)

    def address(self, n: int) -> str:
        """The address whose last part is `n`. Raises ValueError outside 1-254 (.0 and .255 are not hosts)."""
        if not 1 <= n <= 254:
            raise ValueError(f"no host address .{n} in {self._network}")
        return str(self._network.network_address + n)

    @property
    def network(self) -> str:
        """As in "127.3.4.0/24"."""
        return str(self._network)

    @property
    def infrastructure(self) -> str:
        """Where the lab's own servers are: .1."""
        return self.address(1)

    @property
    def gateway(self) -> str:
        """What the Site calls the network's gateway: .254 (nothing is there; routing on loopback needs none)."""
        return self.address(254)

    @property
    def vip(self) -> str:
        """The virtual server: .10."""
        return self.address(VIP)

    @property
    def vms(self) -> tuple[str, str]:
        """The two hand-made VMs: .20 and .21."""
        return self.address(VMS[0]), self.address(VMS[1])

    @property
    def range_start(self) -> str:
        """The first address for new VMs: .100."""
        return self.address(RANGE_START)

    @property
    def range_end(self) -> str:
        """The last address for new VMs: .119."""
        return self.address(RANGE_END)

    def __enter__(self) -> Subnet:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"Subnet({self.network!r}{', held' if self._lock is not None else ''})"


def _locked(path: Path) -> int | None:
    """An exclusive lock on `path` as an open file, or None where another run has it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The run that held it may have removed the file between our open and our lock: then a third run would make a
        # new one and lock that too.
        if os.fstat(lock).st_ino == path.stat().st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None
