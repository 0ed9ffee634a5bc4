"""The tasks of `tests.fakes.vsphere`: begun, carried out when their time is over on the loop's clock, forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from vmscaler.ports.errors import NotFound
from vmscaler.ports.vsphere import SYSTEM, TaskInfo


class TaskFault(Exception):
    """What a task's act raises to end it with this fault: a type's name, and a message."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name, self.message = name, message


@dataclass
class _Task:
    kind: str
    entity: str
    ends_at: float
    act: Callable[[], str | None]
    fault: tuple[str, str] | None
    state: str = "running"
    result: str | None = None


class FakeTasks:
    """`seconds`: how long tasks of a kind run. `faults`: how the next one of a kind ends, with nothing done."""

    def __init__(self, new: Callable[[str], str]) -> None:
        """`new("task")` gives a task's key."""
        self.seconds: dict[str, float] = {}
        self.faults: dict[str, tuple[str, str]] = {}
        self._new = new
        self._tasks: dict[str, _Task] = {}

    def start(self, kind: str, entity: str, act: Callable[[], str | None]) -> str:
        """Begin one; `act` is its effect, and gives the moRef that is its result. Returns its key."""
        key = self._new("task")
        ends_at = asyncio.get_running_loop().time() + self.seconds.get(kind, 0.0)
        self._tasks[key] = _Task(kind, entity, ends_at, act, self.faults.pop(kind, None))
        return key

    def advance(self) -> None:
        """Carry out those whose time is over, in that order."""
        now = asyncio.get_running_loop().time()
        for task in sorted(self._tasks.values(), key=lambda task: task.ends_at):
            if task.state != "running" or task.ends_at > now:
                continue
            try:
                task.result = task.act() if task.fault is None else None
            except TaskFault as fault:
                task.fault = (fault.name, fault.message)
            task.state = "error" if task.fault is not None else "success"

    def end(self) -> None:
        """The time of all is over now; and of those that begin later at once."""
        self.seconds.clear()
        for task in self._tasks.values():
            task.ends_at = min(task.ends_at, asyncio.get_running_loop().time())

    def left(self, key: str) -> float:
        """Seconds until it is over."""
        return max(0.0, self._tasks[key].ends_at - asyncio.get_running_loop().time())

    def info(self, key: str) -> TaskInfo:
        """As the port tells it. Raises NotFound for one that was forgotten."""
        if key not in self._tasks:
            raise NotFound(SYSTEM, "ObjectNotFound", f"vCenter has no task {key} any more")
        task = self._tasks[key]
        fault, message = task.fault if task.fault is not None and task.state == "error" else (None, "")
        return TaskInfo(key, task.state, progress=None, result=task.result, fault=fault, message=message)

    def running(self, kind: str, entity: str) -> list[TaskInfo]:
        """Those of this kind on this object that are not over."""
        wanted = (kind, entity, "running")
        return [self.info(key) for key, task in self._tasks.items() if (task.kind, task.entity, task.state) == wanted]

    def forget(self) -> None:
        """All that are over."""
        self._tasks = {key: task for key, task in self._tasks.items() if task.state == "running"}
