"""Words from outside on one line: for messages, conditions and a build's log. Called by the claim and by the adapters."""

from __future__ import annotations

from vmscaler.api.printable import printable


def plain(text: str, limit: int) -> str:
    """One line of at most `limit` characters; what is not printable is a blank, and blanks in a row are one."""
    shown = " ".join(printable(text[: limit * 4]).split())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"
