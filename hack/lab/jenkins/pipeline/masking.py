"""What the credentials binding hides in a log, and what it does not (proven/README.md section 3)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable

MASK = "****"
_SHORTEST = 3  # a secret of two characters was shown


def pattern(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """What is replaced by `****`: the value, its shell-quoted form, and base64 of it at each of three offsets; None when there is nothing."""
    forms: set[str] = set()
    for secret in secrets:
        if len(secret) < _SHORTEST:
            continue
        forms |= {secret, secret.replace("'", "'\\''"), secret.replace("'", "'\"'\"'")}
        for shift in ("", "a", "aa"):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                # The first characters depend on what stands before; they stay visible.
                encoded = encode((shift + secret).encode()).decode()[2 * len(shift) :]
                forms |= {encoded, encoded.rstrip("=")}
    if not forms:
        return None
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))


class MaskedWriter:
    """Masks line by line, so that a secret with a line end in it is not found, as measured."""

    def __init__(self, write: Callable[[str], None], masks: re.Pattern[str] | None) -> None:
        self._write = write
        self._masks = masks
        self._rest = ""

    def write(self, text: str) -> None:
        """Pass on what is complete."""
        whole, end, self._rest = (self._rest + text).rpartition("\n")
        if end:
            self._write("\n".join(self._masked(line) for line in whole.split("\n")) + "\n")

    def flush(self) -> None:
        """Pass on a last line without its end; Jenkins ends it."""
        if self._rest:
            self._write(self._masked(self._rest) + "\n")
        self._rest = ""

    def _masked(self, line: str) -> str:
        return self._masks.sub(MASK, line) if self._masks else line
