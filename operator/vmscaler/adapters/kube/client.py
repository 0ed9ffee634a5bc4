"""Implements `vmscaler.ports.kube.Kube`. Made by bootstrap, used by the flows.

A name is not an identity: between a read and a write an object may be deleted and made anew. So every write to an object that was
read is bound to its UID. A merge patch to /status takes no notice of metadata.uid (facts/controlplane.md, Semantics), but does
compare resourceVersion: a patch without `expect` carries the version that was last seen, and when that is gone by the object is
read again, its UID compared, and the patch sent anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

from kubernetes.aio.client import ApiClient

from vmscaler.adapters.folded import Folded
from vmscaler.adapters.kube.answers import SYSTEM
from vmscaler.adapters.kube.events import EventRecorder
from vmscaler.adapters.kube.fit import fit_status
from vmscaler.adapters.kube.reading import parsed, parsed_list
from vmscaler.adapters.kube.rest import MERGE_PATCH, TIMEOUT, Rest, segment, selector
from vmscaler.adapters.kube.secrets import SecretStore
from vmscaler.api.meta import GROUP, VERSION, Json, Resource
from vmscaler.ports.clock import Clock
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Conflict, NotFound

R = TypeVar("R", bound=Resource[Any, Any])
T = TypeVar("T")
_TRIES = 5


def path_of(kind: type[Resource[Any, Any]], namespace: str | None, name: str | None = None, sub: str = "") -> str:
    """The URL path of a collection, an object or a subresource. Raises NotFound for names that cannot be."""
    parts = [f"/apis/{GROUP}/{VERSION}"]
    if kind.NAMESPACED and namespace is not None:
        parts += ["namespaces", segment(namespace)]
    parts.append(kind.PLURAL)
    if name is not None:
        parts.append(segment(name))
    return "/".join([*parts, sub] if sub else parts)


class KubeClient:
    """The API server, for our kinds, the operator's Secrets, and Events."""

    def __init__(self, api_client: ApiClient, operator_namespace: str, effects: Effects, clock: Clock, *, timeout: float = TIMEOUT) -> None:
        """`timeout`: seconds for each call. The caller closes `api_client`."""
        self._rest = Rest(api_client, timeout)
        self._effects = effects
        self._secrets = SecretStore(self._rest, operator_namespace, effects)
        self._events = EventRecorder(self._rest, effects, clock)
        self._lists: Folded[Hashable, list[Any]] = Folded()

    async def get(self, kind: type[R], name: str, namespace: str | None = None) -> R:
        """One object. Raises NotFound, Rejected(ObjectUnreadable)."""
        return parsed(kind, await self._rest.call("GET", _object_path(kind, namespace, name)))

    async def list_objects(self, kind: type[R], namespace: str | None = None, *, labels: dict[str, str] | None = None) -> list[R]:
        """All objects of a kind, of a namespace if given, with these labels if given."""
        path, query = path_of(kind, namespace), selector(labels or {})

        async def look() -> list[Any]:
            return parsed_list(kind, [item async for item in self._rest.pages(path, query)])

        # Each reconcile of a policy looks at all policies: those that ask at the same time share the list.
        return list(await self._lists.read((path, *sorted(query.items())), look))

    async def create(self, obj: R) -> R:
        """Create. Raises Conflict if the name exists, Rejected if it is invalid, NotFound if there is no such namespace."""
        if obj.NAMESPACED and obj.metadata.namespace is None:
            raise ValueError(f"{obj.KIND} {obj.metadata.name}: a namespace is needed")
        path = path_of(type(obj), obj.metadata.namespace)
        return await self._write("create", obj, lambda: self._parsed(obj, "POST", path, obj.manifest()))

    async def patch_status(self, obj: R, status: Json, *, expect: str | None = None) -> R:
        """Merge-patch /status; with `expect` a compare-and-swap. Raises Conflict, NotFound (also when made anew), Rejected."""
        body = {"status": fit_status(type(obj), status)}
        return await self._write("status.patch", obj, lambda: self._bound_patch(obj, body, "status", expect))

    async def patch(self, obj: R, body: Json, *, expect: str | None = None) -> R:
        """Merge-patch metadata or spec. Raises Conflict, NotFound (also when made anew), Rejected."""
        return await self._write("patch", obj, lambda: self._bound_patch(obj, body, "", expect))

    async def add_finalizer(self, obj: R, finalizer: str) -> R:
        """Add it if it is not there. Raises NotFound, Conflict (also when the object is being deleted: too late to add one)."""
        if finalizer in obj.metadata.finalizers:
            return obj

        async def add() -> R:
            def wanted(seen: R) -> list[str] | None:
                if finalizer in seen.metadata.finalizers:
                    return None
                if seen.deleting:
                    raise Conflict(SYSTEM, "Deleting", f"{seen.KIND} {seen.key} is being deleted: no finalizer can be added")
                return [*seen.metadata.finalizers, finalizer]

            return await self._edit_finalizers(obj, wanted)

        return await self._write("finalizer.add", obj, add)

    async def remove_finalizer(self, obj: R, finalizer: str) -> None:
        """Remove it if it is there; an absent object, or one made anew, is fine. Raises Conflict."""

        async def remove() -> None:
            def wanted(seen: R) -> list[str] | None:
                left = [name for name in seen.metadata.finalizers if name != finalizer]
                return left if left != seen.metadata.finalizers else None

            try:
                await self._edit_finalizers(obj, wanted)
            except NotFound:
                return

        await self._write("finalizer.remove", obj, remove)

    async def delete(self, obj: R) -> None:
        """Delete it if its UID is still the same; absent is fine. Raises Conflict if the UID differs."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": obj.uid}, "propagationPolicy": "Background"}

        async def delete() -> None:
            try:
                await self._rest.call("DELETE", _path(obj), body=options)
            except NotFound:
                return

        await self._write("delete", obj, delete)

    async def get_secret(self, name: str) -> dict[str, str]:
        """A Secret of the operator's namespace, decoded. Raises NotFound, Rejected(SecretNotText)."""
        return await self._secrets.get(name)

    async def create_secret(self, name: str, data: dict[str, str], labels: dict[str, str], annotations: dict[str, str]) -> None:
        """Create a Secret in the operator's namespace. Raises Conflict if it exists."""
        await self._secrets.create(name, data, labels, annotations)

    async def delete_secret(self, name: str) -> None:
        """Delete it; absent is fine."""
        await self._secrets.delete(name)

    async def list_secrets(self, labels: dict[str, str]) -> list[tuple[str, dict[str, str], dict[str, str]]]:
        """(name, annotations, decoded data) of the operator's namespace's Secrets with these labels."""
        return await self._secrets.list_all(labels)

    async def emit(self, obj: R, type_: str, reason: str, message: str) -> None:
        """Record a core/v1 Event (type_ Normal | Warning) about the object; failures are logged, never raised."""
        await self._events.emit(obj, type_, reason, message)

    async def _write(self, verb: str, obj: Resource[Any, Any], call: Callable[[], Awaitable[T]]) -> T:
        return await self._effects.write(SYSTEM, f"{obj.KIND.lower()}.{verb}", obj.key, call)

    async def _parsed(self, obj: R, method: str, path: str, body: Json, content_type: str = "application/json") -> R:
        return parsed(type(obj), await self._rest.call(method, path, body=body, content_type=content_type))

    async def _bound_patch(self, obj: R, body: Json, sub: str, expect: str | None) -> R:
        path = _path(obj, sub)
        version = expect or obj.metadata.resource_version
        if version is None:
            version = (await self._read_again(obj)).metadata.resource_version
        for left in reversed(range(_TRIES)):
            bound = {**body, "metadata": {**body.get("metadata", {}), "resourceVersion": version}}
            try:
                return await self._parsed(obj, "PATCH", path, bound, MERGE_PATCH)
            except Conflict:
                if expect is not None or not left:
                    raise
                version = (await self._read_again(obj)).metadata.resource_version
        raise AssertionError("the last try returns or raises")

    async def _edit_finalizers(self, obj: R, wanted: Callable[[R], list[str] | None]) -> R:
        """The list is computed from the very version that the write is bound to: no other's finalizer is lost or brought back."""
        seen = (
            obj
            if obj.metadata.resource_version and obj.metadata.uid
            else await self.get(type(obj), obj.metadata.name, obj.metadata.namespace)
        )
        for left in reversed(range(_TRIES)):
            finalizers = wanted(seen)
            if finalizers is None:
                return seen
            body = {"metadata": {"finalizers": finalizers, "resourceVersion": seen.metadata.resource_version}}
            try:
                return await self._parsed(obj, "PATCH", _path(obj), body, MERGE_PATCH)
            except Conflict:
                if not left:
                    raise
                seen = await self._read_again(obj)
        raise AssertionError("the last try returns or raises")

    async def _read_again(self, obj: R) -> R:
        seen = await self.get(type(obj), obj.metadata.name, obj.metadata.namespace)
        if obj.metadata.uid is not None and seen.metadata.uid != obj.metadata.uid:
            raise NotFound(SYSTEM, "NotFound", f"{obj.KIND} {obj.key} with UID {obj.metadata.uid} is gone; one made anew has its name")
        return seen


def _path(obj: Resource[Any, Any], sub: str = "") -> str:
    return _object_path(type(obj), obj.metadata.namespace, obj.metadata.name, sub)


def _object_path(kind: type[Resource[Any, Any]], namespace: str | None, name: str, sub: str = "") -> str:
    if kind.NAMESPACED and namespace is None:
        raise ValueError(f"{kind.KIND} {name}: a namespace is needed")
    return path_of(kind, namespace, name, sub)
