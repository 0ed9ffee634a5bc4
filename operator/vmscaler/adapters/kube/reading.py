"""From the API server's JSON to our models. An object that a model does not take was stored under another version's rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import structlog
from pydantic import ValidationError

from vmscaler.adapters.kube.answers import SYSTEM
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.meta import Json, Resource
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.ports.errors import Rejected

R = TypeVar("R", bound=Resource[Any, Any])

# One of a tenant's that cannot be read must not stop what others have. Of all else an absent one would count as "none".
LEFT_OUT: tuple[type[Resource[Any, Any]], ...] = (AutoscalingPolicy, VmTemplate)

log = structlog.get_logger()


def parsed(kind: type[R], body: Json) -> R:
    """The object. Raises Rejected(ObjectUnreadable), which says where it is wrong and not what it holds."""
    try:
        return kind.parse(body)
    except ValidationError as error:
        metadata = body.get("metadata") or {}
        called = "/".join(str(part) for part in (metadata.get("namespace"), metadata.get("name")) if part)
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Rejected(SYSTEM, "ObjectUnreadable", f"{kind.KIND} {called} cannot be read ({where}: {first['msg']}): correct it") from None


def parsed_list(kind: type[R], bodies: Iterable[Json]) -> list[R]:
    """The objects; of policies and templates those that can be read. Raises Rejected(ObjectUnreadable) for the other kinds."""
    found = []
    for body in bodies:
        try:
            found.append(parsed(kind, body))
        except Rejected as error:
            if kind not in LEFT_OUT:
                raise
            log.warning("left out of a list", kind=kind.KIND, reason=error.reason, error=str(error))
    return found
