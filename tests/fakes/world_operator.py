"""One operator process over the fakes of a `World`: work queue, step runner, resync, and "watches" (each write wakes its object)."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from tests.fakes.world_seam import Crash, WorldEffects

from vmscaler.bootstrap import reconcilers
from vmscaler.entry.news import STATUS_IS_OURS
from vmscaler.flows.context import Context
from vmscaler.flows.resync import KINDS, resync_forever
from vmscaler.flows.runner import StepRunner
from vmscaler.flows.workqueue import WorkQueue

RESYNC = 60.0
_KINDS = {kind.KIND.lower(): kind for kind in KINDS}


@dataclass
class Operator:
    """One process."""

    ctx: Context
    queue: WorkQueue
    runner: StepRunner
    background: tuple[asyncio.Task[None], ...]


def operate(ctx: Context, effects: WorldEffects) -> Operator:
    """Start it."""
    loop, queue = asyncio.get_running_loop(), WorkQueue(reconcilers(ctx))
    ctx.wake = queue.wake
    effects.watch = lambda operation, target: _watched(effects, queue, operation, target)
    background = (loop.create_task(queue.run()), loop.create_task(resync_forever(ctx, RESYNC, lambda now: None)))
    return Operator(ctx, queue, StepRunner(ctx), background)


def _watched(effects: WorldEffects, queue: WorkQueue, operation: str, target: str) -> None:
    noun, _, verb = operation.partition(".")
    kind = _KINDS.get(noun)
    if kind is None or effects.dead.is_set() or (kind.KIND in STATUS_IS_OURS and verb in ("status.patch", "finalizer.add")):
        return
    namespace, _, name = target.rpartition("/")
    queue.wake(kind.KIND, namespace or None, name)


async def end(operator: Operator, effects: WorldEffects) -> None:
    """The process ends: nothing of it acts any more."""
    effects.dead.set()
    effects.watch = lambda operation, target: None
    for task in operator.background:
        task.cancel()
    await asyncio.wait(operator.background)
    with contextlib.suppress(Crash):
        await operator.runner.stop()
    for run in operator.runner._runs.values():  # their exceptions are looked at, so that the loop does not complain of them
        if run.task is not None and run.task.done() and not run.task.cancelled():
            run.task.exception()
