"""What surrounds a step: environment, masks, workspace, and the ways to interrupt it. Shared by interpreter, steps and expressions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from lab.jenkins.agent_link import AgentLink
from lab.jenkins.config import Config
from lab.jenkins.console import Console
from lab.jenkins.credentials import Credentials
from lab.jenkins.pipeline.masking import MASK, MaskedWriter, pattern
from lab.jenkins.pipeline.outcome import Crash, Interrupted, span, worse

_MACRO = re.compile(r"\$(?:([A-Za-z0-9_]+)|\{([A-Za-z0-9_.]+)\}|(\$))")


class BuildRecord(Protocol):
    """What a pipeline sees and sets of its build."""

    number: int
    result: str | None
    description: str | None
    display_name: str
    env_used: bool
    credentials_used: bool
    contributed: dict[str, str]

    @property
    def parameter_values(self) -> dict[str, str]:
        """Of its parameters."""
        ...

    def environment(self) -> dict[str, str]:
        """BUILD_NUMBER and so on."""
        ...


class Nodes(Protocol):
    """Who hands out executors and workspaces."""

    def node(self, build: Any, label: str | None) -> Any:
        """An async context manager; gives (executor number, workspace)."""
        ...


async def first_of(*futures: asyncio.Future[Any], timeout: float | None = None) -> None:
    """Wait until one is done, or for `timeout` seconds."""
    await asyncio.wait(set(futures), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


@dataclass(frozen=True)
class Host:
    """The Jenkins that a pipeline runs in."""

    config: Config
    agent: AgentLink
    credentials: Credentials
    nodes: Nodes


def expand(value: str, variables: dict[str, str]) -> str:
    """Jenkins' own expansion of a hook's or parameter's value: once, `$$` becomes `$`, unknown names stay (proven/README.md section 4)."""

    def replace(match: re.Match[str]) -> str:
        if match[3]:
            return "$"
        return variables.get(match[1] or match[2], match[0])

    return _MACRO.sub(replace, value)


@dataclass
class Context:
    """The state of one run."""

    host: Host
    build: BuildRecord
    console: Console
    workspace: str | None = None
    locals: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, str] = field(default_factory=dict)  # env.X = ...
    overlays: list[dict[str, str]] = field(default_factory=list)  # node, environment{}, withCredentials, STAGE_NAME
    secrets: list[dict[str, str]] = field(default_factory=list)  # variable -> secret, of each withCredentials
    pending: Interrupted | None = None
    waiting: asyncio.Future[Interrupted] | None = None  # the step that runs now wants to know of an interruption
    forced: asyncio.Future[Interrupted] | None = None

    def environment(self) -> dict[str, str]:
        """Later ones win: build, parameters and hook (expanded once), env.X, then environment{} and what is inside it."""
        env = self.build.environment()
        given = {**self.build.parameter_values, **self.build.contributed}
        known = {**env, **{name: value for name, value in given.items() if "$" not in value}}
        env |= {name: expand(value, known) for name, value in given.items() if value != ""}
        env |= self.overrides
        for overlay in self.overlays:
            env |= overlay
        return env

    def masks(self) -> re.Pattern[str] | None:
        """What has to be hidden now."""
        return pattern(value for scope in self.secrets for value in scope.values())

    def line(self, text: str) -> None:
        """A console line, masked."""
        masks = self.masks()
        self.console.line("\n".join(masks.sub(MASK, part) for part in text.split("\n")) if masks else text)

    def writer(self) -> MaskedWriter:
        """For a process' output."""
        return MaskedWriter(self.console.write, self.masks())

    def worsen(self, result: str) -> None:
        """`currentBuild.result = result`."""
        self.build.result = worse(self.build.result, result)

    def need_workspace(self, step: str) -> str:
        """The workspace. Raises Crash outside of a node (a post section after a missing credential)."""
        if self.workspace is None:
            raise Crash(
                "org.jenkinsci.plugins.workflow.steps.MissingContextVariableException: Required context class hudson.FilePath is missing\n"
                f"Perhaps you forgot to surround the {step} step with a step that provides this, such as: node"
            )
        return self.workspace

    def check(self) -> None:
        """Before a step: raises a pending Interrupted."""
        if self.pending is not None:
            reason, self.pending = self.pending, None
            raise reason

    def interrupt(self, reason: Interrupted) -> None:
        """Stop what runs now; between steps, the next one."""
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(reason)
        elif self.waiting is None:
            self.pending = self.pending or reason  # a time limit that is over by then does not take a person's stop with it

    def force(self, reason: Interrupted) -> None:
        """End the step that runs now without waiting for its processes."""
        if self.forced is not None and not self.forced.done():
            self.forced.set_result(reason)
        elif self.forced is None:
            self.pending = reason

    @contextmanager
    def interruptible(self) -> Iterator[tuple[asyncio.Future[Interrupted], asyncio.Future[Interrupted]]]:
        """While a step waits: (interruption, forced end)."""
        self.check()
        loop = asyncio.get_running_loop()
        self.waiting, self.forced = loop.create_future(), loop.create_future()
        try:
            yield self.waiting, self.forced
        finally:
            self.waiting = self.forced = None

    @contextmanager
    def block(self, name: str, *before: str) -> Iterator[None]:
        """`[Pipeline] name {` ... `} // name`."""
        self.console.step(name)
        for text in before:
            self.line(text)
        self.console.step("{")
        try:
            yield
        finally:
            self.console.step("}")
            self.console.step(f"// {name}")

    @contextmanager
    def overlay(self, variables: dict[str, str], secrets: dict[str, str] | None = None) -> Iterator[None]:
        """Variables, and which of them are secret, for what is inside."""
        self.overlays.append(variables)
        self.secrets.append(secrets or {})
        try:
            yield
        finally:
            self.overlays.pop()
            self.secrets.pop()

    @asynccontextmanager
    async def time_limit(self, seconds: float) -> AsyncIterator[None]:
        """`timeout`: interrupts what runs inside; what is then still inside after the grace period is ended by force."""
        loop = asyncio.get_running_loop()
        reason = Interrupted(by_timeout=True)
        timers: list[asyncio.TimerHandle] = []

        def later(delay: float, say: str, act: Callable[[Interrupted], None]) -> None:
            def expire() -> None:
                self.console.line(say)
                act(reason)
                if act == self.interrupt:
                    force = "Body did not finish within grace period; terminating with extreme prejudice"
                    later(self.host.config.timeout_grace, force, self.force)

            timers.append(loop.call_later(delay, expire))

        later(seconds, "Cancelling nested steps due to timeout", self.interrupt)
        try:
            with self.block("timeout", f"Timeout set to expire in {span(seconds)}"):
                yield
        finally:
            for timer in timers:
                timer.cancel()
            if self.pending is reason:
                self.pending = None
