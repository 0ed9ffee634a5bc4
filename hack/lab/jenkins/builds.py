"""One build: its record and what the API shows of it (recordings/jenkins/03, 05, 07)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.jenkins.pipeline.context import Context
from lab.jenkins.tree import Bean

if TYPE_CHECKING:
    from lab.jenkins.items import Job

COLORS = {"SUCCESS": "blue", "UNSTABLE": "yellow", "FAILURE": "red", "NOT_BUILT": "notbuilt", "ABORTED": "aborted"}
RUN = "org.jenkinsci.plugins.workflow.job.WorkflowRun"


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Cause:
    """Why something was queued; `user` for a login's."""

    text: str
    user: str | None = None

    @classmethod
    def by_user(cls, user: str) -> Cause:
        """Started by a login through the API."""
        return cls(f"Started by user {user}", user)

    def bean(self) -> Bean:
        """What the API shows."""
        cls = "hudson.model.Cause$UserIdCause" if self.user else "org.jenkinsci.plugins.gwt.GenericCause"
        bean = Bean(cls).add("shortDescription", self.text, 3)
        return bean.many(3, userId=self.user, userName=self.user) if self.user else bean


@dataclass(frozen=True)
class ParameterValue:
    """A build parameter's value; `kind` is String, Boolean or Password (whose value is not shown)."""

    kind: str
    name: str
    value: str

    def bean(self) -> Bean:
        """What the API shows."""
        bean = Bean(f"hudson.model.{self.kind}ParameterValue").add("name", self.name, 3)
        if self.kind == "Password":
            return bean
        return bean.add("value", self.value == "true" if self.kind == "Boolean" else self.value, 3)


def causes_action(causes: list[Cause]) -> Bean:
    """The action that holds the causes."""
    return Bean("hudson.model.CauseAction").add("causes", lambda: [c.bean() for c in causes], 2)


def parameters_action(parameters: list[ParameterValue]) -> Bean:
    """The action that holds the parameters."""
    return Bean("hudson.model.ParametersAction").add("parameters", lambda: [p.bean() for p in parameters], 2)


@dataclass
class Build:
    """The record of a build. `parameters` None: it was started without any."""

    job: Job
    number: int
    queue_id: int
    causes: list[Cause]
    parameters: list[ParameterValue] | None
    contributed: dict[str, str]
    log: Path
    hooked: bool = False
    timestamp: int = field(default_factory=now_ms)
    duration: int = 0
    result: str | None = None
    building: bool = True
    description: str | None = None
    display_name: str = ""
    interrupted: bool = False
    env_used: bool = False
    credentials_used: bool = False
    keep_log: bool = False
    context: Context | None = None  # while its pipeline runs
    task: asyncio.Task[None] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.display_name = f"#{self.number}"

    @property
    def url(self) -> str:
        """Its URL, with a slash at the end."""
        return f"{self.job.url}{self.number}/"

    @property
    def parameter_values(self) -> dict[str, str]:
        """Names and values for the environment."""
        return {p.name: p.value for p in self.parameters or ()}

    @property
    def color(self) -> str:
        """Of its ball: while it builds, that of the build before."""
        if not self.building:
            return COLORS[self.result or "SUCCESS"]
        before = self.job.before(self.number)
        return (before.color.removesuffix("_anime") if before else "notbuilt") + "_anime"

    def environment(self) -> dict[str, str]:
        """What Jenkins puts into every step's environment (06-queue-parameters-quiet.json)."""
        root, name, number = self.job.root_url, self.job.name, str(self.number)
        env = {"BUILD_NUMBER": number, "BUILD_ID": number, "BUILD_DISPLAY_NAME": self.display_name, "CI": "true"}
        env |= {"BUILD_TAG": f"jenkins-{name}-{number}", "BUILD_URL": self.url, "JOB_URL": self.job.url}
        env |= {"JOB_NAME": name, "JOB_BASE_NAME": name, "JENKINS_URL": root, "HUDSON_URL": root}
        env |= {"JENKINS_HOME": str(self.job.home), "HUDSON_HOME": str(self.job.home)}
        env |= {"RUN_DISPLAY_URL": f"{self.url}display/redirect", "JOB_DISPLAY_URL": f"{self.job.url}display/redirect"}
        return env

    def reference(self, cls: str | None = RUN) -> Bean:
        """A build inside of something else: number and URL at its side."""
        return self.bean(cls)

    def bean(self, cls: str | None = RUN) -> Bean:
        """All that the API shows."""
        bean = Bean(cls).add("actions", self._actions).add("artifacts", list)
        bean.many(building=self.building, description=self.description, displayName=self.display_name)
        bean.many(duration=self.duration, estimatedDuration=self.job.estimate)
        bean.add("executor", (lambda: Bean("hudson.model.OneOffExecutor")) if self.building else None)
        bean.many(fullDisplayName=f"{self.job.name} {self.display_name}", id=str(self.number), keepLog=self.keep_log)
        bean.add("number", self.number, 2).many(queueId=self.queue_id, result=self.result, timestamp=self.timestamp)
        bean.add("url", self.url, 2).add("changeSets", list).add("culprits", list).many(inProgress=self.building)
        after, before = self.job.after(self.number), self.job.before(self.number)
        bean.add("nextBuild", (lambda: after.reference(None)) if after else None)
        return bean.add("previousBuild", (lambda: before.reference(None)) if before else None)

    def _actions(self) -> list[Any]:
        """In the order and number recorded; `{}` are actions that show nothing."""

        def action(name: str) -> Bean:
            return Bean(f"org.jenkinsci.plugins.{name}")

        actions: list[Any] = [causes_action(self.causes)]
        if self.hooked:
            actions.append(parameters_action([]))  # the uuid is shown only while the item is queued
        elif self.parameters:
            actions.insert(0, parameters_action(self.parameters))
        actions += [action("workflow.libs.LibrariesAction"), {}]
        actions += [{}] if self.credentials_used else []
        actions += [Bean("jenkins.model.InterruptedBuildAction")] if self.interrupted else []
        actions += [action("workflow.cps.EnvActionImpl")] if self.env_used else []
        actions += [action("displayurlapi.actions.RunDisplayAction")]
        actions += [action("pipeline.modeldefinition.actions.RestartDeclarativePipelineAction"), {}]
        actions += [{}, {}] if self.building else []
        return [*actions, action("workflow.job.views.FlowGraphAction"), {}, {}]
