"""The resync: lists every kind and wakes what is there, so that a missed event costs one period at most; its heartbeat feeds liveness."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.iplease import IpLease
from vmscaler.api.meta import Resource
from vmscaler.api.scaleevent import EventPhase, ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.decide.retention import expired
from vmscaler.flows.context import Context
from vmscaler.ports.errors import OutsideError

KINDS: tuple[type[Resource[Any, Any]], ...] = (Site, VmTemplate, AutoscalingPolicy, ScaleOutEvent, VmInstance, IpLease)

log = structlog.get_logger()


async def resync_forever(ctx: Context, period: float, beat: Callable[[datetime], None]) -> None:
    """Wake everything each `period` seconds; `beat` is told of each complete round."""
    while True:
        try:
            await resync(ctx)
        except OutsideError as error:
            log.warning("resync incomplete", error=str(error))
        except Exception:  # a round that crashed ends the operator by its liveness, if the next ones do too
            log.exception("resync crashed")
        else:
            beat(ctx.clock.now())
        await ctx.clock.sleep(period)


async def resync(ctx: Context) -> None:
    """One round. A kind that cannot be listed (its CRD is gone) keeps no other from its turn. Raises the first such error, at the end."""
    errors: list[OutsideError] = []
    for kind in KINDS:
        try:
            await _wake_all(ctx, kind)
        except OutsideError as error:
            errors.append(error)
    if errors:
        raise errors[0]


async def _wake_all(ctx: Context, kind: type[Resource[Any, Any]]) -> None:
    """An event that is over and an instance that nobody deletes ask for nothing."""
    found = await ctx.kube.list_objects(kind)
    if kind is ScaleOutEvent:
        for event in expired([event for event in found if isinstance(event, ScaleOutEvent)], ctx.clock.now()):
            await ctx.kube.delete(event)
    for obj in found:
        if isinstance(obj, ScaleOutEvent) and obj.status.phase in (EventPhase.SUCCEEDED, EventPhase.FAILED, EventPhase.RUNNING):
            continue
        if isinstance(obj, VmInstance) and not obj.deleting:
            continue
        ctx.wake_object(obj)
