"""Records the actions of a running event: the intent before the effect, then what came of it.

Called by the steps. One recorder per step run; a step is the only writer of its event's status while it runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from vmscaler.api.duration import human
from vmscaler.api.scaleevent import Action, ActionState, EventPhase, ScaleEventStatus, ScaleOutEvent
from vmscaler.api.vminstance import VmInstance
from vmscaler.decide import actions
from vmscaler.flows.context import Context
from vmscaler.flows.status import write_status
from vmscaler.ports.errors import Closed, NotFound, OutsideError, Retryable

T = TypeVar("T")
Progress = Callable[[str], None]

# After a start of the operator an action gets at least this long, so that time that it was down for fails nothing.
GRACE = timedelta(seconds=60)
# Where an action's limit is set, so that who reads of it knows what to raise.
_TIMEOUTS = {actions.VM_CREATION: "clone", actions.BOOT: "boot", actions.HEALTH: "health", actions.POOL_ADD: "member"}


def _limit(action: str, limit: timedelta) -> str:
    setting = f" (spec.timeouts.{_TIMEOUTS[action]})" if action in _TIMEOUTS else ""
    return f"within {human(limit)}{setting}"


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

    async def failed(self, name: str, instance: str, message: str) -> None:
        """Write that the action has failed; the step goes on to say so with a StepFailed."""
        await self._end(name, instance, ActionState.FAILED, message, {})

    async def _end(self, name: str, instance: str, state: ActionState, message: str, details: dict[str, Any]) -> None:
        now = self.ctx.clock.now()
        listed = actions.ended(self.event.status.actions, name, instance, now, state=state, message=message, **details)
        await self._write(self.event.status.model_copy(update={"actions": listed}))

    async def until(
        self,
        name: str,
        instance: str,
        limit: timedelta,
        timed_out: str,
        attempt: Callable[[], Awaitable[T]],
        *,
        unborn: bool = False,
        **details: Any,
    ) -> T:
        """Run the attempt until it returns, through every Retryable, for at most `limit` from the action's recorded start.

        Each attempt holds the instance's fence and begins only while the event runs and nobody deletes the instance (`unborn`: it may
        not exist yet).

        Raises Closed (the runner begins the step anew, with the Site's present clients), StepFailed(timed_out) at the limit with what the
        last attempt said, and StepFailed with the error's own reason for what retrying does not mend. With a StepFailed the action is
        Failed, with that message and `details`.
        """
        action = actions.find(self.event.status.actions, name, instance) or await self.begin(name, instance)
        deadline = action.started_at + limit
        if self.ctx.started_at is not None:
            deadline = max(deadline, self.ctx.started_at + min(limit, GRACE))
        said = ""
        while True:
            try:
                async with self.ctx.fences.hold(VmInstance.KIND, self.event.metadata.namespace or "", instance):
                    await self._may_act(instance, unborn)
                    return await attempt()
            except Closed:
                raise
            except Retryable as error:
                if str(error) != said:
                    said = str(error)
                    self.progress(said)
                now = self.ctx.clock.now()
                if now >= deadline:
                    failure = StepFailed(timed_out, f"{name} of {instance} was not done {_limit(name, limit)}: {error}")
                    await self._end(name, instance, ActionState.FAILED, failure.message, details)
                    raise failure from error
                await self.ctx.clock.sleep(min(error.after, max(0.0, (deadline - now).total_seconds())))
            except (OutsideError, StepFailed) as error:
                failure = error if isinstance(error, StepFailed) else StepFailed(error.reason, str(error))
                await self._end(name, instance, ActionState.FAILED, failure.message, details)
                raise failure from error

    async def _may_act(self, instance: str, unborn: bool) -> None:
        """Look again, inside the fence: from the rollback's begin on, and once the instance is being deleted, nothing acts."""
        namespace = self.event.metadata.namespace
        event = await self.ctx.kube.get(ScaleOutEvent, self.event.metadata.name, namespace)
        if event.status.phase != EventPhase.RUNNING:
            said = event.status.message or f"{event.metadata.name} is {event.status.phase.value}"
            raise StepFailed(event.status.reason or "Superseded", said)
        try:
            vmi = await self.ctx.kube.get(VmInstance, instance, namespace)
        except NotFound as error:
            if unborn:
                return
            raise StepFailed("InstanceDeleted", f"VmInstance {namespace}/{instance} was deleted while the event ran") from error
        if vmi.deleting:
            raise StepFailed("InstanceDeleted", f"VmInstance {vmi.key} was deleted while the event ran")
