"""Secrets of the operator's namespace, and of no other: its account has no right to them elsewhere (deploy/rbac.yaml)."""

from __future__ import annotations

import base64
import binascii

import structlog

from vmscaler.adapters.kube.answers import SYSTEM
from vmscaler.adapters.kube.rest import Rest, segment, selector
from vmscaler.api.meta import Json
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import NotFound, Rejected

log = structlog.get_logger()


class SecretStore:
    """core/v1 Secrets of type Opaque, as text. Used by `KubeClient`; says what it raises there."""

    def __init__(self, rest: Rest, namespace: str, effects: Effects) -> None:
        self._rest = rest
        self._namespace = namespace
        self._effects = effects

    async def get(self, name: str) -> dict[str, str]:
        return _decoded(await self._rest.call("GET", self._of(name)))

    async def list_all(self, labels: dict[str, str]) -> list[tuple[str, dict[str, str], dict[str, str]]]:
        found = []
        async for item in self._rest.pages(self._path, selector(labels)):
            metadata = item["metadata"]
            try:
                found.append((metadata["name"], metadata.get("annotations") or {}, _decoded(item)))
            except Rejected as error:  # one that somebody spoiled must not hide the others
                log.warning("left out of a list", kind="Secret", reason=error.reason, error=str(error))
        return found

    async def create(self, name: str, data: dict[str, str], labels: dict[str, str], annotations: dict[str, str]) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {"name": segment(name), "labels": labels, "annotations": annotations},
            "data": _encoded(data),
        }
        path = self._path
        await self._effects.write(SYSTEM, "secret.create", name, lambda: self._rest.call("POST", path, body=body))

    async def delete(self, name: str) -> None:
        async def delete() -> None:
            try:
                await self._rest.call("DELETE", self._of(name))
            except NotFound:
                return

        await self._effects.write(SYSTEM, "secret.delete", name, delete)

    @property
    def _path(self) -> str:
        # Not in the constructor: a client that only reads our kinds has no namespace of its own.
        return f"/api/v1/namespaces/{segment(self._namespace)}/secrets"

    def _of(self, name: str) -> str:
        return f"{self._path}/{segment(name)}"


def _encoded(data: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def _decoded(secret: Json) -> dict[str, str]:
    out = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            out[key] = base64.b64decode(value).decode()
        except (binascii.Error, UnicodeDecodeError):
            name = secret.get("metadata", {}).get("name", "")
            # Not chained: the decoder's error holds the bytes.
            raise Rejected(SYSTEM, "SecretNotText", f"Secret {name}: the key {key} is not UTF-8 text: write it anew") from None
    return out
