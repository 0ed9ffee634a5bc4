"""What is common to the writes of all objects: identity that a body repeats, the properties that may be set, the switches."""

from __future__ import annotations

from .errors import Json, config_error, invalid_value

IDENTITY = frozenset({"kind", "name", "partition", "subPath", "fullPath", "generation", "selfLink"})
COMMON = frozenset({"description", "metadata", "appService", "tmPartition"})
SESSIONS = ("user-enabled", "user-disabled")
STATES = ("user-up", "user-down")


def settable(body: Json, known: frozenset[str], ignored: frozenset[str] = frozenset()) -> Json:
    """The properties of `body` to set. Raises ApiError 400 for one that the object does not have, and for an empty body."""
    if not body:
        raise config_error(400, "one or more properties must be specified")
    wanted = {}
    for name, value in body.items():
        if name in IDENTITY or name in ignored or name.endswith("Reference"):
            continue
        if name not in known and name not in COMMON:
            raise config_error(400, f'"{name}" unknown property', api_error=26214401)
        wanted[name] = _metadata(value) if name == "metadata" else value
    return wanted


def session_and_state(wanted: Json, session: str, state: str) -> tuple[str, str]:
    """Take session and state out of `wanted`, else keep what is. Raises ApiError 400 for what can only be read ("up")."""
    for name, allowed in (("session", SESSIONS), ("state", STATES)):
        if name in wanted and wanted[name] not in allowed:
            raise invalid_value(name, wanted[name])
    return str(wanted.pop("session", session)), str(wanted.pop("state", state))


def _metadata(value: object) -> object:
    if not isinstance(value, list):
        raise invalid_value("metadata", value)
    return [{"persist": "true", **item} if isinstance(item, dict) else {"name": str(item), "persist": "true"} for item in value]
