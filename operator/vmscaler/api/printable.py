"""What others wrote, made fit to be kept and shown. Called by `vmscaler.api.meta` for statuses, and by all that tells of the outside."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with a blank in place of each character that is not printable, of the same length.

    Control characters (an escape sequence would act on a terminal), line ends, bidi overrides, invisible joiners, lone surrogates.
    """
    return text if text.isprintable() else "".join(character if character.isprintable() else " " for character in text)
