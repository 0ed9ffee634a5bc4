"""Kubernetes as the flows see it: typed objects, compare-and-swap, Secrets, Events."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from vmscaler.api.meta import Json, Resource

R = TypeVar("R", bound=Resource[Any, Any])


class Kube(Protocol):
    """The API server. All calls raise Retryable (unreachable, 429, 5xx, 401/403 as Untrusted) besides what they name."""

    async def get(self, kind: type[R], name: str, namespace: str | None = None) -> R:
        """One object. Raises NotFound."""
        ...

    async def list_objects(self, kind: type[R], namespace: str | None = None, *, labels: dict[str, str] | None = None) -> list[R]:
        """All objects of a kind, of a namespace if given, with these labels if given (paged inside)."""
        ...

    async def create(self, obj: R) -> R:
        """Create (spec and metadata; no status). Raises Conflict if the name exists, Rejected if it is invalid."""
        ...

    async def patch_status(self, obj: R, status: Json, *, expect: str | None = None) -> R:
        """Merge-patch /status. With `expect` (a resourceVersion) it is a compare-and-swap: raises Conflict. Raises NotFound."""
        ...

    async def patch(self, obj: R, body: Json, *, expect: str | None = None) -> R:
        """Merge-patch metadata or spec. Raises Conflict, NotFound, Rejected."""
        ...

    async def add_finalizer(self, obj: R, finalizer: str) -> R:
        """Add it if it is not there; guarded by resourceVersion. Raises Conflict, NotFound."""
        ...

    async def remove_finalizer(self, obj: R, finalizer: str) -> None:
        """Remove it if it is there; an absent object is fine. Raises Conflict."""
        ...

    async def delete(self, obj: R) -> None:
        """Delete with the object's UID as precondition; an absent object is fine. Raises Conflict if the UID differs."""
        ...

    async def get_secret(self, name: str) -> dict[str, str]:
        """A Secret of the operator's namespace, decoded. Raises NotFound."""
        ...

    async def create_secret(self, name: str, data: dict[str, str], labels: dict[str, str], annotations: dict[str, str]) -> None:
        """Create a Secret in the operator's namespace. Raises Conflict if it exists."""
        ...

    async def delete_secret(self, name: str) -> None:
        """Delete it; absent is fine."""
        ...

    async def list_secrets(self, labels: dict[str, str]) -> list[tuple[str, dict[str, str], dict[str, str]]]:
        """(name, annotations, decoded data) of the operator's namespace's Secrets with these labels; without those that are not text."""
        ...

    async def emit(self, obj: R, type_: str, reason: str, message: str) -> None:
        """Record a core/v1 Event (type_ Normal | Warning) about the object; failures are logged, never raised."""
        ...
