"""Starts, runs and stops builds: from a queue item to "Finished: SUCCESS"."""

from __future__ import annotations

import asyncio
import contextlib

from lab.jenkins.agent_link import AgentLink
from lab.jenkins.builds import Build, now_ms
from lab.jenkins.config import Config
from lab.jenkins.console import Console
from lab.jenkins.credentials import Credentials
from lab.jenkins.items import Job
from lab.jenkins.pipeline.context import Context, Host
from lab.jenkins.pipeline.interpreter import Interpreter
from lab.jenkins.pipeline.model import compile_pipeline
from lab.jenkins.pipeline.outcome import Interrupted, worse
from lab.jenkins.pipeline.syntax import CompileError
from lab.jenkins.queue import Item, Queue

_DELETE_WAIT_S = 15.0


class Runner:
    """The builds that run."""

    def __init__(self, config: Config, agent: AgentLink, credentials: Credentials) -> None:
        self._config = config
        self.queue = Queue(config, self.start)
        self._host = Host(config, agent, credentials, self.queue)

    def start(self, item: Item) -> Build:
        """The build of a queue item; it runs by itself from here."""
        job = item.job
        assert job is not None
        number = job.next_number
        job.next_number += 1
        log = job.folder / "builds" / str(number) / "log"
        build = Build(
            job, number, item.id, item.causes, None if item.hooked else item.parameters, item.contributed, log, hooked=item.hooked
        )
        job.builds[number] = build
        console = Console(build.log)
        for cause in build.causes:
            console.mark(cause.text)
        build.context = Context(self._host, build, console)  # from here on it can be stopped
        build.task = asyncio.create_task(self._run(job, build, build.context))
        return build

    async def _run(self, job: Job, build: Build, context: Context) -> None:
        console = context.console
        try:
            await self._pipeline(job, build, context)
        except asyncio.CancelledError:
            console.line("Hard kill!")
            build.result = "ABORTED"
        except Exception as error:
            console.line(f"ERROR: the lab's pipeline runner failed: {error!r}")
            build.result = "FAILURE"
            raise
        finally:
            build.result = build.result or "SUCCESS"
            build.duration = max(1, now_ms() - build.timestamp)
            console.line(f"Finished: {build.result}")
            console.close()
            build.context = None
            build.building = False
            build.ended.set()
            if job.builds.get(build.number) is build:
                job.discard_old()
            self.queue.scan()

    async def _pipeline(self, job: Job, build: Build, context: Context) -> None:
        console = context.console
        await asyncio.sleep(self._config.build_start)
        if any("\0" in value for value in build.contributed.values()):
            console.line("java.io.IOException: a character that XML 1.1 cannot hold (\\u0000) in the build's record")
            build.result = "FAILURE"
            return
        if job.script is None:
            console.line("ERROR: No flow definition, cannot run")
            build.result = "FAILURE"
            return
        try:
            pipeline = compile_pipeline(job.script)
        except CompileError as error:
            console.line(error.console(job.script))
            build.result = "FAILURE"
            return
        job.first_built(pipeline)
        await Interpreter(pipeline, context).run()

    def stop(self, build: Build, user: str) -> None:
        """POST stop: interrupts the running step; post sections run. A second one interrupts what runs then."""
        context = build.context
        if context is None or not build.building:
            return
        build.interrupted = True
        context.console.line(f"Aborted by {user}")
        context.interrupt(Interrupted())
        asyncio.get_running_loop().call_later(self._config.offer_force, self._offer, build, context)

    def _offer(self, build: Build, context: Context) -> None:
        if build.building:
            context.console.line("Click here to forcibly terminate running steps")

    def term(self, build: Build) -> None:
        """POST term: the running step ends at once, its processes go on; post sections run."""
        if build.context is not None:
            build.interrupted = True
            build.context.console.line("Terminating sh")
            build.context.force(Interrupted())

    def kill(self, build: Build) -> None:
        """POST kill: the whole build ends at once."""
        if build.task is not None and build.building:
            build.result = worse(build.result, "ABORTED")
            build.interrupted = True
            self._cancel(build.task)

    @staticmethod
    def _cancel(task: asyncio.Task[None]) -> None:
        # Once its first step was made: a task that is cancelled before never runs, and a build of such a one would never end.
        asyncio.get_running_loop().call_soon(task.cancel)

    async def stop_all(self, job: Job, user: str) -> bool:
        """Before a delete: no new builds, the running ones are stopped and awaited. False if one does not end."""
        job.leaving = True
        self.queue.cancel_job(job)
        running = job.running
        for build in running:
            self.stop(build, user)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DELETE_WAIT_S):
                for build in running:
                    await build.ended.wait()
        job.leaving = not job.running
        return job.leaving

    async def close(self, jobs: list[Job]) -> None:
        """The part ends: so do all builds, without a post section."""
        self.queue.quieting = "it ends"  # else what waits begins as the others end
        tasks = [build.task for job in jobs for build in job.running if build.task]
        for task in tasks:
            self._cancel(task)
        await asyncio.gather(*tasks, return_exceptions=True)
