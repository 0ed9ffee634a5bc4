"""An API server in memory, as far as `vmscaler.ports.kube.Kube` can see: resourceVersion, generation, uniqueness, finalizers and
deletionTimestamp, JSON merge patch, the status subresource, labels, UID preconditions.

It knows no CEL rules: what a model refuses is Rejected. `fail_next` makes the next calls raise, before or after they took effect.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from vmscaler.adapters.kube.fit import fit_status
from vmscaler.api.meta import API_VERSION, Json, Resource
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected

SYSTEM = "kubernetes"
R = TypeVar("R", bound=Resource[Any, Any])
T = TypeVar("T")
Key = tuple[str, str | None, str]
IMMUTABLE = ("VmInstance", "IpLease", "ScaleOutEvent", "ScaleInEvent")


@dataclass
class FakeSecret:
    """A Secret of the operator's namespace."""

    data: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EmittedEvent:
    """What was told about an object; a repetition raises `FakeKube.events`' count."""

    kind: str
    key: str
    type: str
    reason: str
    message: str


class FakeKube:
    """Implements vmscaler.ports.kube.Kube."""

    def __init__(self, effects: Effects, now: Callable[[], datetime] = lambda: datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._effects = effects
        self._now = now
        self._version = 0
        self.objects: dict[Key, Json] = {}
        self.secrets: dict[str, FakeSecret] = {}
        self.events: dict[EmittedEvent, int] = {}
        self.namespaces: set[str] | None = None
        """Namespaces that exist; None: all do."""
        self._failures: list[tuple[str, OutsideError, bool]] = []

    def fail_next(self, operation: str, error: OutsideError, *, after: bool = False) -> None:
        """The next write whose operation begins so (`vminstance.create`) raises; with `after`, once it took effect."""
        self._failures.append((operation, error, after))

    async def get(self, kind: type[R], name: str, namespace: str | None = None) -> R:
        return kind.parse(self._raw(kind, namespace, name))

    async def list_objects(self, kind: type[R], namespace: str | None = None, *, labels: dict[str, str] | None = None) -> list[R]:
        found = []
        for (of, where, _), raw in sorted(self.objects.items(), key=lambda item: (item[0][1] or "", item[0][2])):
            mine = raw["metadata"].get("labels", {})
            if (
                of == kind.KIND
                and (namespace is None or where == namespace)
                and all(mine.get(key) == value for key, value in (labels or {}).items())
            ):
                found.append(kind.parse(raw))
        return found

    async def create(self, obj: R) -> R:
        async def create() -> R:
            namespace = obj.metadata.namespace
            if obj.NAMESPACED and self.namespaces is not None and namespace not in self.namespaces:
                raise NotFound(SYSTEM, "NotFound", f'namespaces "{namespace}" not found')
            key = (obj.KIND, namespace if obj.NAMESPACED else None, obj.metadata.name)
            if key in self.objects:
                raise Conflict(SYSTEM, "AlreadyExists", f'{obj.PLURAL} "{obj.metadata.name}" already exists')
            raw = _jsonable(obj.manifest())
            raw["apiVersion"] = API_VERSION
            raw["metadata"].update(
                uid=str(uuid.uuid4()), generation=1, creationTimestamp=self._stamp(), resourceVersion=self._next_version()
            )
            raw["metadata"].pop("deletionTimestamp", None)
            self._check(type(obj), raw)
            self.objects[key] = raw
            return type(obj).parse(raw)

        return await self._write("create", obj, create)

    async def patch_status(self, obj: R, status: Json, *, expect: str | None = None) -> R:
        body = {"status": _jsonable(fit_status(type(obj), status))}
        return await self._write("status.patch", obj, lambda: self._patched(obj, body, expect, only="status"))

    async def patch(self, obj: R, body: Json, *, expect: str | None = None) -> R:
        changed = {key: value for key, value in _jsonable(body).items() if key != "status"}
        return await self._write("patch", obj, lambda: self._patched(obj, changed, expect))

    async def add_finalizer(self, obj: R, finalizer: str) -> R:
        if finalizer in obj.metadata.finalizers:
            return obj

        async def add() -> R:
            raw = self._same(obj)
            finalizers = raw["metadata"].get("finalizers", [])
            if finalizer in finalizers:
                return type(obj).parse(raw)
            if "deletionTimestamp" in raw["metadata"]:
                raise Conflict(SYSTEM, "Deleting", f"{obj.KIND} {obj.key} is being deleted: no finalizer can be added")
            return await self._patched(obj, {"metadata": {"finalizers": [*finalizers, finalizer]}}, None)

        return await self._write("finalizer.add", obj, add)

    async def remove_finalizer(self, obj: R, finalizer: str) -> None:
        async def remove() -> None:
            try:
                raw = self._same(obj)
            except NotFound:
                return
            left = [name for name in raw["metadata"].get("finalizers", []) if name != finalizer]
            if left != raw["metadata"].get("finalizers", []):
                await self._patched(obj, {"metadata": {"finalizers": left}}, None)

        await self._write("finalizer.remove", obj, remove)

    async def delete(self, obj: R) -> None:
        wanted = obj.uid

        async def delete() -> None:
            key = self._key(obj)
            raw = self.objects.get(key)
            if raw is None:
                return
            if raw["metadata"]["uid"] != wanted:
                raise Conflict(SYSTEM, "Conflict", f"Precondition failed: UID in precondition: {wanted}")
            if raw["metadata"].get("finalizers"):
                if "deletionTimestamp" not in raw["metadata"]:
                    deleted = {
                        "deletionTimestamp": self._stamp(),
                        "resourceVersion": self._next_version(),
                        "generation": raw["metadata"]["generation"] + 1,
                    }
                    self.objects[key] = {**raw, "metadata": {**raw["metadata"], **deleted}}
            else:
                del self.objects[key]

        await self._write("delete", obj, delete)

    async def get_secret(self, name: str) -> dict[str, str]:
        return dict(self._secret(name).data)

    async def create_secret(self, name: str, data: dict[str, str], labels: dict[str, str], annotations: dict[str, str]) -> None:
        async def create() -> None:
            if name in self.secrets:
                raise Conflict(SYSTEM, "AlreadyExists", f'secrets "{name}" already exists')
            self.secrets[name] = FakeSecret(dict(data), dict(labels), dict(annotations))

        await self._effect("secret.create", name, create)

    def edit_secret(self, name: str, data: dict[str, str]) -> None:
        """As people do: the operator itself changes none."""
        self._secret(name).data.update(data)

    async def delete_secret(self, name: str) -> None:
        async def delete() -> None:
            self.secrets.pop(name, None)

        await self._effect("secret.delete", name, delete)

    async def list_secrets(self, labels: dict[str, str]) -> list[tuple[str, dict[str, str], dict[str, str]]]:
        return [
            (name, dict(secret.annotations), dict(secret.data))
            for name, secret in sorted(self.secrets.items())
            if all(secret.labels.get(key) == value for key, value in labels.items())
        ]

    async def emit(self, obj: R, type_: str, reason: str, message: str) -> None:
        event = EmittedEvent(obj.KIND, obj.key, type_, reason, message)

        async def put() -> None:
            self.events[event] = self.events.get(event, 0) + 1

        try:
            await self._effect("event.emit", obj.key, put)
        except OutsideError:
            return

    def _secret(self, name: str) -> FakeSecret:
        if name not in self.secrets:
            raise NotFound(SYSTEM, "NotFound", f'secrets "{name}" not found')
        return self.secrets[name]

    async def _write(self, verb: str, obj: Resource[Any, Any], call: Callable[[], Awaitable[T]]) -> T:
        return await self._effect(f"{obj.KIND.lower()}.{verb}", obj.key, call)

    async def _effect(self, operation: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        async def with_failures() -> T:
            due = next((failure for failure in self._failures if operation.startswith(failure[0])), None)
            if due is not None:
                self._failures.remove(due)
                if not due[2]:
                    raise due[1]
            result = await call()
            if due is not None:
                raise due[1]
            return result

        return await self._effects.write(SYSTEM, operation, target, with_failures)

    async def _patched(self, obj: R, body: Json, expect: str | None, only: str | None = None) -> R:
        raw = self._same(obj) if expect is None else self._raw(type(obj), obj.metadata.namespace, obj.metadata.name)
        if expect is not None and raw["metadata"]["resourceVersion"] != expect:
            raise Conflict(
                SYSTEM, "Conflict", "the object has been modified; please apply your changes to the latest version and try again"
            )
        new: Json = merge(raw, {only: body[only]} if only else body)
        new["metadata"] = dict(new["metadata"])
        for fixed in ("uid", "resourceVersion", "generation", "creationTimestamp", "name", "namespace"):
            if fixed in raw["metadata"]:
                new["metadata"][fixed] = raw["metadata"][fixed]
        self._check(type(obj), new)
        if new == raw:
            return type(obj).parse(raw)
        if new.get("spec") != raw.get("spec"):
            if obj.KIND in IMMUTABLE:
                raise Rejected(SYSTEM, "Invalid", f"{obj.KIND} {obj.key}: the spec is fixed")
            new["metadata"]["generation"] += 1
        new["metadata"]["resourceVersion"] = self._next_version()
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            del self.objects[self._key(obj)]
        else:
            self.objects[self._key(obj)] = new
        return type(obj).parse(new)

    def _check(self, kind: type[Resource[Any, Any]], raw: Json) -> None:
        try:
            kind.parse(raw)
        except ValidationError as error:
            raise Rejected(SYSTEM, "Invalid", f"{kind.KIND} is invalid: {error}") from error

    def _same(self, obj: Resource[Any, Any]) -> Json:
        raw = self._raw(type(obj), obj.metadata.namespace, obj.metadata.name)
        if obj.metadata.uid is not None and raw["metadata"]["uid"] != obj.metadata.uid:
            raise NotFound(SYSTEM, "NotFound", f"{obj.KIND} {obj.key} with UID {obj.metadata.uid} is gone; one made anew has its name")
        return raw

    def _raw(self, kind: type[Resource[Any, Any]], namespace: str | None, name: str) -> Json:
        if kind.NAMESPACED and namespace is None:
            raise ValueError(f"{kind.KIND} {name}: a namespace is needed")
        key = (kind.KIND, namespace if kind.NAMESPACED else None, name)
        if key not in self.objects:
            raise NotFound(SYSTEM, "NotFound", f'{kind.PLURAL} "{name}" not found')
        return self.objects[key]

    def _key(self, obj: Resource[Any, Any]) -> Key:
        return (obj.KIND, obj.metadata.namespace if obj.NAMESPACED else None, obj.metadata.name)

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(target: Any, change: Any) -> Any:
    """RFC 7396."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    out = dict(target) if isinstance(target, dict) else {}  # the rest is shared: nothing stored is ever changed in place
    for key, value in change.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge(out.get(key), value)
    return out


def _jsonable(body: Json) -> Json:
    out: Json = to_jsonable_python(body)
    return out
