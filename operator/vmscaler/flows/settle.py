"""Brings a scale event to its end: the one path for failure and for what a crash left between two writes.

    Running --(step failed, build aborted)--> RollingBack --(nothing of it left)--> Failed
    Running --(finish)--> Succeeded
    Succeeded | Failed: the policy's claim is cleared.

Called for each event that the watch, a step or the resync names. It never starts anything but clean-up.
"""

from __future__ import annotations

from datetime import datetime

import structlog

from vmscaler.api import duration
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.meta import PolicyRef
from vmscaler.api.scaleevent import EventPhase, Rollback, ScaleOutEvent
from vmscaler.api.vminstance import VmInstance
from vmscaler.decide.claim import after_failure, after_success
from vmscaler.flows.context import Context
from vmscaler.flows.status import write_status
from vmscaler.ports.errors import Conflict, NotFound, Retryable

CAS_TRIES = 8

log = structlog.get_logger()


async def settle(ctx: Context, namespace: str, name: str) -> None:
    """One look at one event. Raises Retryable while its rollback is under way, and what the ports raise."""
    try:
        event = await ctx.kube.get(ScaleOutEvent, name, namespace)
    except NotFound:
        return
    if event.status.phase == EventPhase.ROLLING_BACK:
        await _clean_up(ctx, event)
        event = await _end(ctx, event)
    if event.status.phase in (EventPhase.SUCCEEDED, EventPhase.FAILED):
        await clear_claim(ctx, event)


async def fail(ctx: Context, event: ScaleOutEvent, *, stage: str, reason: str, message: str) -> ScaleOutEvent:
    """Begin the rollback: from now on no step of this event acts. Nothing happens to one that is over or rolling back."""
    for _ in range(CAS_TRIES):
        base = await ctx.kube.get(ScaleOutEvent, event.metadata.name, event.metadata.namespace)
        if base.status.phase != EventPhase.RUNNING:
            return base
        status = base.status.model_copy(
            update={
                "phase": EventPhase.ROLLING_BACK,
                "failed_stage": stage,
                "reason": reason,
                "message": message[:1024],
                "rollback": Rollback(started_at=ctx.clock.now(), reason=reason),
            }
        )
        try:
            event = await write_status(ctx, base.model_copy(update={"status": status}), base=base, expect=base.metadata.resource_version)
        except Conflict:  # a step that is being stopped wrote its last action
            continue
        log.warning("scale-out failed", scale_event=event.key, stage=stage, reason=reason, error=message)
        await ctx.kube.emit(event, "Warning", reason, f"{stage}: {message}")
        ctx.wake_object(event)
        return event
    raise Retryable("kubernetes", "Conflict", f"event {event.key} changes too often: trying again", after=1.0)


async def _clean_up(ctx: Context, event: ScaleOutEvent) -> None:
    left = []
    for name in event.spec.instances:
        async with ctx.fences.hold(VmInstance.KIND, event.metadata.namespace or "", name):
            try:
                vmi = await ctx.kube.get(VmInstance, name, event.metadata.namespace)
            except NotFound:
                continue
            left.append(name)
            if not vmi.deleting:
                await ctx.kube.delete(vmi)
                ctx.wake_object(vmi)
    if left:
        raise Retryable("vmscaler", "RollingBack", f"waiting for the clean-up of {', '.join(left)}", after=ctx.poll)


async def _end(ctx: Context, event: ScaleOutEvent) -> ScaleOutEvent:
    now = ctx.clock.now()
    rollback = event.status.rollback or Rollback(started_at=now, reason=event.status.reason)
    status = event.status.model_copy(
        update={
            "phase": EventPhase.FAILED,
            "finished_at": now,
            "duration": _duration(event, now),
            "rollback": rollback.model_copy(
                update={"finished_at": now, "message": "nothing is left: VM, member and node are gone, the address is free or rests"}
            ),
        }
    )
    try:
        return await write_status(ctx, event.model_copy(update={"status": status}), base=event, expect=event.metadata.resource_version)
    except Conflict as error:
        raise Retryable(error.system, error.reason, error.message, after=0.2) from error


async def succeed(ctx: Context, event: ScaleOutEvent) -> ScaleOutEvent:
    """The event's good end. Raises Conflict if it is no longer running."""
    if event.status.phase == EventPhase.SUCCEEDED:
        return event
    if event.status.phase != EventPhase.RUNNING:
        raise Conflict("vmscaler", "NotRunning", f"{event.metadata.name} is {event.status.phase.value}: it cannot succeed any more")
    now = ctx.clock.now()
    message = f"{', '.join(event.spec.instances)} in service"
    status = event.status.model_copy(
        update={
            "phase": EventPhase.SUCCEEDED,
            "stage": "finish",
            "reason": "ScaledOut",
            "message": message,
            "finished_at": now,
            "duration": _duration(event, now),
        }
    )
    event = await write_status(ctx, event.model_copy(update={"status": status}), base=event, expect=event.metadata.resource_version)
    log.info("scaled out", scale_event=event.key, instances=event.spec.instances, duration=event.status.duration)
    await ctx.kube.emit(event, "Normal", "ScaledOut", message)
    return event


async def clear_claim(ctx: Context, event: ScaleOutEvent) -> None:
    """Free the policy for the next claim, by compare-and-swap, with the cooldown or back-off that the end calls for."""
    ref: PolicyRef = event.spec.policy_ref
    for _ in range(CAS_TRIES):
        try:
            policy = await ctx.kube.get(AutoscalingPolicy, ref.name, ref.namespace)
        except NotFound:
            return
        claim = policy.status.claim
        if policy.uid != ref.uid or claim is None or claim.active is None or claim.active.event != event.metadata.name:
            return
        after = after_success if event.status.phase == EventPhase.SUCCEEDED else after_failure
        # From the moment of readiness: the event's end, not the moment of this (perhaps repeated) write.
        cleared = after(
            claim,
            event=event.metadata.name,
            cooldown=duration.parse(policy.spec.scaling.cooldown_period),
            now=event.status.finished_at or ctx.clock.now(),
        )
        wanted = policy.model_copy(update={"status": policy.status.model_copy(update={"claim": cleared})})
        try:
            await write_status(ctx, wanted, base=policy, fields=frozenset({"claim"}), expect=policy.metadata.resource_version)
        except Conflict:
            continue
        ctx.wake_object(policy)
        return
    raise Retryable("kubernetes", "Conflict", f"policy {ref.namespace}/{ref.name} changes too often: trying again", after=1.0)


def _duration(event: ScaleOutEvent, now: datetime) -> str | None:
    return duration.human(now - event.status.started_at) if event.status.started_at else None
