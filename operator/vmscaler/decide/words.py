"""Words from outside, made fit to be shown: on a terminal, in a status, in a build's log. Called by the claim."""

from __future__ import annotations


def plain(text: str, limit: int) -> str:
    """One line of at most `limit` characters. What is not printable (control characters, bidi overrides, lone surrogates) is a blank."""
    shown = "".join(character if character.isprintable() else " " for character in text[: limit * 4])
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"
