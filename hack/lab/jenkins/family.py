"""The processes of a step: which they are, and how they are ended, in the order of Jenkins' ProcessTree. Called by the agent, in its own process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

_LEAVES_S = 30.0
_KILL_S = 30.0  # the controller waits a little longer
wrappers: set[int] = set()
"""Children that are asyncio's to collect."""


def processes() -> list[int]:
    """All process ids, ascending."""
    return sorted(int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for pid in processes():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            found.setdefault(int(fields[1]), []).append(pid)
    return found


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _state(pid: int) -> str:
    """R runs or is about to, S waits, T is stopped, Z is dead; "" is gone (proc(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def lives(pid: int) -> bool:
    return _state(pid) not in ("", "Z")


def family(cookie: str) -> list[int]:
    """The processes of one step, ascending."""
    return [pid for pid in processes() if belongs(pid, cookie) and lives(pid)]


def belongs(pid: int, cookie: str) -> bool:
    return f"JENKINS_SERVER_COOKIE={cookie}".encode() in _environment(pid)


async def term_tree(pid: int, patience: float) -> None:
    children = _children().get(pid, [])
    for child in children:
        await term_tree(child, patience)
    if children and not any(map(_exists, children)):
        await _leaves(pid)
    if not lives(pid):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    await _gone(pid, patience)


async def _leaves(pid: int) -> None:
    """A shell whose command was ended is on its way out, however long this machine takes to let it: a TERM now would run its trap.

    Returns when it is gone, or does something else: it has another child, or waits.
    """
    deadline, waits = asyncio.get_running_loop().time() + _LEAVES_S, 0
    while lives(pid) and not _children().get(pid) and waits < 3 and asyncio.get_running_loop().time() < deadline:
        waits = waits + 1 if _state(pid) == "S" else 0
        await asyncio.sleep(0.01)


async def _gone(pid: int, patience: float) -> None:
    """Wait until the process has ended and its parent has seen it, for `patience` seconds at most."""
    deadline, pause = asyncio.get_running_loop().time() + patience, 0.01
    while asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(pause)
        reap_orphans()
        if not _exists(pid):
            return
        pause = min(pause * 2, 0.5)


def reap_orphans() -> None:
    """Collect dead processes that fell to us (we are the subreaper); the wrappers are asyncio's to collect."""
    for pid in _children().get(os.getpid(), []):
        if pid not in wrappers and not lives(pid):
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)


def kill_all() -> None:
    """KILL everything that descends from here, and wait until it is dead: on a busy machine that takes a while."""
    deadline = time.monotonic() + _KILL_S
    while time.monotonic() < deadline:
        tree, queue, doomed = _children(), [os.getpid()], []
        while queue:
            below = tree.get(queue.pop(), [])
            doomed += below
            queue += below
        if not doomed:
            return
        for pid in doomed:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
