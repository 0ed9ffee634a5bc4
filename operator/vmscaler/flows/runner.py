"""Runs steps, one at a time per build, and lets any number of requests wait for them (long poll).

Called by the gateway. Keyed by policy UID, job generation, build and step: asking again joins the run that is under way. A rollback
first stops whatever else runs for its build and waits until it has stopped; from then on nothing else of the build begins. Nothing here is durable: after
a restart the next request starts the step anew, which finds what the earlier try did.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from vmscaler.api.autoscalingpolicy import BuildRef
from vmscaler.api.meta import PolicyRef
from vmscaler.flows.context import Context
from vmscaler.flows.steps import Outcome, run_step
from vmscaler.ports.errors import OutsideError, Retryable

BuildKey = tuple[str, str, str, int]
KEPT, KEPT_PER_POLICY = 2000, 100
"""Runs that are remembered: whoever holds one policy's token can make the operator forget none of another's."""
AT_ONCE, ROLLBACKS_AT_ONCE = 32, 64
"""Steps of one policy at once. Its job runs one build at a time: more is a runaway, or somebody who plays with its token."""
PROGRESS_KEPT = 500
UNATTENDED = 60.0
"""Seconds without a poll after which a claim that cannot be decided yet is given up."""
SUPERSEDED = Outcome("failed", "Superseded", "the build's rollback has begun, or the operator stops")

log = structlog.get_logger()


@dataclass
class Run:
    """One step under way or over: its progress lines (time, text) and its outcome. `asked_at` is the loop's time of the last poll."""

    step: str
    asked_at: float = 0.0
    lines: list[tuple[str, str]] = field(default_factory=list)
    outcome: Outcome | OutsideError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> bool:
        """Whether it has a task that is not over."""
        return self.task is not None and not self.task.done()

    def signal(self) -> None:
        """Wake all who wait."""
        self.changed.set()
        self.changed = asyncio.Event()


class StepRunner:
    """All runs of this process."""

    def __init__(self, ctx: Context, over: Callable[[str, str], None] = lambda step, state: None) -> None:
        """`over(step, state)` is told of each step that ended."""
        self._ctx = ctx
        self._over = over
        self._runs: OrderedDict[tuple[BuildKey, str], Run] = OrderedDict()

    async def poll(self, step: str, ref: PolicyRef, build: BuildRef, *, after: int, wait: float) -> tuple[Run, list[tuple[str, str]], int]:
        """Start or join the step; return when it is over, when there are lines beyond `after`, or after `wait` seconds: the run, the new
        lines, and what to ask `after` next. An `after` from before a restart means nothing here: all lines are new then."""
        run = self._start_or_join(step, ref, build)
        loop = asyncio.get_running_loop()
        run.asked_at = loop.time()
        deadline = run.asked_at + wait
        if after > len(run.lines):
            after = 0
        while run.outcome is None and len(run.lines) <= after:
            left = deadline - loop.time()
            if left <= 0:
                break
            changed = run.changed
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):  # not wait_for, see workqueue.py
                    await changed.wait()
            run.asked_at = loop.time()
        lines = run.lines[after:]
        return run, lines, after + len(lines)

    def _start_or_join(self, step: str, ref: PolicyRef, build: BuildRef) -> Run:
        key: BuildKey = (ref.uid, build.job, build.generation, build.number)
        found = self._runs.get((key, step))
        if found is not None and not isinstance(found.outcome, OutsideError):
            return found
        run = Run(step)
        if self._busy(ref.uid, step):
            said = f"more steps of policy {ref.namespace}/{ref.name} are under way than its builds can need: ask again"
            run.outcome = Retryable("vmscaler", "TooManySteps", said, after=5.0)
            return run
        self._runs[(key, step)] = run
        if step != "rollback" and (key, "rollback") in self._runs:
            # A request that comes late: nothing of this build begins any more, not even a claim.
            run.outcome = SUPERSEDED
            return run
        run.task = asyncio.create_task(self._run(run, key, ref, build), name=f"{step}-{ref.namespace}-{ref.name}-{build.number}")
        self._forget([known for known in self._runs if known[0][0] == ref.uid], KEPT_PER_POLICY)
        self._forget(list(self._runs), KEPT)
        return run

    def _busy(self, uid: str, step: str) -> bool:
        rollback = step == "rollback"
        running = (
            known for known, run in self._runs.items() if known[0][0] == uid and (known[1] == "rollback") == rollback and run.under_way
        )
        return sum(1 for _ in running) >= (ROLLBACKS_AT_ONCE if rollback else AT_ONCE)

    async def _stop_others(self, key: BuildKey) -> None:
        """All but the rollback, until they have stopped."""
        others = [
            run.task
            for (build, step), run in self._runs.items()
            if build == key and step != "rollback" and run.task is not None and not run.task.done()
        ]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)

    async def _run(self, run: Run, key: BuildKey, ref: PolicyRef, build: BuildRef) -> None:
        def progress(text: str) -> None:
            if len(run.lines) < PROGRESS_KEPT:
                run.lines.append((self._ctx.clock.now().isoformat(timespec="seconds"), text))
                run.signal()

        said = ""
        bound = log.bind(policy=f"{ref.namespace}/{ref.name}", build=build.number, step=run.step)
        try:
            if run.step == "rollback":
                await self._stop_others(key)
            while run.outcome is None:
                try:
                    run.outcome = await run_step(self._ctx, run.step, ref, build, progress)
                except Retryable as error:
                    if str(error) != said:
                        said = str(error)
                        progress(said)
                    if run.step == "claim" and asyncio.get_running_loop().time() - run.asked_at > UNATTENDED:
                        # Nobody waits any more: a claim that is won now would be nobody's.
                        run.outcome = error
                        break
                    await self._ctx.clock.sleep(min(max(error.after, 0.1), 10.0))
                except OutsideError as error:
                    run.outcome = error
            state = run.outcome.state if isinstance(run.outcome, Outcome) else "error"
            reason = run.outcome.reason if run.outcome is not None else ""
            self._over(run.step, state)
            bound.info("step over", state=state, reason=reason)
        except asyncio.CancelledError:
            run.outcome = SUPERSEDED
            raise
        except Exception:
            bound.exception("step crashed")
            run.outcome = Retryable("vmscaler", "InternalError", "the step crashed; the operator's log says how", after=5.0)
        finally:
            run.signal()

    def _forget(self, known: list[tuple[BuildKey, str]], kept: int) -> None:
        """The oldest of these that are over, beyond `kept`."""
        over = [key for key in known[: len(known) - kept] if not self._runs[key].under_way] if len(known) > kept else []
        for key in over:
            del self._runs[key]

    async def stop(self) -> None:
        """Cancel what runs; it is found again by whoever asks after the restart."""
        tasks = [run.task for run in self._runs.values() if run.task is not None and not run.task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=10)
