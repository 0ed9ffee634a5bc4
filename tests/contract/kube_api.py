"""A plain HTTP client of the API server for tests that send what no well-behaved client would."""

from __future__ import annotations

import contextlib
import json
import ssl
import uuid
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any

import aiohttp

from lab.controlplane import ControlPlane
from vmscaler.api.crd import KINDS
from vmscaler.api.meta import API_VERSION

Json = dict[str, Any]
_PLURAL = {kind.KIND: kind.PLURAL for kind in KINDS}


class KubeApi:
    """As the administrator; writes are server dry runs with strict field validation unless `dry` is false."""

    def __init__(self, cluster: ControlPlane) -> None:
        tls = ssl.create_default_context(cadata=cluster.ca)
        headers = {"Authorization": f"Bearer {cluster.part.record['adminToken']}", "Content-Type": "application/json"}
        self._http = aiohttp.ClientSession(cluster.server, connector=aiohttp.TCPConnector(ssl=tls), headers=headers)

    async def __aenter__(self) -> KubeApi:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.close()

    async def create(self, obj: Json, *, dry: bool = True, insert: dict[str, str] | None = None) -> tuple[int, Json]:
        """Status and answer. `insert`: text to put in place of text in the request's JSON."""
        return await self._send("POST", _path(obj), obj, dry, insert)

    async def replace(self, obj: Json, *, dry: bool = True) -> tuple[int, Json]:
        """Status and answer; `obj` is the whole object with its resourceVersion."""
        return await self._send("PUT", f"{_path(obj)}/{obj['metadata']['name']}", obj, dry)

    async def delete(self, obj: Json) -> None:
        """Absent is fine."""
        await self._send("DELETE", f"{_path(obj)}/{obj['metadata']['name']}", {}, dry=False)

    async def make_namespace(self, name: str) -> None:
        """A namespace of a test's own."""
        whole = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        status, answer = await self._send("POST", "/api/v1/namespaces", whole, dry=False)
        assert status == 201, answer

    async def drop_namespace(self, name: str) -> None:
        """Ask for its end; nobody waits for it."""
        await self._send("DELETE", f"/api/v1/namespaces/{name}", {}, dry=False)

    async def may(self, user: str, verb: str, resource: str, namespace: str | None, name: str = "") -> bool:
        """Whether RBAC lets the user (a SubjectAccessReview). `resource`: [group|]resource[/subresource]."""
        group, _, rest = resource.rpartition("|")
        kind, _, sub = rest.partition("/")
        where = {"verb": verb, "group": group, "resource": kind, "subresource": sub, "name": name, "namespace": namespace or ""}
        groups = ["system:serviceaccounts", "system:authenticated"]
        review = {"kind": "SubjectAccessReview", "spec": {"user": user, "groups": groups, "resourceAttributes": where}}
        review["apiVersion"] = "authorization.k8s.io/v1"
        status, answer = await self._send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review, dry=False)
        assert status == 201, answer
        return bool(answer["status"]["allowed"])

    async def _send(self, method: str, path: str, body: Json, dry: bool, insert: dict[str, str] | None = None) -> tuple[int, Json]:
        query = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry else {})}
        # ASCII: an unpaired surrogate travels as an escape.
        data = json.dumps(body, ensure_ascii=True)
        for old, new in (insert or {}).items():
            data = data.replace(old, new)
        async with self._http.request(method, path, params=query if method != "DELETE" else {}, data=data.encode()) as answer:
            return answer.status, await answer.json()


def _path(obj: Json) -> str:
    namespace = obj["metadata"].get("namespace")
    return f"/apis/{API_VERSION}/{f'namespaces/{namespace}/' if namespace else ''}{_PLURAL[obj['kind']]}"


@contextlib.asynccontextmanager
async def temporary_namespace(cluster: ControlPlane, prefix: str) -> AsyncIterator[str]:
    """`<prefix>-<something>`, as long as the context lasts."""
    name = f"{prefix}-{uuid.uuid4().hex[:8]}"
    async with KubeApi(cluster) as api:
        await api.make_namespace(name)
        try:
            yield name
        finally:
            await api.drop_namespace(name)


def causes(answer: Json) -> dict[str, str]:
    """Field -> message of a 422 (the last one, where a field has several)."""
    return {cause.get("field", ""): cause["message"] for cause in answer.get("details", {}).get("causes", [])}
