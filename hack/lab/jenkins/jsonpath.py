"""The part of JSONPath that hook variables use: `$`, `.name`, `['name']`, `[0]`, `[-1]`, `[*]`.

Anything else (filters, slices, `..`) raises UnknownPath that names it; the hook then answers 500, as when a job throws.
"""

from __future__ import annotations

import json
import re
from typing import Any

_STEP = re.compile(r"\.(?P<name>[A-Za-z0-9_-]+)|\['(?P<quoted>[^']*)'\]|\[(?P<index>-?\d+)\]|(?P<all>\[\*\]|\.\*)")


class UnknownPath(ValueError):
    """A JSONPath that the lab does not know."""


class NoMatch(LookupError):
    """The path leads nowhere in this document."""


def find(document: Any, path: str) -> Any:
    """The value at `path`; a list where the path holds a wildcard. Raises UnknownPath, NoMatch."""
    if not path.startswith("$"):
        raise UnknownPath(path)
    at, many, values = 1, False, [document]
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise UnknownPath(f"{path} at {path[at:]!r}")
        at = step.end()
        if step["all"]:
            many = True
            values = [child for value in values for child in _children(value)]
        elif step["index"]:
            values = [v[int(step["index"])] for v in values if _has_index(v, int(step["index"]))]
        else:
            name = step["name"] if step["quoted"] is None else step["quoted"]
            values = [v[name] for v in values if isinstance(v, dict) and name in v]
    if many:
        return values
    if not values:
        raise NoMatch(path)
    return values[0]


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _has_index(value: Any, index: int) -> bool:
    return isinstance(value, list) and -len(value) <= index < len(value)


def text(value: Any) -> str:
    """A value as the trigger writes it: strings bare, the rest as JSON, null as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def flatten(key: str, value: Any) -> dict[str, str]:
    """`key` itself and, for an object or list, one variable for each leaf: `alerts_0_labels_service`. Null leaves are skipped."""
    found = {key: text(value)} if value is not None else {}
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in pairs:
        found |= {k: v for k, v in flatten(f"{key}_{name}", child).items() if not isinstance(child, dict | list) or k != f"{key}_{name}"}
    return {re.sub(r"[\s-]", "_", name): content for name, content in found.items()}
