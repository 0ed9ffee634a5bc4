"""Records the actions of a running event: the intent before the effect, then what came of it.

Called by the steps. One recorder per step run; a step is the only writer of its event's status while it runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from vmscaler.api.scaleevent import Action, ActionState, ScaleEventStatus, ScaleOutEvent
from vmscaler.decide import actions
from vmscaler.flows.context import Context
from vmscaler.flows.status import write_status
from vmscaler.ports.errors import OutsideError, Retryable

T = TypeVar("T")
Progress = Callable[[str], None]

# After a start of the operator an action gets at least this long, so that time that it was down for fails nothing.
GRACE = timedelta(seconds=60)


class StepFailed(Exception):
    """A step has failed for good: `reason` (CamelCase) and a message that says what to do."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Recorder:
    """The event under way, its status writes, and the retrying of attempts until a limit."""

    def __init__(self, ctx: Context, event: ScaleOutEvent, stage: str, progress: Progress) -> None:
        self.ctx = ctx
        self.event = event
        self.stage = stage
        self.progress = progress

    async def _write(self, status: ScaleEventStatus) -> None:
        base = self.event
        self.event = await write_status(self.ctx, base.model_copy(update={"status": status}), base=base)

    async def enter(self) -> None:
        """Say which stage runs."""
        if self.event.status.stage != self.stage:
            await self._write(self.event.status.model_copy(update={"stage": self.stage}))

    async def begin(self, name: str, instance: str) -> Action:
        """Write the intent. A Done action stays Done."""
        listed = actions.begun(self.event.status.actions, name, instance, self.ctx.clock.now())
        await self._write(self.event.status.model_copy(update={"actions": listed}))
        action = actions.find(self.event.status.actions, name, instance)
        assert action is not None
        return action

    async def done(self, name: str, instance: str, message: str = "", **details: Any) -> None:
        """Write that the action is done, with what came of it."""
        await self._end(name, instance, ActionState.DONE, message, details)

    async def _end(self, name: str, instance: str, state: ActionState, message: str, details: dict[str, Any]) -> None:
        now = self.ctx.clock.now()
        listed = actions.ended(self.event.status.actions, name, instance, now, state=state, message=message, **details)
        await self._write(self.event.status.model_copy(update={"actions": listed}))

    async def until(
        self, name: str, instance: str, limit: timedelta, timed_out: str, attempt: Callable[[], Awaitable[T]], **details: Any
    ) -> T:
        """Run the attempt until it returns, through every Retryable, for at most `limit` from the action's recorded start.

        Raises StepFailed(timed_out) at the limit with the last reason, and StepFailed with the error's own reason for what
        retrying does not mend; the action is then Failed with that message and `details`.
        """
        action = actions.find(self.event.status.actions, name, instance) or await self.begin(name, instance)
        deadline = action.started_at + limit
        if self.ctx.started_at is not None:
            deadline = max(deadline, self.ctx.started_at + min(limit, GRACE))
        said = ""
        while True:
            try:
                return await attempt()
            except Retryable as error:
                if str(error) != said:
                    said = str(error)
                    self.progress(said)
                now = self.ctx.clock.now()
                if now >= deadline:
                    failure = StepFailed(timed_out, f"{name} of {instance} was not done in time: {error}")
                    await self._end(name, instance, ActionState.FAILED, failure.message, details)
                    raise failure from error
                await self.ctx.clock.sleep(min(error.after, max(0.0, (deadline - now).total_seconds())))
            except (OutsideError, StepFailed) as error:
                failure = error if isinstance(error, StepFailed) else StepFailed(error.reason, str(error))
                await self._end(name, instance, ActionState.FAILED, failure.message, details)
                raise failure from error
