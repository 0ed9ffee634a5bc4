"""A build's log on disk, with the hidden marks of a real one, and how it is read (recordings/jenkins/03).

`[Pipeline]` lines and the first line carry a console note (ESC[8mha:////...ESC[0m) in the file; they are not shown but count in X-Text-Size, so
that a reader who takes the size for a number of visible characters fails here as there.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

_NOTE = re.compile(rb"\x1b\[8mha:////[A-Za-z0-9+/=]*\x1b\[0m")


def _note(text: str) -> bytes:
    seed = b"".join(hashlib.sha256(f"{n}{text}".encode()).digest() for n in range(4))
    return b"\x1b[8mha:////" + base64.b64encode(seed) + b"\x1b[0m"


class Console:
    """The log of one build; lines are written as they come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def mark(self, line: str) -> None:
        """A line of Jenkins' own, with a console note."""
        self._file.write(_note(line) + line.encode() + b"\n")

    def step(self, text: str) -> None:
        """`[Pipeline] text`."""
        self.mark(f"[Pipeline] {text}")

    def line(self, text: str) -> None:
        """A line without a note."""
        self.write(text + "\n")

    def write(self, text: str) -> None:
        """Text as it comes from a process (lone surrogates stand for bytes that are no UTF-8)."""
        self._file.write(text.encode("utf-8", "surrogateescape"))

    def close(self) -> None:
        """No more will be written."""
        self._file.close()


def visible(raw: bytes) -> bytes:
    """Without the console notes."""
    return _NOTE.sub(b"", raw)


def read_all(path: Path) -> bytes:
    """consoleText."""
    return visible(path.read_bytes()) if path.exists() else b""


def read_from(path: Path, start: int) -> tuple[bytes, int]:
    """progressiveText: what is visible from byte `start`, and the size to start from next. Beyond the end it is the whole log again."""
    raw = path.read_bytes() if path.exists() else b""
    if not 0 <= start <= len(raw):
        start = 0
    return visible(raw[start:]), len(raw)
