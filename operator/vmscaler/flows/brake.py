"""Holds the clean-up of instances that many at once are deleted of without a decision of ours. Called by `flows.instance` before it begins."""

from __future__ import annotations

from typing import Any, TypeVar

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.meta import FINALIZER, Resource
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.api.vminstance import VmInstance
from vmscaler.decide.brake import held
from vmscaler.flows.context import Context
from vmscaler.ports.errors import OutsideError, Retryable

R = TypeVar("R", bound=Resource[Any, Any])


async def brake(ctx: Context, vmi: VmInstance) -> None:
    """Raises Retryable(Gathering | MassDeletion) while the clean-up of `vmi` must not begin."""
    instances = await ctx.kube.list_objects(VmInstance)
    terminating = [
        other
        for other in instances
        if other.deleting and FINALIZER in other.metadata.finalizers and other.spec.site_ref.name == vmi.spec.site_ref.name
    ]
    events, policies = await _readable(ctx, ScaleOutEvent), await _readable(ctx, AutoscalingPolicy)
    hold = held(vmi, terminating, events=events, policies=policies, now=ctx.clock.now())
    if hold is not None:
        raise Retryable("vmscaler", hold.reason, hold.message, after=hold.after)


async def _readable(ctx: Context, kind: type[R]) -> list[R]:
    """None of a kind that cannot be read, as when its CRD is deleted too: a decision that nobody can see is none."""
    try:
        return await ctx.kube.list_objects(kind)
    except OutsideError:
        return []
