"""The build queue and the executors (recordings/jenkins/06; recordings README "Surprises").

An item waits out its quiet period, is blocked while a build of its job runs (unless builds may run side by side) or while Jenkins is quieting down,
and then leaves with a build. The pipeline itself takes no executor; its `node` does, as an item of its own with an id of its own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lab.jenkins.builds import RUN, Build, Cause, ParameterValue, causes_action, now_ms, parameters_action
from lab.jenkins.config import Config
from lab.jenkins.items import JOB, Job
from lab.jenkins.pipeline.context import Context, first_of
from lab.jenkins.pipeline.outcome import Interrupted
from lab.jenkins.tree import Bean

_NODE_TASK = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask"


@dataclass
class Item:
    """Something queued: a job's build to be, or the `node` of a running build."""

    id: int
    job: Job | None
    causes: list[Cause] = field(default_factory=list)
    parameters: list[ParameterValue] | None = None  # as shown while it waits (a hook's uuid)
    contributed: dict[str, str] = field(default_factory=dict)
    hooked: bool = False
    since: int = field(default_factory=now_ms)
    ready_at: float = 0.0  # the loop's clock
    ready_ms: int = 0
    state: str = "WaitingItem"
    buildable_since: int = 0
    why: str | None = None
    cancelled: bool = False
    executable: Build | None = None
    left_at: float = math.inf
    last_color: str = "disabled"  # of a job that was deleted meanwhile

    def bean(self, gone: bool = False) -> Bean:
        """All that the API shows."""
        left = self.state == "LeftItem"
        shown = [] if left and self.hooked and not self.cancelled else self.parameters
        actions = [causes_action(self.causes)] if self.job else []
        if shown is not None:
            actions.append(parameters_action(shown))
        bean = Bean(f"hudson.model.Queue${self.state}").add("actions", actions)
        bean.many(blocked=self.state == "BlockedItem", buildable=self.state == "BuildableItem", id=self.id)
        bean.many(inQueueSince=self.since, params="".join(f"\n{p.name}={p.value}" for p in shown or ()), stuck=False)
        task = Bean(_NODE_TASK)
        if self.job:
            task = Bean(JOB).many(2, name=self.job.name, url=self.job.url)
            task.add("color", self.last_color if gone else self.job.color, 2)
        bean.add("task", task).many(url=f"queue/item/{self.id}/", why=self._why())
        if self.state == "WaitingItem":
            bean.many(timestamp=self.ready_ms)
        elif left:
            build = self.executable
            executable = Bean(RUN).many(2, number=build.number, url=build.url) if build else None
            bean.many(cancelled=self.cancelled).add("executable", executable)
        else:
            bean.many(buildableStartMilliseconds=self.buildable_since)
        return bean

    def _why(self) -> str | None:
        if self.state != "WaitingItem":
            return self.why
        rest = (self.ready_ms - now_ms()) / 1000
        if rest <= 0:
            return "Finished waiting"
        text = f"{rest:.1f}".rstrip("0").rstrip(".") if rest >= 1 else f"{rest:.2f}"
        return f"In the quiet period. Expires in {text} sec" if rest >= 1 else f"In the quiet period. Expires in {int(rest * 1000)} ms"


class Queue:
    """Items by id; `start` makes an item's build."""

    def __init__(self, config: Config, start: Callable[[Item], Build]) -> None:
        self._config = config
        self._start = start
        self._next_id = 1
        self.items: dict[int, Item] = {}
        self.left: dict[int, Item] = {}
        self.quieting: str | None = None  # the reason while Jenkins takes no new builds ("" = none given)
        self.lossy = False  # the fault `lose_queue`
        self.free = list(range(config.executors))
        self._waiting_nodes: dict[int, tuple[str | None, asyncio.Future[int]]] = {}
        self.busy: dict[int, Context] = {}
        self._workspaces: set[str] = set()

    async def run(self) -> None:
        """The periodic scan; forgets items that left long ago."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._config.queue_scan)
            self.scan()
            for item in list(self.left.values()):
                if loop.time() - item.left_at > self._config.left_items:
                    del self.left[item.id]

    def new_id(self) -> int:
        """Ids are shared by builds and nodes."""
        self._next_id += 1
        return self._next_id - 1

    def schedule(
        self,
        job: Job,
        cause: Cause,
        parameters: list[ParameterValue] | None,
        *,
        contributed: dict[str, str] | None = None,
        hooked: bool = False,
        delay: float | None = None,
    ) -> Item:
        """Queue a build. The same job with the same parameters already waiting becomes one item with one cause more."""
        for item in self.items.values():
            if item.job is job and item.parameters == parameters and not hooked:
                item.causes.append(cause)
                return item
        quiet = delay if delay is not None else job.quiet_period
        quiet = self._config.quiet_period if quiet is None else quiet
        item = Item(self.new_id(), job, [cause], parameters, contributed or {}, hooked)
        item.ready_at = asyncio.get_running_loop().time() + quiet
        item.ready_ms = item.since + int(quiet * 1000)
        if not self.lossy and not job.leaving:
            self.items[item.id] = item
            self.scan()
        return item

    def scan(self) -> None:
        """Move what can move."""
        now = asyncio.get_running_loop().time()
        for item in list(self.items.values()):
            if item.job is None or now < item.ready_at:
                continue
            why = self._blocked_by(item.job)
            if why is None:
                del self.items[item.id]
                item.executable = self._start(item)
                self._leave(item)
            elif item.state == "WaitingItem":
                item.state, item.why, item.buildable_since = "BlockedItem", why, now_ms()
            else:
                item.why = why
        self._give_nodes()

    def _blocked_by(self, job: Job) -> str | None:
        if self.quieting is not None:
            return f"Jenkins is about to shut down{': ' + self.quieting if self.quieting else ''}"
        running = job.running
        if not running or job.concurrent:
            return None
        if job.abort_previous:
            for build in running:
                if build.context and not build.interrupted:
                    build.interrupted = True
                    build.context.interrupt(Interrupted(result="NOT_BUILT"))
        estimate = job.estimate()
        eta = "N/A"
        if estimate >= 0:
            rest = max(0.0, (running[0].timestamp + estimate - now_ms()) / 1000)
            eta = f"{rest:.2f} sec" if rest > 0 else "N/A"
        return f"Build #{running[0].number} is already in progress (ETA: {eta})"

    def _leave(self, item: Item) -> None:
        item.state, item.why = "LeftItem", None
        item.left_at = asyncio.get_running_loop().time()
        self.left[item.id] = item

    def cancel(self, item: Item) -> None:
        """Take an item out; it can still be asked for, as cancelled."""
        del self.items[item.id]
        item.cancelled = True
        self._leave(item)

    def of_job(self, job: Job) -> Item | None:
        """The job's oldest item."""
        return next((item for item in self.items.values() if item.job is job), None)

    def cancel_job(self, job: Job) -> None:
        """disable and delete do this."""
        for item in [i for i in self.items.values() if i.job is job]:
            self.cancel(item)

    def lose(self) -> None:
        """Forget all waiting builds as a hard stop does: their ids are unknown then (recordings/jenkins/08 and 09)."""
        for item in [i for i in self.items.values() if i.job]:
            del self.items[item.id]

    def _give_nodes(self) -> None:
        for number, (label, future) in list(self._waiting_nodes.items()):
            item = self.items[number]
            if label is not None and label not in self._config.labels:
                item.why = f"There are no nodes with the label ‘{label}’"
            elif not self.free:
                item.why = "Waiting for next available executor on ‘built-in’"
            elif not future.done():
                future.set_result(self.free.pop())

    @asynccontextmanager
    async def node(self, context: Context, label: str | None) -> AsyncIterator[tuple[dict[str, str], str]]:
        """An executor and a workspace for a build: (variables, workspace). Raises Interrupted while it waits."""
        job = context.build.job  # type: ignore[attr-defined]
        item = Item(self.new_id(), None, state="BuildableItem", buildable_since=now_ms())
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.items[item.id] = item
        self._waiting_nodes[item.id] = (label, future)
        try:
            with context.interruptible() as (interruption, forced):
                self._give_nodes()
                await first_of(future, interruption, forced)
                if forced.done() or interruption.done():
                    raise forced.result() if forced.done() else interruption.result()
        except BaseException:  # a kill too may come in the moment in which the executor is given
            if future.done():
                self._give_back(future.result())
            raise
        finally:
            del self._waiting_nodes[item.id]
            del self.items[item.id]
        executor = future.result()
        workspace = self._workspace(job.name)
        self.busy[executor] = context
        env: dict[str, Any] = {"EXECUTOR_NUMBER": str(executor), "NODE_NAME": "built-in", "NODE_LABELS": " ".join(self._config.labels)}
        try:
            yield env | {"WORKSPACE": workspace, "WORKSPACE_TMP": f"{workspace}@tmp"}, workspace
        finally:
            self._workspaces.discard(workspace)
            del self.busy[executor]
            self._give_back(executor)

    def _give_back(self, executor: int) -> None:
        self.free.append(executor)
        self.free.sort()  # the highest is taken next, in whatever order builds ended
        self.scan()

    def _workspace(self, name: str) -> str:
        base = str(self._config.workspace / name)
        taken = next(n for n in range(1, 1000) if (base if n == 1 else f"{base}@{n}") not in self._workspaces)
        workspace = base if taken == 1 else f"{base}@{taken}"
        self._workspaces.add(workspace)
        return workspace
