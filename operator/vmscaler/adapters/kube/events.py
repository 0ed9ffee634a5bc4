"""core/v1 Events about our objects: what `kubectl describe` and `kubectl get events` show.

The name is made from what is said, so that the same said again is one Event with a higher count, also after a restart. An object
without a namespace has its Events in `default`, where kubectl looks for them.
"""

from __future__ import annotations

import hashlib
from typing import Any

import structlog

from vmscaler.adapters.kube.answers import SYSTEM
from vmscaler.adapters.kube.rest import MERGE_PATCH, Rest, segment
from vmscaler.api.meta import API_VERSION, Json, Resource
from vmscaler.decide.words import plain
from vmscaler.ports.clock import Clock
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Conflict, OutsideError

_LONGEST_MESSAGE = 1024
_LONGEST_REASON = 128
_log = structlog.get_logger()


class EventRecorder:
    """Writes Events; what goes wrong is logged and forgotten, because nothing depends on an Event."""

    def __init__(self, rest: Rest, effects: Effects, clock: Clock) -> None:
        self._rest = rest
        self._effects = effects
        self._clock = clock

    async def emit(self, obj: Resource[Any, Any], type_: str, reason: str, message: str) -> None:
        """See `Kube.emit`."""
        try:
            event = self._event(obj, type_, reason, message)
            await self._effects.write(SYSTEM, "event.emit", event["metadata"]["name"], lambda: self._put(event))
        except OutsideError as error:
            _log.warning("event not recorded", kind=obj.KIND, object=obj.key, reason=reason, error=str(error))

    async def _put(self, event: Json) -> None:
        path = f"/api/v1/namespaces/{segment(event['metadata']['namespace'])}/events"
        try:
            await self._rest.call("POST", path, body=event)
        except Conflict:
            path = f"{path}/{segment(event['metadata']['name'])}"
            count = int((await self._rest.call("GET", path)).get("count") or 1)
            again = {"count": count + 1, "lastTimestamp": event["lastTimestamp"]}
            await self._rest.call("PATCH", path, body=again, content_type=MERGE_PATCH)

    def _event(self, obj: Resource[Any, Any], type_: str, reason: str, message: str) -> Json:
        message = plain(message, _LONGEST_MESSAGE)
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        namespace = obj.metadata.namespace or "default"
        digest = hashlib.sha256("\x00".join((obj.uid, type_, reason, message)).encode()).hexdigest()[:16]
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{obj.metadata.name[:200].rstrip('.-')}.{digest}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": obj.KIND,
                "name": obj.metadata.name,
                **({"namespace": obj.metadata.namespace} if obj.metadata.namespace else {}),
                "uid": obj.uid,
                "resourceVersion": obj.metadata.resource_version or "",
            },
            "type": type_,
            "reason": reason[:_LONGEST_REASON],
            "message": message,
            "source": {"component": "vmscaler"},
            "reportingComponent": "vmscaler",
            "reportingInstance": "",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
