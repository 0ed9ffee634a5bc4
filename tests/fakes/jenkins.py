"""Jenkins in memory, for tests of the flows: honest about errors, XML, case of names, tokens in credentials, and what a disabled job does.

Held to the same suite as the real adapter (tests/contract/test_port_jenkins.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from vmscaler.decide import xmltext
from vmscaler.decide.job_fields import GENERIC_TRIGGER
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable, Untrusted
from vmscaler.ports.jenkins import SYSTEM, BuildState, JobState

_UNSAFE_NAME = re.compile(r"[?*/\\%!@#$^&|<>\[\]:;]|^\s*$|^\.{1,2}$|\.$")


@dataclass
class FakeJob:
    """A stored job. `builds` by number; a job made anew starts at 1."""

    name: str
    config_xml: str
    builds: dict[int, BuildState] = field(default_factory=dict)

    @property
    def disabled(self) -> bool:
        return xmltext.parse(self.config_xml).findtext("disabled") == "true"

    @property
    def description(self) -> str:
        return xmltext.parse(self.config_xml).findtext("description") or ""


class FakeJenkins:
    """Implements vmscaler.ports.jenkins.Jenkins. `error`: raised by every call while set (`down()`, `refusing_login()`)."""

    def __init__(self, effects: Effects) -> None:
        self.jobs: dict[str, FakeJob] = {}
        self.credentials: dict[str, str] = {}
        self.error: OutsideError | None = None
        self._effects = effects

    def down(self) -> None:
        """Connections are refused."""
        self.error = Retryable(SYSTEM, "Unreachable", "Jenkins cannot be reached")

    def starting(self) -> None:
        """503."""
        self.error = Retryable(SYSTEM, "JenkinsStarting", "Jenkins is starting or going down (503)")

    def refusing_login(self) -> None:
        """401."""
        self.error = Untrusted(SYSTEM, "LoginRefused", "Jenkins refuses the login")

    def heal(self) -> None:
        """No error any more."""
        self.error = None

    def hook(self, token: str) -> list[tuple[str, int]]:
        """A firing alert: the builds that begin, as (job, number)."""
        return [(job.name, self.start(job.name)) for job in self._with_token(token) if not job.disabled]

    def start(self, name: str) -> int:
        """A running build; its number."""
        job = self.jobs[name.lower()]
        number = max(job.builds, default=0) + 1
        url = f"http://127.0.0.1:8080/job/{job.name}/{number}/"
        job.builds[number] = BuildState(number, building=True, result=None, url=url, description="")
        return number

    def finish(self, name: str, number: int, result: str = "SUCCESS", description: str = "") -> None:
        """End a build."""
        job = self.jobs[name.lower()]
        job.builds[number] = replace(job.builds[number], building=False, result=result, description=description)

    async def about(self) -> str:
        self._reach()
        return "2.492.1"

    async def job(self, name: str) -> JobState | None:
        self._reach()
        job = self.jobs.get(name.lower())
        if job is None or job.name != name:
            return None
        return JobState(job.name, job.description, not job.disabled, job.config_xml)

    async def create_job(self, name: str, config_xml: str) -> None:
        def create() -> None:
            if name.lower() in self.jobs:
                raise Conflict(SYSTEM, "NameTaken", f"job {name} exists already")
            if _UNSAFE_NAME.search(name):
                raise Rejected(SYSTEM, "RefusedByJenkins", f"Jenkins refuses job {name} with 400")
            self.jobs[name.lower()] = FakeJob(name, _stored(name, config_xml))

        await self._write("job.create", name, create)

    async def update_job(self, name: str, config_xml: str) -> None:
        def update() -> None:
            self._job(name).config_xml = _stored(name, config_xml)

        await self._write("job.update", name, update)

    async def enable_job(self, name: str, enabled: bool) -> None:
        def flip() -> None:
            job = self._job(name)
            root = xmltext.parse(job.config_xml)
            element = root.find("disabled")
            if element is None:
                element = root.makeelement("disabled", {})
                root.append(element)
            element.text = "false" if enabled else "true"
            job.config_xml = xmltext.render(root)

        await self._write("job.enable" if enabled else "job.disable", name, flip)

    async def delete_job(self, name: str) -> None:
        await self._write("job.delete", name, lambda: self.jobs.pop(name.lower(), None))

    async def put_secret_text(self, credential_id: str, secret: str, description: str) -> None:
        root = xmltext.parse("<secret/>")
        root.text = secret
        try:
            xmltext.render(root)
        except ValueError as error:
            raise Rejected(SYSTEM, "NotUsable", f"credential {credential_id}: {error}") from None
        self._reach()
        operation = "credential.update" if credential_id in self.credentials else "credential.create"
        await self._write(operation, credential_id, lambda: self.credentials.update({credential_id: secret}))

    async def has_credential(self, credential_id: str) -> bool:
        self._reach()
        return credential_id in self.credentials

    async def delete_credential(self, credential_id: str) -> None:
        if await self.has_credential(credential_id):
            await self._write("credential.delete", credential_id, lambda: self.credentials.pop(credential_id))

    async def dry_run_hook(self, token: str) -> list[str]:
        self._reach()
        return sorted(job.name for job in self._with_token(token))

    async def build(self, job: str, number: int) -> BuildState | None:
        self._reach()
        found = self.jobs.get(job.lower())
        return found.builds.get(number) if found else None

    async def last_builds(self, job: str, limit: int = 5) -> list[BuildState]:
        self._reach()
        builds = self._job(job).builds
        return [builds[number] for number in sorted(builds, reverse=True)[:limit]]

    async def close(self) -> None:
        return

    def _reach(self) -> None:
        if self.error is not None:
            raise self.error

    def _job(self, name: str) -> FakeJob:
        if name.lower() not in self.jobs:
            raise NotFound(SYSTEM, "NotFound", f"job {name} does not exist")
        return self.jobs[name.lower()]

    def _with_token(self, token: str) -> list[FakeJob]:
        return [job for job in self.jobs.values() if token and self._token(job) == token]

    def _token(self, job: FakeJob) -> str | None:
        root = xmltext.parse(job.config_xml)
        credential = root.findtext(f"{GENERIC_TRIGGER}/tokenCredentialId") or ""
        # Jenkins falls back to the plain token where the credential is missing.
        return self.credentials.get(credential) or root.findtext(f"{GENERIC_TRIGGER}/token")

    async def _write(self, operation: str, target: str, change: Callable[[], object]) -> None:
        async def call() -> None:
            self._reach()
            change()

        await self._effects.write(SYSTEM, operation, target, call)


def _stored(name: str, config_xml: str) -> str:
    try:
        root = xmltext.parse(config_xml)
    except ValueError:
        root = None
    if root is None or root.tag != "flow-definition":
        raise Rejected(SYSTEM, "RefusedByJenkins", f"Jenkins, which is up, refuses job {name} with a server error: see its log")
    return config_xml
