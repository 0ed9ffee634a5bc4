"""Compare before you patch: a status is written only where it differs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

from vmscaler.api.meta import Json, Resource
from vmscaler.flows.context import Context

R = TypeVar("R", bound=Resource[Any, Any])


def difference(old: Json, new: Json, fields: frozenset[str] | None = None) -> Json:
    """A merge patch (RFC 7386) from old to new for these top-level fields; objects are merged key by key, removed keys become null."""
    patch: Json = {}
    for key in sorted(set(old) | set(new)):
        if fields is not None and key not in fields:
            continue
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            patch[key] = difference(before, after)
        else:
            patch[key] = after
    return patch


async def write_status(ctx: Context, obj: R, *, fields: frozenset[str] | None = None, base: R, expect: str | None = None) -> R:
    """Write obj.status where it differs from base.status (only these fields, on the wire's names). Returns what is there now.

    Raises what Kube.patch_status raises.
    """
    patch = difference(base.status.wire(), obj.status.wire(), fields)
    if not patch:
        return obj
    return await ctx.kube.patch_status(base, patch, expect=expect)


async def ensure_status(ctx: Context, obj: R, patch: Json) -> R:
    """Merge-patch the status where the patch changes something of it: asked again after a crash, the same is not written twice.

    Raises what Kube.patch_status raises.
    """
    before = obj.status.wire()
    if merged(before, patch) == before:
        return obj
    return await ctx.kube.patch_status(obj, patch)


def merged(target: Json, patch: Json) -> Json:
    """RFC 7386, without the keys that the patch sets to null."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = merged(old if isinstance(old, dict) else {}, value)
        else:
            result[key] = value
    return result


def rfc3339(when: datetime) -> str:
    """As the API server's own times: UTC with a Z."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")
