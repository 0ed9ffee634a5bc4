"""The actions of a scale event as values: begin (the intent), finish, look up. Called by flows/recorder.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from vmscaler.api.duration import human
from vmscaler.api.scaleevent import Action, ActionState

ADDRESS = "address"
PROBE = "probe"
VM_CREATION = "vm-creation"
BOOT = "boot"
HEALTH = "health"
POOL_ADD = "f5-pool-add"


def find(actions: Sequence[Action], name: str, instance: str) -> Action | None:
    """The action of this name on this instance."""
    return next((a for a in actions if a.name == name and a.instance == instance), None)


def begun(actions: Sequence[Action], name: str, instance: str, now: datetime) -> list[Action]:
    """With the action Started. One that is Started or Done already stays as it is: an operator that is killed again and again must not
    spend its life on writing that it tries. A Failed one is tried once more, with its first start kept."""
    old = find(actions, name, instance)
    if old is None:
        return [*actions, Action(name=name, instance=instance, state=ActionState.STARTED, started_at=now)]
    if old.state in (ActionState.DONE, ActionState.STARTED):
        return list(actions)
    return _replace(actions, old, {"state": ActionState.STARTED, "attempts": old.attempts + 1, "finished_at": None, "duration": None})


def ended(
    actions: Sequence[Action], name: str, instance: str, now: datetime, *, state: ActionState, message: str = "", **details: Any
) -> list[Action]:
    """With the action Done or Failed, its duration, and what came of it; a Done one stays as it is.

    Raises KeyError for one that never began.
    """
    old = find(actions, name, instance)
    if old is None:
        raise KeyError(f"{name} of {instance} never began")
    if old.state == ActionState.DONE:
        return list(actions)
    update = {"state": state, "finished_at": now, "duration": human(now - old.started_at), "message": message[:1024], **details}
    return _replace(actions, old, update)


def done(actions: Sequence[Action], name: str, instance: str) -> bool:
    """Whether it is Done."""
    action = find(actions, name, instance)
    return action is not None and action.state == ActionState.DONE


def _replace(actions: Sequence[Action], old: Action, update: dict[str, Any]) -> list[Action]:
    return [action.model_copy(update=update) if action is old else action for action in actions]
