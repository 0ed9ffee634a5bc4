"""One HTTPS exchange with one unit: who it is, how long it may take, and what its failures are called. Called by `login` and `unit`."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from vmscaler.adapters.bigip.answers import Reply
from vmscaler.decide.words import plain
from vmscaler.ports.bigip import SYSTEM
from vmscaler.ports.errors import Closed, Rejected, Retryable, Untrusted

CONNECTIONS = 2
LARGEST = 64 << 20
# Below what servers allow (5 s at Apache): a connection that the other side is closing would lose a write's answer.
_KEEP_ALIVE = 4.0


class _BrokenError(aiohttp.ClientError):
    """The connection broke in the middle of an exchange."""


async def _once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """aiohttp sends a GET or DELETE again, unasked, when the connection breaks; a write is ours to repeat, through the effects seam."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _BrokenError from error


class Wire:
    """Exchanges with `url`; at most two at a time (facts/bigip.md "Load"). Seconds: to connect, and for a whole exchange."""

    def __init__(self, url: str, tls: ssl.SSLContext, *, connect_timeout: float, timeout: float) -> None:
        """Connects at the first exchange. Raises Rejected(UrlNotHttps)."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise Rejected(SYSTEM, "UrlNotHttps", f"{plain(url, 300)!r} of spec.bigip.urls is no https URL: credentials go over TLS only")
        self.host = parts.netloc.rpartition("@")[2]
        self._url, self._tls = url.rstrip("/"), tls
        self._connect_timeout, self._timeout = connect_timeout, timeout
        # Waiting for a connection is not the device's time, so it is done here and not within aiohttp's limits.
        self._slots = asyncio.Semaphore(CONNECTIONS)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise Closed(SYSTEM, "Closed", f"the client of {self.host} was closed: its Site or Secret has changed", after=1.0)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=CONNECTIONS, keepalive_timeout=_KEEP_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),  # its web server sets one that would stand beside the token
                middlewares=(_once,),
                trust_env=False,
            )
        return self._session

    async def exchange(
        self, method: str, path: str, what: str, *, token: str = "", body: object = None, timeout: float | None = None
    ) -> Reply:
        """Send, and read the answer. `path` is escaped and absolute, with its query; `what` names the matter in errors.

        Raises Retryable(Unreachable | TimedOut | ConnectionLost | TlsFailed | UnexpectedAnswer | Closed), Untrusted(CertificateNotTrusted).
        """
        seconds = timeout or self._timeout
        limit = aiohttp.ClientTimeout(total=seconds, sock_connect=min(self._connect_timeout, seconds))
        headers = {"X-F5-Auth-Token": token} if token else {}
        async with self._slots:
            session = self._open()
            try:
                async with session.request(
                    method, URL(self._url + path, encoded=True), json=body, headers=headers, allow_redirects=False, timeout=limit
                ) as answer:
                    return Reply(answer.status, await self._content(answer), answer.headers.get("Location", ""))
            except aiohttp.ClientConnectorCertificateError as error:
                why = getattr(error.certificate_error, "verify_message", "") or type(error.certificate_error).__name__
                raise Untrusted(
                    SYSTEM,
                    "CertificateNotTrusted",
                    f"the certificate of {self.host} is not from spec.bigip.caBundle, or not for this name; nothing was sent ({plain(why, 300)})",
                ) from error
            except aiohttp.ClientSSLError as error:
                raise Retryable(SYSTEM, "TlsFailed", f"no TLS with {self.host} ({type(error).__name__}): is it the BIG-IP?") from error
            except TimeoutError as error:
                raise Retryable(SYSTEM, "TimedOut", f"{self.host} did not answer within {limit.total:g} s ({what})") from error
            except aiohttp.ClientConnectorError as error:
                why = error.os_error.strerror or type(error.os_error).__name__
                raise Retryable(SYSTEM, "Unreachable", f"{self.host} cannot be reached: {plain(why, 100)}") from error
            # Their texts may hold the URL, which holds the token where a token is given back.
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise Retryable(SYSTEM, "ConnectionLost", f"{self.host} broke off ({what}: {type(error).__name__})") from None
            except RuntimeError:  # closed while this waited
                if not self._closed:
                    raise
                raise Closed(SYSTEM, "Closed", f"the client of {self.host} was closed", after=1.0) from None

    async def _content(self, answer: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for chunk in answer.content.iter_any():
            content += chunk
            if len(content) > LARGEST:
                raise Retryable(SYSTEM, "UnexpectedAnswer", f"{self.host} answers with more than {LARGEST >> 20} MiB")
        return bytes(content)

    async def close(self) -> None:
        """Close the connections; exchanges under way end with Retryable."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
