"""HTTP to one Prometheus or Alertmanager: pinned CA, bounded answers, no redirects, and what goes wrong in the port's words.

Used by adapters/prometheus, adapters/alertmanager and adapters/monitoring_host, and by nothing else.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from vmscaler.adapters.tls import pinned_context
from vmscaler.ports.errors import Closed, OutsideError, Retryable, Untrusted
from vmscaler.ports.monitoring import SYSTEM

T = TypeVar("T")

_MOST = 32 * 1024 * 1024


@dataclass(frozen=True)
class Endpoint:
    """One server: its name in the Site, base URL, and CA as PEM, without which https is refused."""

    name: str
    url: str
    ca: str | None = None


class MonitoringHttp:
    """Calls to one server. Raises Retryable (no or an odd answer; Closed), Untrusted (certificate, 401, 403), Rejected(CaNotUsable)."""

    def __init__(self, endpoint: Endpoint, *, timeout: float = 15.0) -> None:
        """`timeout` in seconds, for a whole call."""
        self.endpoint = endpoint
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def close(self) -> None:
        """Close connections; later calls raise Closed."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get_json(self, path: str, params: Iterable[tuple[str, str]] = ()) -> Any:
        """The JSON of a 200."""
        text = await self.get_text(path, params)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.odd(f"{path} is no JSON ({error})") from None

    async def get_text(self, path: str, params: Iterable[tuple[str, str]] = ()) -> str:
        """The text of a 200."""
        status, text = await self.call("GET", path, params)
        if status in (401, 403):
            raise Untrusted(
                SYSTEM, "LoginRefused", f"{self._where} answers {status} to {path}: it must answer the operator without a login"
            )
        if status != 200:
            raise self.odd(f"{path} answered {status}: {text[:200].strip()}")
        return text

    async def call(self, method: str, path: str, params: Iterable[tuple[str, str]] = ()) -> tuple[int, str]:
        """Status and text of any answer."""
        if self._closed:
            raise Closed(SYSTEM, "Closed", f"{self._where}: this client was closed: its Site or Secret has changed", after=1.0)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, connector=aiohttp.TCPConnector(ssl=self._context()))
        url = URL(self.endpoint.url.rstrip("/") + path).with_query(list(params))
        try:
            async with self._session.request(method, url, allow_redirects=False) as answer:
                return answer.status, await self._read(answer)
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError, aiohttp.ClientSSLError) as error:
            raise Untrusted(
                SYSTEM,
                "CertificateNotTrusted",
                f"{self._where} shows a certificate that caBundle does not vouch for ({error}): correct caBundle or the certificate",
            ) from None
        except TimeoutError:
            raise Retryable(SYSTEM, "Unreachable", f"{self._where} did not answer in {self._timeout.total:.0f} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Retryable(SYSTEM, "Unreachable", f"{self._where} cannot be reached: {_why(error)}") from None

    async def _read(self, answer: aiohttp.ClientResponse) -> str:
        body = bytearray()
        async for chunk in answer.content.iter_chunked(1 << 16):
            body += chunk
            if len(body) > _MOST:
                raise self.odd(f"the answer is larger than {_MOST} bytes")
        return body.decode(errors="replace")

    def _context(self) -> ssl.SSLContext | bool:
        if not self.endpoint.url.startswith("https:"):
            return True  # no TLS: nothing to check
        return pinned_context(self.endpoint.ca or "", SYSTEM, f"caBundle of {self.endpoint.name}")

    @property
    def _where(self) -> str:
        return f"{self.endpoint.name} at {self.endpoint.url}"

    def odd(self, what: str) -> Retryable:
        """The error for an answer that makes no sense."""
        return Retryable(SYSTEM, "UnexpectedAnswer", f"{self._where}: {what}")


async def all_that_answer(servers: Sequence[MonitoringHttp], ask: Callable[[MonitoringHttp], Awaitable[T]]) -> list[T]:
    """The answers of those that answer, in order. Raises the first one's error where none does."""
    answers: list[T] = []
    errors: list[OutsideError] = []
    for server in servers:
        try:
            answers.append(await ask(server))
        except OutsideError as error:
            errors.append(error)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # JSON of another shape than documented
            errors.append(server.odd(f"the answer has another shape than expected ({error!r})"))
    if not answers:
        raise errors[0]
    return answers


def data_of(answer: Any) -> Mapping[str, Any]:
    """The `data` of Prometheus' JSON envelope; empty where it is none."""
    data = answer.get("data") if isinstance(answer, dict) else None
    return data if isinstance(data, dict) else {}


def _why(error: Exception) -> str:
    """aiohttp's own words speak of `ssl:default` for plain HTTP too; the system's say what is wrong."""
    if isinstance(error, aiohttp.ClientConnectorError):
        inner = error.os_error
        return os.strerror(inner.errno) if inner.errno and inner.errno > 0 else inner.strerror or str(inner)
    return str(error) or type(error).__name__
