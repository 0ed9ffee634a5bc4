"""Declarative pipelines: node, environment, time limits, stages, post; with the console lines of a real one (recordings/jenkins/07 and 12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from lab.jenkins.agent_link import AgentError
from lab.jenkins.pipeline import syntax as s
from lab.jenkins.pipeline.context import Context
from lab.jenkins.pipeline.model import CONDITIONS, Pipeline, Section, Stage
from lab.jenkins.pipeline.outcome import Crash, Ended, error_id
from lab.jenkins.pipeline.steps import Steps, groovy, masking_line

_EARLIER = "earlier failure(s)"
_WHEN = "when conditional"


class Interpreter:
    """Runs one pipeline; afterwards the build's result is set, but for success."""

    def __init__(self, pipeline: Pipeline, context: Context) -> None:
        self.pipeline = pipeline
        self.context = context
        self.steps = Steps(context)
        self.error: Ended | None = None  # the first one: later stages are skipped, and it ends the console
        self._post_ran = False

    async def run(self) -> None:
        """From "Start of Pipeline" to the last error's lines. Raises nothing of the pipeline's."""
        console = self.context.console
        console.step("Start of Pipeline")
        try:
            await self._in_node()
        except Ended as error:
            self._fail(error)
            if not self._post_ran:
                # A credential of environment{} is missing: no stage runs, and post runs outside of the node.
                await self._post_actions()
        console.step("End of Pipeline")
        for line in self.error.last_lines() if self.error else ():
            console.line(line)

    def _fail(self, error: Ended) -> None:
        self.context.worsen(error.result)
        self.error = self.error or error

    async def _in_node(self) -> None:
        context, host = self.context, self.context.host
        context.console.step("node")
        try:
            async with host.nodes.node(context, self.pipeline.label) as (variables, workspace):
                context.line(f"Running on Jenkins in {workspace}")
                await self._prepare(workspace)
                context.workspace = workspace
                context.console.step("{")
                try:
                    with context.overlay(variables):
                        async with self._surroundings(self.pipeline):
                            for stage in self.pipeline.stages:
                                await self._stage(stage)
                            await self._post_actions()
                finally:
                    context.workspace = None
                    context.console.step("}")
        finally:
            context.console.step("// node")

    async def _prepare(self, workspace: str) -> None:
        try:
            await self.context.host.agent.file("prepare", workspace)
        except AgentError as error:
            raise Crash(str(error)) from None

    @asynccontextmanager
    async def _surroundings(self, section: Section) -> AsyncIterator[None]:
        """withCredentials, withEnv and timeout of a pipeline or stage."""
        context = self.context
        async with AsyncExitStack() as stack:
            secrets = self._secrets(section)
            if secrets:
                context.build.credentials_used = True
                stack.enter_context(context.block("withCredentials", masking_line(secrets)))
                stack.enter_context(context.overlay(secrets, secrets))
            variables: dict[str, str] = {}
            for name, value in section.environment:
                if not _is_credential(value):
                    with context.overlay(variables):
                        variables[name] = groovy(await self.steps.value(value))
            if variables:
                stack.enter_context(context.block("withEnv"))
                stack.enter_context(context.overlay(variables))
            if section.timeout is not None:
                await stack.enter_async_context(context.time_limit(section.timeout))
            yield

    def _secrets(self, section: Section) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in section.environment:
            if not _is_credential(value):
                continue
            assert isinstance(value, s.Call)
            credential_id = str(getattr(value.args[0], "value", ""))
            credential = self.context.host.credentials.get(credential_id)
            if credential is None:
                raise Ended(credential_id)
            if credential.username:
                found[name] = f"{credential.username}:{credential.secret}"
                found |= {f"{name}_USR": credential.username, f"{name}_PSW": credential.secret}
            else:
                found[name] = credential.secret
        return found

    async def _stage(self, stage: Stage, skipped: tuple[str, str] | None = None) -> None:
        """One stage; `skipped` is (stage, reason) of the stage above that was skipped."""
        context = self.context
        context.console.step("stage")
        context.console.step(f"{{ ({stage.name})")
        if skipped is None and self.error is not None:
            skipped = stage.name, _EARLIER
        with context.overlay({"STAGE_NAME": stage.name}):
            if skipped is None:
                try:
                    async with self._surroundings(stage):
                        if stage.when is not None and not await self.steps.value(stage.when):
                            skipped = stage.name, _WHEN
                        else:
                            await self._body(stage)
                except Ended as error:
                    self._fail(error)
            if skipped is not None:
                context.console.line(f'Stage "{skipped[0]}" skipped due to {skipped[1]}')
                context.console.step("getContext")
                for inner in stage.stages:
                    await self._stage(inner, skipped)
        context.console.step("}")
        context.console.step("// stage")

    async def _body(self, stage: Stage) -> None:
        try:
            for inner in stage.stages:
                await self._stage(inner)
            await self.steps.run(stage.steps or ())
        except Ended as error:
            self._fail(error)
        if self._satisfied(stage):
            self.context.console.line("Post stage")
            await self._conditions(stage)

    async def _post_actions(self) -> None:
        self._post_ran = True
        if not self._satisfied(self.pipeline):
            return
        name = "Declarative: Post Actions"
        self.context.console.step("stage")
        self.context.console.step(f"{{ ({name})")
        with self.context.overlay({"STAGE_NAME": name}):
            await self._conditions(self.pipeline)
        self.context.console.step("}")
        self.context.console.step("// stage")

    def _holds(self, condition: str) -> bool:
        result = self.context.build.result or "SUCCESS"
        if condition in ("always", "cleanup"):
            return True
        if condition == "unsuccessful":
            return result != "SUCCESS"
        return result == {"aborted": "ABORTED", "failure": "FAILURE", "notBuilt": "NOT_BUILT", "success": "SUCCESS"}[condition]

    def _satisfied(self, section: Section) -> bool:
        return any(self._holds(condition) for condition in section.post)

    async def _conditions(self, section: Section) -> None:
        for condition in CONDITIONS:
            if condition in section.post and self._holds(condition):
                try:
                    await self.steps.run(section.post[condition])
                except Ended as error:
                    # A killed or failing rollback changes nothing that is already bad (proven/README.md section 5).
                    if self.context.build.result in (None, "SUCCESS", "UNSTABLE"):
                        self._fail(error)
                    console = self.context.console
                    console.line(f"Error when executing {condition} post condition:")
                    console.line(f"Also:   {error_id()}")
                    console.line(error.in_post() + "\n")


def _is_credential(value: s.Expr) -> bool:
    return isinstance(value, s.Call) and value.name == "credentials"
