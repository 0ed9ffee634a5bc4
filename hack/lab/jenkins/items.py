"""Jobs: what their XML says, their builds, what the API shows (recordings/jenkins/02 and 03)."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from urllib.parse import quote

from lab.jenkins import xmlstore as x
from lab.jenkins.builds import Build
from lab.jenkins.pipeline.model import Pipeline
from lab.jenkins.tree import Bean

JOB = "org.jenkinsci.plugins.workflow.job.WorkflowJob"
_COMPLETED_AS = {
    "lastFailedBuild": ("FAILURE",),
    "lastStableBuild": ("SUCCESS",),
    "lastSuccessfulBuild": ("SUCCESS", "UNSTABLE"),
    "lastUnstableBuild": ("UNSTABLE",),
    "lastUnsuccessfulBuild": ("UNSTABLE", "FAILURE", "NOT_BUILT", "ABORTED"),
}
ALIASES = ("lastBuild", "firstBuild", "lastCompletedBuild", *_COMPLETED_AS)


class Job:
    """A pipeline job. `text` is config.xml as a GET shows it."""

    def __init__(self, name: str, text: str, home: Path, root_url: str) -> None:
        """Raises xmlstore.ConfigError."""
        self.name = name
        self.home = home
        self.root_url = root_url
        self.builds: dict[int, Build] = {}
        self.next_number = 1
        self.declared: x.Declared | None = None
        self.held_back = False  # a copied job is not buildable until it is saved
        self.built_once = False
        self.leaving = False  # it is being deleted: what is queued from now on is lost with it
        self.text = ""
        self.root = ET.Element(x.ROOT)
        self.configure(text)

    @property
    def url(self) -> str:
        """Its URL, with a slash at the end."""
        return f"{self.root_url}job/{quote(self.name)}/"

    @property
    def folder(self) -> Path:
        """Where config.xml and builds/ are."""
        return self.home / "jobs" / self.name

    def configure(self, text: str) -> None:
        """createItem and POST config.xml. Raises xmlstore.ConfigError; then nothing changes."""
        stored = x.stored(text)
        self.root = x.parse(stored)
        self.declared = None
        self.held_back = False
        self._keep(stored)

    def save(self) -> None:
        """Jenkins writes the job itself."""
        self._keep(x.saved(self.root, self.declared))

    def _keep(self, text: str) -> None:
        self.text = text
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config.xml").write_text(text)

    def first_built(self, pipeline: Pipeline) -> None:
        """A declarative build began: its parameters become the job's, and the job is saved."""
        declared = x.Declared(list(pipeline.parameters))
        if self.declared != declared or not self.text.startswith("<?xml version='1.1'"):
            self.declared = declared
            self.save()

    def _set(self, tag: str, value: str) -> None:
        element = self.root.find(tag)
        if element is None:
            element = ET.SubElement(self.root, tag)
        element.text = value
        self.save()

    @property
    def description(self) -> str:
        """Jenkins keeps our hash here (facts/jenkins.md)."""
        return self.root.findtext("description") or ""

    def describe(self, text: str) -> None:
        """Set the description."""
        self._set("description", text)

    @property
    def disabled(self) -> bool:
        """Whether it was switched off."""
        return self.root.findtext("disabled") == "true"

    def disable(self, off: bool) -> None:
        """Switch it off or on."""
        if self.disabled != off:
            self._set("disabled", str(off).lower())

    @property
    def buildable(self) -> bool:
        """Whether a build may be queued."""
        return not self.disabled and not self.held_back

    @property
    def quiet_period(self) -> float | None:
        """Seconds, if it gives any."""
        text = self.root.findtext("quietPeriod")
        return float(text) if text else None

    @property
    def concurrent(self) -> bool:
        """Whether builds may run side by side."""
        return self.root.find(f"properties/{x.DISABLE_CONCURRENT}") is None

    @property
    def abort_previous(self) -> bool:
        """Whether a newer build ends the older ones."""
        return self.root.findtext(f"properties/{x.DISABLE_CONCURRENT}/abortPrevious") == "true"

    @property
    def script(self) -> str | None:
        """The inline pipeline; None when the definition is of another class."""
        definition = self.root.find("definition")
        if definition is None or definition.get("class") != x.CPS_DEFINITION:
            return None
        return definition.findtext("script") or ""

    @property
    def triggers(self) -> list[ET.Element]:
        """Its generic webhook triggers."""
        return self.root.findall(f"properties/{x.TRIGGERS}/triggers/{x.GENERIC_TRIGGER}")

    @property
    def parameters(self) -> list[x.Parameter]:
        """Its declared parameters: from the last declarative build, else from config.xml."""
        if self.declared:
            return self.declared.parameters
        definitions = self.root.find(f"properties/{x.PARAMETERS}/parameterDefinitions")
        found = []
        for element in definitions if definitions is not None else ():
            kind = element.tag.removeprefix("hudson.model.").removesuffix("ParameterDefinition")
            found.append(x.Parameter(kind, element.findtext("name") or "", element.findtext("defaultValue") or ""))
        return found

    def before(self, number: int) -> Build | None:
        """The build before this one."""
        return self.builds.get(max((n for n in self.builds if n < number), default=0))

    def after(self, number: int) -> Build | None:
        """The build after this one."""
        return self.builds.get(min((n for n in self.builds if n > number), default=0))

    @property
    def newest_first(self) -> list[Build]:
        """The builds."""
        return [self.builds[n] for n in sorted(self.builds, reverse=True)]

    @property
    def running(self) -> list[Build]:
        """Those that build now."""
        return [b for b in self.newest_first if b.building]

    def alias(self, name: str) -> Build | None:
        """`lastBuild`, `lastCompletedBuild`, ... or a number."""
        builds = self.newest_first
        if name == "lastBuild":
            return builds[0] if builds else None
        if name == "firstBuild":
            return builds[-1] if builds else None
        done = [b for b in builds if not b.building]
        if name in _COMPLETED_AS:
            done = [b for b in done if b.result in _COMPLETED_AS[name]]
        elif name != "lastCompletedBuild":
            return self.builds.get(int(name)) if name.isdecimal() else None
        return done[0] if done else None

    def estimate(self) -> int:
        """Milliseconds: the mean of up to three builds that came to an end of their own; -1 when there is none."""
        done = [b for b in self.newest_first if not b.building]
        good = [b.duration for b in done if b.result in ("SUCCESS", "UNSTABLE")][:3]
        good += [b.duration for b in done[:6] if b.result == "FAILURE"][: 3 - len(good)]
        return round(sum(good) / len(good)) if good else -1

    @property
    def color(self) -> str:
        """Of its ball."""
        builds = self.newest_first
        color = builds[0].color if builds else "notbuilt"
        if self.disabled:
            return "disabled_anime" if color.endswith("_anime") else "disabled"
        return color

    def discard_old(self) -> None:
        """The build discarder's numToKeep."""
        strategy = self.root.find(f"properties/{x.DISCARDER}/strategy")
        keep = int((strategy.findtext("numToKeep") if strategy is not None else None) or -1)
        for build in self.newest_first[keep:] if keep > 0 else ():
            if not build.building:
                self.forget(build)

    def forget(self, build: Build) -> None:
        """Delete one build with its log."""
        del self.builds[build.number]
        shutil.rmtree(build.log.parent, ignore_errors=True)

    def bean(self, queue_item: Bean | None = None, cls: str | None = JOB) -> Bean:
        """All that the API shows."""
        bean = Bean(cls).add("actions", self._actions)
        bean.many(description=self.description, displayName=self.name, displayNameOrNull=None)
        bean.many(fullDisplayName=self.name, fullName=self.name).add("name", self.name, 3).add("url", self.url, 3)
        bean.add("buildable", self.buildable).add("allBuilds", self._builds, -1).add("builds", self._builds).add("color", self.color, 2)
        for name in ("firstBuild", "healthReport", "keepDependencies", *ALIASES[:1], *ALIASES[2:]):
            if name == "healthReport":
                bean.add(name, self._health)
            elif name == "keepDependencies":
                bean.many(keepDependencies=False)
            else:
                bean.add(name, partial(self._reference, name))
        bean.many(nextBuildNumber=self.next_number).add("property", self._properties)
        bean.many(concurrentBuild=self.concurrent, inQueue=queue_item is not None)
        return bean.add("queueItem", queue_item).many(resumeBlocked=False)

    def _reference(self, name: str) -> Bean | None:
        build = self.alias(name)
        return build.reference() if build else None

    def _builds(self) -> list[Bean]:
        return [b.reference() for b in self.newest_first]

    def _actions(self) -> list[Bean | dict[str, str]]:
        display = Bean("org.jenkinsci.plugins.displayurlapi.actions.JobDisplayAction")
        view = Bean("com.cloudbees.plugins.credentials.ViewCredentialsAction")
        return [{}, {}, *([{}, {}] if self.declared else []), display, {}, {}, view]

    def _health(self) -> list[Bean]:
        done = [b for b in self.newest_first if not b.building and b.result in ("SUCCESS", "UNSTABLE", "FAILURE")][:5]
        if not done:
            return []
        bad = sum(b.result == "FAILURE" for b in done)
        score = 100 * (len(done) - bad) // len(done)
        text = {0: "No recent builds failed.", len(done): "All recent builds are failing."}.get(
            bad, f"{bad} out of the last {len(done)} builds failed."
        )
        icon = "80plus" if score > 80 else "60to79" if score > 60 else "40to59" if score > 40 else "20to39" if score > 20 else "00to19"
        report = Bean(None).many(2, description=f"Build stability: {text}", iconClassName=f"icon-health-{icon}")
        return [report.many(2, iconUrl=f"health-{icon}.png", score=score)]

    def _properties(self) -> list[Bean]:
        known = (x.DISCARDER, x.DISABLE_CONCURRENT, x.TRIGGERS)
        properties = self.root.find("properties")
        found = [Bean(e.tag) for e in properties if e.tag in known] if properties is not None else []
        if self.parameters:
            found.append(Bean(x.PARAMETERS).add("parameterDefinitions", self._definitions, 2))
        return found

    def _definitions(self) -> list[Bean]:
        found = []
        for p in self.parameters:
            value = Bean(f"hudson.model.{p.kind}ParameterValue").add("name", p.name, 3)
            if p.kind != "Password":
                value.add("value", p.default == "true" if p.kind == "Boolean" else p.default, 3)
            definition = Bean(f"hudson.model.{p.kind}ParameterDefinition").add("defaultParameterValue", value, 3)
            found.append(definition.many(3, description=p.description, name=p.name, type=f"{p.kind}ParameterDefinition"))
        return found
