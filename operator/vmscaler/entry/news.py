"""Which events of a watch say something new: a status that only we write need not wake us. Called by `handlers` for each event.

Without this each reconcile would lead to a second one, by its own writes; and one whose message differs each time (a proxy's page
with an id of the request in it) to one more without end. What is missed here by somebody's hand in a status, or in a finalizer, the
resync finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.site import Site
from vmscaler.api.vmtemplate import VmTemplate

# Of these kinds a change of status asks for nothing: whoever makes one that does, wakes the object by name.
STATUS_IS_OURS = frozenset({Site.KIND, VmTemplate.KIND, AutoscalingPolicy.KIND})


class News:
    """Remembers of each object what people can change. Losing it costs one look per object."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str | None, str], tuple[object, ...]] = {}

    def __call__(self, kind: str, body: Mapping[str, Any], type_: str | None) -> bool:
        """Whether the object is to be looked at. `type_` is the watch's: ADDED, MODIFIED, DELETED, or None for one that was listed."""
        if kind not in STATUS_IS_OURS:
            return True
        meta = body.get("metadata", {})
        key = (kind, meta.get("namespace"), meta.get("name", ""))
        if type_ == "DELETED":
            self._seen.pop(key, None)
            return True
        texts = (tuple(sorted((meta.get(part) or {}).items())) for part in ("labels", "annotations"))
        now = (meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"), *texts)
        if self._seen.get(key) == now:
            return False
        self._seen[key] = now
        return True
