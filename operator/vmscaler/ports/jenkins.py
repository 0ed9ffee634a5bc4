"""Jenkins as the flows see it: jobs, credentials, the dry run of the hook, builds (facts/jenkins.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

SYSTEM = "jenkins"


@dataclass(frozen=True)
class JobState:
    """A job as it is."""

    name: str
    description: str
    buildable: bool
    config_xml: str


@dataclass(frozen=True)
class BuildState:
    """A build. Read `building` first: while post runs, `result` is set already."""

    number: int
    building: bool
    result: str | None
    url: str
    description: str


class Jenkins(Protocol):
    """One Jenkins. Every call raises Retryable (down, starting, 5xx) and Untrusted (certificate, login) besides what it names."""

    async def about(self) -> str:
        """Version; proves certificate and login."""
        ...

    async def job(self, name: str) -> JobState | None:
        """The job, or None where it is certainly absent."""
        ...

    async def create_job(self, name: str, config_xml: str) -> None:
        """Raises Conflict if the name exists (compared without case), Rejected if Jenkins refuses name or XML."""
        ...

    async def update_job(self, name: str, config_xml: str) -> None:
        """Raises NotFound, Rejected."""
        ...

    async def enable_job(self, name: str, enabled: bool) -> None:
        """Enable or disable. Raises NotFound."""
        ...

    async def delete_job(self, name: str) -> None:
        """Delete; absent is fine."""
        ...

    async def put_secret_text(self, credential_id: str, secret: str, description: str) -> None:
        """Create or overwrite a system credential of kind secret text."""
        ...

    async def has_credential(self, credential_id: str) -> bool:
        """Whether it exists (its secret cannot be read)."""
        ...

    async def delete_credential(self, credential_id: str) -> None:
        """Delete; absent is fine."""
        ...

    async def dry_run_hook(self, token: str) -> list[str]:
        """Names of the jobs that a hook with this token would start (header gwt-dry-run). Starts nothing."""
        ...

    async def build(self, job: str, number: int) -> BuildState | None:
        """A build, or None."""
        ...

    async def last_builds(self, job: str, limit: int = 5) -> list[BuildState]:
        """The newest builds first. Raises NotFound (job)."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
