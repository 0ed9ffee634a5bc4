"""Collections and single objects as answers: $filter, $select, and the frame around items (facts/bigip.md "A lab BIG-IP must" 7)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import Json, config_error
from .routing import Call

_CLAUSE = re.compile(r"^\s*([\w.]+)\s+eq\s+(?:'([^']*)'|\"([^\"]*)\"|(\S+))\s*$")


def collection(call: Call, kind: str, path: str, items: Iterable[Json]) -> Json:
    """A collection; `items` is absent where there is none, as on the device. Raises ApiError 400 for an odd $filter."""
    frame: Json = {"kind": kind, "selfLink": call.link(path, keep_query=True)}
    if found := [_selected(call, item) for item in items if _matches(call, item)]:
        frame["items"] = found
    return frame


def single(call: Call, item: Json) -> Json:
    """One object, cut down to $select."""
    return _selected(call, item)


def expanded(call: Call) -> bool:
    """Whether ?expandSubcollections=true was asked for."""
    return call.query.get("expandSubcollections", "").lower() == "true"


def _matches(call: Call, item: Json) -> bool:
    text = call.query.get("$filter")
    if text is None:
        return True
    for clause in re.split(r"\s+and\s+", text):
        match = _CLAUSE.match(clause)
        if match is None:
            raise config_error(400, f"invalid filter expression: {text}")
        name, *values = match.groups()
        wanted = next(value for value in values if value is not None)
        if str(item.get(name)) != wanted:
            return False
    return True


def _selected(call: Call, item: Json) -> Json:
    text = call.query.get("$select")
    if text is None:
        return item
    wanted = {name.strip() for name in text.split(",")}
    return {key: value for key, value in item.items() if key in wanted}
