"""Where the lab keeps what is made once: built binaries and unpacked tools.

Called by `lab.gobuild`, `lab.gotoolchain` and the parts that fetch tools.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path


def cache_dir() -> Path:
    """`$VMSCALER_CACHE`, else `$XDG_CACHE_HOME/vmscaler`, else `~/.cache/vmscaler`; made (0700) if it is not there."""
    if own := os.environ.get("VMSCALER_CACHE"):
        folder = Path(own)
    elif xdg := os.environ.get("XDG_CACHE_HOME"):
        folder = Path(xdg) / "vmscaler"
    else:
        folder = Path.home() / ".cache" / "vmscaler"
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextlib.asynccontextmanager
async def locked(path: Path, *, waiting: Callable[[], None] | None = None, every: float = 0.2) -> AsyncIterator[None]:
    """Hold an exclusive flock on `path` (made if missing), so that two runs on one machine make a thing once.

    The kernel lets go of it when the holder dies. `waiting` is called before each pause of `every` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waiting is not None:
                    waiting()
                await asyncio.sleep(every)
        yield
    finally:
        os.close(fd)
