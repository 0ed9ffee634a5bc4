"""Our own small documents as YAML text: block style, every string double-quoted and escaped.

Called by `decide.splice` (blocks in people's files) and by adapters/monitoring_host (files of our own). Nothing is pasted:
the text is made from data, and a string can only ever become a double-quoted scalar.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_PLAIN_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_NOT_KEYS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})  # words of YAML 1.1
_SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(value: str) -> str:
    """A double-quoted scalar; also a valid string of Go and so of PromQL and of Alertmanager's matchers.

    Everything unprintable is escaped by its number (bidirectional overrides too). Raises ValueError for half of a
    surrogate pair, which is no character.
    """
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if char.isprintable():
        return char
    number = ord(char)
    if 0xD800 <= number <= 0xDFFF:
        raise ValueError("the string holds half of a surrogate pair, which is no character: remove it")
    if number < 0x80:
        return f"\\x{number:02x}"  # not above: in Go \x is a byte, in YAML a character
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def item_lines(document: object, column: int) -> list[str]:
    """One item of a block sequence whose dash is at `column`, as lines without their ends."""
    lines = value_lines(document, column + 2)
    return [" " * column + "- " + lines[0].lstrip(" "), *lines[1:]]


def value_lines(document: object, column: int) -> list[str]:
    """A mapping, list or scalar in block style at `column`. Raises TypeError for what is none of them."""
    margin = " " * column
    if isinstance(document, Mapping) and document:
        lines = []
        for key, value in document.items():
            lines += _entry_lines(margin + _key(key) + ":", value, column)
        return lines
    if _is_list(document) and document:
        return [line for item in document for line in item_lines(item, column)]  # type: ignore[attr-defined]
    return [margin + _scalar(document)]


def text(document: object) -> str:
    """A whole file."""
    return "\n".join(value_lines(document, 0)) + "\n"


def _entry_lines(key: str, value: object, column: int) -> list[str]:
    if (isinstance(value, Mapping) or _is_list(value)) and value:
        return [key, *value_lines(value, column + 2)]
    return [f"{key} {_scalar(value)}"]


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key must be a string, not {type(key).__name__}")
    return key if _PLAIN_KEY.match(key) and key.lower() not in _NOT_KEYS else quoted(key)


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "{}"
    if _is_list(value):
        return "[]"
    raise TypeError(f"{type(value).__name__} has no place in our YAML")
