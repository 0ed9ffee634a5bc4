"""One call to the API server: JSON in, JSON out, every failure as one of `vmscaler.ports.errors`.

Called by `KubeClient`, `EventRecorder`, `SecretStore` and `LeaseLock`. Generated per-kind methods of the library are not used: our kinds have
none, and reading answers as plain JSON lets pydantic do the typing in one place.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.exceptions import OpenApiException
from pydantic_core import to_jsonable_python

from vmscaler.adapters.kube.answers import SYSTEM, error_of
from vmscaler.api.meta import Json
from vmscaler.ports.errors import NotFound, OutsideError, Rejected, Retryable, Untrusted

PAGE = 500
TIMEOUT = 30.0
MERGE_PATCH = "application/merge-patch+json"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class Rest:
    """Calls with a time-out (seconds), the account's token, and errors of our taxonomy."""

    def __init__(self, api_client: ApiClient, timeout: float = TIMEOUT) -> None:
        self._client = api_client
        self._timeout = timeout

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> Json:
        """The answer's JSON. Raises Retryable, Untrusted, Rejected, NotFound, Conflict."""
        what = f"{method} {path}"
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            arguments = await self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=None if body is None else to_jsonable_python(body),
                auth_settings=["BearerToken"],
            )
            answer: Any = await self._client.call_api(*arguments, _request_timeout=timeout or self._timeout)
            content: bytes = await answer.read()
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError, ssl.SSLError) as error:
            raise Untrusted(SYSTEM, "CertificateRefused", f"{what}: the API server's certificate was refused: {error}") from error
        except TimeoutError as error:
            raise Retryable(SYSTEM, "TimedOut", f"{what}: no answer in {timeout or self._timeout:g} s") from error
        except (aiohttp.ClientError, OpenApiException, OSError, asyncio.IncompleteReadError) as error:
            raise Retryable(SYSTEM, "Unreachable", f"{what}: {error or type(error).__name__}") from error
        return _json(what, answer.status, answer.headers, content)

    async def pages(self, path: str, query: dict[str, str] | None = None) -> AsyncIterator[Json]:
        """All items of a list, page by page; from the start again if the list expires while it is read (410)."""
        for item in await self._all(path, query or {}):
            yield item

    async def _all(self, path: str, query: dict[str, str]) -> list[Json]:
        for _ in range(3):
            items: list[Json] = []
            more = ""
            try:
                while True:
                    page = await self.call("GET", path, query={**query, "limit": str(PAGE), **({"continue": more} if more else {})})
                    items.extend(page.get("items") or [])
                    more = page.get("metadata", {}).get("continue") or ""
                    if not more:
                        return items
            except Rejected as error:
                if error.reason != "Expired":
                    raise
        raise Retryable(SYSTEM, "Expired", f"GET {path}: the list kept expiring while it was read")


def _json(what: str, status: int, headers: Any, content: bytes) -> Json:
    try:
        answer = json.loads(content) if content else {}
    except ValueError:
        answer = {"message": content[:200].decode(errors="replace")}
        if status < 300:
            raise Retryable(SYSTEM, "OddAnswer", f"{what}: the answer is not JSON: {answer['message']!r}") from None
    if not isinstance(answer, dict):
        raise Retryable(SYSTEM, "OddAnswer", f"{what}: the answer is not a JSON object")
    if status >= 300:
        error: OutsideError = error_of(what, status, answer, headers.get("Retry-After"))
        raise error
    return answer


def segment(name: str) -> str:
    """A name as part of a path. Raises NotFound for what no object can be called: nothing else ever gets into a URL."""
    if not _NAME.fullmatch(name):
        raise NotFound(SYSTEM, "NotFound", f"{name!r} cannot be an object's name: use lower-case letters, digits, '-' and '.'")
    return name


def selector(labels: dict[str, str]) -> dict[str, str]:
    """The query for these labels. Raises ValueError for what cannot be a label: a comma would be another condition."""
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise ValueError(f"{key!r}={value!r} cannot be a label")
    return {"labelSelector": ",".join(f"{key}={value}" for key, value in sorted(labels.items()))} if labels else {}
