"""The folder of a data centre that a person started: who holds it, what runs there, how to find it again.

Called by `lab.serve` (which holds it) and by the commands that find what it wrote (`lab.attached`, the demo, `python -m lab`).

    <folder>/state.json      what runs: see `lab.serve` (0600: it holds the lab's own Jenkins token)
    <folder>/kubeconfig      of the cluster, as administrator (0600)
    <folder>/manifests/      deploy/samples as rendered for this run
    <folder>/people/         the two YAML files as people wrote them, before the operator came
    <folder>/logs/           one for each part
    <folder>.log             what `lab.serve` itself says in the background
    <folder>.lock            held by `lab.serve` as long as it lives
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

from lab.process import PartError

DEFAULT = Path(__file__).resolve().parents[2] / ".lab" / "demo"
_MARK = ".vmscaler-lab"


# struct flock of Linux: l_type, l_whence, l_start, l_len, l_pid. Of a lock of an open file F_OFD_GETLK does not tell the process; so as many bytes are
# locked as its id says. Who asks takes nothing, so that two who ask at once, or one who asks while another takes the folder, do not mistake each
# other for its holder; and there is no moment in which the id of an earlier holder stands there.
_FLOCK = struct.Struct("hhqqi0q")


def _flock(kind: int, length: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, 0, length, 0)


class Home:
    """One such folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._lock_path = self.folder.with_name(self.folder.name + ".lock")
        self._state_path = self.folder / "state.json"
        self._lock: int | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"

    @property
    def manifests(self) -> Path:
        """The samples of this run."""
        return self.folder / "manifests"

    @property
    def people(self) -> Path:
        """What people wrote, as it was."""
        return self.folder / "people"

    @property
    def log(self) -> Path:
        """What the process in the background says."""
        return self.folder.with_name(self.folder.name + ".log")

    def hold(self) -> None:
        """Take the folder and empty it. Raises PartError when another process has it, or when it is not one of ours."""
        self._lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, os.getpid()))
        except BlockingIOError:
            os.close(lock)
            raise PartError(f"a data centre runs already in {self.folder}: stop it first (make demo-stop)") from None
        try:
            self._empty()
        except PartError:
            os.close(lock)  # and no more: a state.json there is somebody's own
            raise
        self._lock = lock

    def _empty(self) -> None:
        if self.folder.exists() and any(self.folder.iterdir()):
            if not (self.folder / _MARK).exists():
                raise PartError(f"{self.folder} holds something that is not a data centre's: choose another folder")
            for path in self.folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        (self.folder / _MARK).touch()

    def release(self) -> None:
        """Let go; the logs stay."""
        self._state_path.unlink(missing_ok=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def holder(self) -> int | None:
        """The process that has the folder now; None when nobody has."""
        try:
            lock = os.open(self._lock_path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            kind, _, _, length, *_ = _FLOCK.unpack(fcntl.fcntl(lock, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, 1)))
        finally:
            os.close(lock)
        return None if kind == fcntl.F_UNLCK else length

    def write(self, state: dict[str, Any]) -> None:
        """Put the state, with the holder's `pid`, in place of the last one."""
        fd, name = tempfile.mkstemp(dir=self.folder, prefix=".state-")  # 0600
        with os.fdopen(fd, "w") as file:
            json.dump(state, file, indent=1)
        Path(name).rename(self._state_path)

    def read(self) -> dict[str, Any]:
        """What runs. Raises PartError when nothing does, or not yet."""
        holder = self.holder()
        if holder is None:
            raise PartError(f"no data centre runs in {self.folder}: start one with `make demo KEEP=1` or `hack/labctl up`")
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = json.loads(self._state_path.read_text())
            if found["pid"] == holder:  # else it is that of one which was killed, and goes in a moment
                return found
        raise PartError(f"the data centre in {self.folder} is still starting; see {self.log}")

    def wait_free(self, deadline: float) -> bool:
        """Whether nobody holds it, at the latest after `deadline` seconds."""
        end = time.monotonic() + deadline
        while self.holder() is not None:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True
