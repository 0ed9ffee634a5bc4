"""What each step of the pipeline asks for. Called by flows/runner.py, which keeps one run per build and step.

    claim -> allocate -> clone -> verify -> join -> finish        rollback, on any failure or abort

A step acts only while its event is Running and holds the policy; the order is checked by what the event records, so that a step can
be asked again at any time, also after a restart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, BuildRef
from vmscaler.api.meta import PolicyRef
from vmscaler.api.scaleevent import EventPhase, ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.decide import actions
from vmscaler.flows.allocate import allocate
from vmscaler.flows.claim import claim, ensure_event, event_of, same_build
from vmscaler.flows.clone import clone
from vmscaler.flows.context import Context
from vmscaler.flows.join import join
from vmscaler.flows.recorder import Progress, Recorder, StepFailed
from vmscaler.flows.settle import clear_claim, fail, settle, succeed
from vmscaler.flows.targets import sync_targets
from vmscaler.flows.verify import verify
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable
from vmscaler.ports.systems import Systems

STEPS = ("claim", "allocate", "clone", "verify", "join", "finish", "rollback")

# The action that must be Done before a stage may act.
NEEDS = {
    "clone": actions.ADDRESS,
    "verify": actions.VM_CREATION,
    "join": actions.HEALTH,
    "finish": actions.POOL_ADD,
}

# The stages that act on the instance's VM, each with the action that ends it.
ON_THE_VM: Mapping[str, tuple[str, Callable[[Context, Recorder, Systems, VmInstance], Awaitable[None]]]] = {
    "clone": (actions.VM_CREATION, clone),
    "verify": (actions.HEALTH, verify),
    "join": (actions.POOL_ADD, join),
}


@dataclass(frozen=True)
class Outcome:
    """How a step ended: state is succeeded | refused | failed."""

    state: str
    reason: str
    message: str
    event: str | None = None


async def run_step(ctx: Context, step: str, ref: PolicyRef, build: BuildRef, progress: Progress) -> Outcome:
    """Carry out one step. Raises Retryable (ask again), Rejected (the request makes no sense now)."""
    if step == "claim":
        answer = await claim(ctx, ref, build)
        if answer.event is None:
            return Outcome("refused", answer.reason, answer.message)
        return Outcome("succeeded", answer.reason, answer.message, answer.event.metadata.name)
    if step == "rollback":
        return await _rollback(ctx, ref, build, progress)
    policy, event = await _active(ctx, ref, build)
    if event.status.phase in (EventPhase.ROLLING_BACK, EventPhase.FAILED):
        return Outcome("failed", event.status.reason, event.status.message, event.metadata.name)
    if event.status.phase == EventPhase.SUCCEEDED:
        await clear_claim(ctx, event)
        return Outcome("succeeded", event.status.reason, event.status.message, event.metadata.name)
    need = NEEDS.get(step)
    if need is not None and not actions.done(event.status.actions, need, event.spec.instances[0]):
        raise Rejected("vmscaler", "OutOfOrder", f"{step} comes after {need}, which is not done: run the stages in their order")
    try:
        return await _act(ctx, step, policy, event, progress)
    except Retryable:
        raise
    except Conflict as error:
        raise Retryable(error.system, error.reason, error.message, after=0.5) from error
    except (StepFailed, OutsideError) as failure:
        # A Secret, a Site or the instance is gone, say: the cause stands in the event, and the build fails with it.
        await fail(ctx, event, stage=step, reason=failure.reason, message=failure.message)
        return Outcome("failed", failure.reason, failure.message, event.metadata.name)


async def _active(ctx: Context, ref: PolicyRef, build: BuildRef) -> tuple[AutoscalingPolicy, ScaleOutEvent]:
    policy = await ctx.kube.get(AutoscalingPolicy, ref.name, ref.namespace)
    active = policy.status.claim.active if policy.status.claim else None
    if policy.uid == ref.uid and active is not None and same_build(active.build, build):
        assert policy.status.claim is not None
        return policy, await ensure_event(ctx, policy, policy.status.claim)
    event = await event_of(ctx, ref, build)
    if event is None:
        raise Rejected("vmscaler", "NotClaimed", f"build {build.number} of {build.job} holds no claim: its first step is `claim`")
    return policy, event


async def _act(ctx: Context, step: str, policy: AutoscalingPolicy, event: ScaleOutEvent, progress: Progress) -> Outcome:
    name = event.spec.instances[0]
    site = await ctx.kube.get(Site, policy.spec.site_ref.name)
    recorder = Recorder(ctx, event, step, progress)
    await recorder.enter()
    if step == "allocate":
        if not actions.done(event.status.actions, actions.ADDRESS, name):
            await allocate(ctx, recorder, policy, site, name)
        return _said(recorder, actions.ADDRESS, name)
    systems = await ctx.systems(site)
    vmi = await ctx.kube.get(VmInstance, name, policy.customer)
    if vmi.deleting:
        raise StepFailed("InstanceDeleted", f"VmInstance {vmi.key} was deleted while the event ran")
    if step in ON_THE_VM:
        ends_with, act = ON_THE_VM[step]
        if not actions.done(event.status.actions, ends_with, name):
            await act(ctx, recorder, systems, vmi)
        return _said(recorder, ends_with, name)
    try:
        await sync_targets(ctx, systems, event.spec.policy_ref)
    except OutsideError as error:
        progress(f"{name} is in service but not scraped yet, the reconcile will see to it: {error}")
    ended = await succeed(ctx, recorder.event)
    await clear_claim(ctx, ended)
    ctx.wake_object(policy)
    return Outcome("succeeded", ended.status.reason, f"{ended.status.message} after {ended.status.duration}", ended.metadata.name)


def _said(recorder: Recorder, name: str, instance: str) -> Outcome:
    action = actions.find(recorder.event.status.actions, name, instance)
    return Outcome("succeeded", "Done", action.message if action else "", recorder.event.metadata.name)


async def _rollback(ctx: Context, ref: PolicyRef, build: BuildRef, progress: Progress) -> Outcome:
    """Keyed on the build; works with no event. Waits until nothing is left; the operator goes on even if nobody waits."""
    try:
        _, event = await _active(ctx, ref, build)
    except (Rejected, NotFound) as error:
        if isinstance(error, Rejected) and error.reason != "NotClaimed":
            raise
        found = await event_of(ctx, ref, build)
        if found is None:
            return Outcome("succeeded", "NothingToRollBack", f"build {build.number} of {build.job} had begun nothing")
        event = found
    if event.status.phase == EventPhase.RUNNING:
        event = await fail(
            ctx,
            event,
            stage=event.status.stage,
            reason="BuildAborted",
            message=f"build {build.number} of {build.job} was aborted or failed in stage {event.status.stage}",
        )
    name = event.metadata.name
    said = ""
    while event.status.phase == EventPhase.ROLLING_BACK:
        try:
            await settle(ctx, ref.namespace, name)
        except Retryable as error:
            if str(error) != said:
                said = str(error)
                progress(said)
            await ctx.clock.sleep(min(error.after, 1.0))
        event = await ctx.kube.get(ScaleOutEvent, name, ref.namespace)
    if event.status.phase == EventPhase.SUCCEEDED:
        return Outcome("succeeded", "NothingToRollBack", f"{name} had succeeded: its instances stay", name)
    await clear_claim(ctx, event)
    return Outcome("succeeded", "RolledBack", f"{name}: nothing is left", name)
