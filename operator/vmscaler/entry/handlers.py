"""kopf's part: it watches, we are woken. Each event that says something new puts a key into the work queue; nothing else happens here.

No handler patches anything, so none of kopf's progress, diffs or finalizers are used: all state is in our own status fields, and a
failed PATCH of kopf's cannot lose work (facts of kopf, "Work is lost after a failed PATCH").
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import kopf

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.iplease import IpLease
from vmscaler.api.meta import GROUP, VERSION
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.entry.news import News

Wake = Callable[[str, str | None, str], None]

WATCHED = (Site, VmTemplate, AutoscalingPolicy, ScaleOutEvent, VmInstance, IpLease)


class EndlessBackoffs:
    """kopf iterates this anew for each request: 0.5 s doubling to 30 s, for ever, so that no outage of the API server ends a watch."""

    def __iter__(self) -> Any:
        pause = 0.5
        while True:
            yield pause
            pause = min(30.0, pause * 2)


def make_registry(wake: Wake, connection: Callable[[], Awaitable[kopf.ConnectionInfo]]) -> kopf.OperatorRegistry:
    """Watch handlers for all kinds, and the login with the operator's own credentials."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await connection()

    news = News()
    for kind in WATCHED:
        _watch(registry, wake, news, kind.KIND, kind.PLURAL)
    return registry


def _watch(registry: kopf.OperatorRegistry, wake: Wake, news: News, kind: str, plural: str) -> None:
    @kopf.on.event(GROUP, VERSION, plural, registry=registry)
    def seen(name: str | None, namespace: str | None, body: kopf.Body, type: str | None, **_: Any) -> None:
        if not name or not news(kind, body, type):
            return
        wake(kind, namespace, name)
        if type == "DELETED" and kind == VmInstance.KIND:
            event = body.get("spec", {}).get("eventRef", {}).get("name")
            if event:
                wake(ScaleOutEvent.KIND, namespace, event)


def make_settings() -> kopf.OperatorSettings:
    """kopf's settings: the facts' "Settings and patterns"."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.posting.level = logging.WARNING
    settings.scanning.disabled = True
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.watching.server_timeout = 600
    settings.watching.client_timeout = 660
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500  # else a list of thousands of objects is one answer
    settings.execution.max_workers = 4
    return settings
