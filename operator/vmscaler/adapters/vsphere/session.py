"""One session per vCenter: login, calls in a bounded thread pool, login again on NotAuthenticated, errors mapped in one place.

SmartConnect without a context would disable verification on loopback, and its thumbprint arguments are unsafe (facts of vSphere,
Connection): so always an SSLContext with the site's CA alone.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pyVmomi import vim, vmodl
from pyVmomi.SoapAdapter import SoapStubAdapter

from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable, Untrusted
from vmscaler.ports.vsphere import SYSTEM

T = TypeVar("T")

# vim/service/version of vSphere 8.0 U3; older servers answer what they know.
API_VERSION = "vim.version.v8_0_3_0"


class Session:
    """Runs functions of the service content in threads. `timeout` is the socket's, in seconds; a whole call gets `deadline`."""

    def __init__(
        self, url: str, username: str, password: str, ca: str, *, timeout: float = 20.0, deadline: float = 60.0, threads: int = 4
    ) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._path = parts.path if parts.path not in ("", "/") else "/sdk"
        self._username, self._password, self._ca = username, password, ca
        self._timeout, self._deadline, self._threads = timeout, deadline, threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="vsphere")
        self._lock = threading.Lock()
        self._content: Any = None
        self._stub: Any = None

    async def call(self, what: str, function: Callable[[Any], T]) -> T:
        """Run function(content) in a thread. Raises what ports.vsphere names; `what` says what was tried.

        A cancelled caller still waits for the thread: nothing may act behind its back.
        """
        work = asyncio.get_running_loop().run_in_executor(self._pool, self._run, what, function)
        try:
            return await asyncio.wait_for(asyncio.shield(work), self._deadline)
        except TimeoutError as error:
            raise Retryable(SYSTEM, "Timeout", f"{what}: no answer from {self._url} within {self._deadline:.0f} s", after=5.0) from error
        except asyncio.CancelledError:
            await asyncio.wait([work])
            raise

    def _run(self, what: str, function: Callable[[Any], T]) -> T:
        try:
            content = self._log_in()
            try:
                return function(content)
            except vim.fault.NotAuthenticated:
                return function(self._log_in(again=content))
        except OutsideError:
            raise
        except Exception as error:
            raise self._mapped(what, error) from error

    def _log_in(self, again: Any = None) -> Any:
        with self._lock:
            if self._content is None or self._content is again:
                if self._stub is None:
                    self._stub = self._make_stub()
                content: Any = vim.ServiceInstance("ServiceInstance", self._stub).RetrieveContent()
                try:
                    content.sessionManager.Login(self._username, self._password, None)
                except vim.fault.InvalidLogin as error:
                    raise Untrusted(
                        SYSTEM, "LoginRefused", f"{self._url} refuses the login: correct username and password in its Secret", after=15.0
                    ) from error
                self._content = content
            return self._content

    def _make_stub(self) -> Any:
        try:
            context = ssl.create_default_context(cadata=self._ca)
        except ssl.SSLError as error:
            raise Rejected(SYSTEM, "CaNotUsable", f"spec.vcenter.caBundle is not usable: {error}") from error
        return SoapStubAdapter(
            host=self._host,
            port=self._port,
            path=self._path,
            version=API_VERSION,
            sslContext=context,
            poolSize=self._threads,
            httpConnectionTimeout=self._timeout,
        )

    def _mapped(self, what: str, error: Exception) -> OutsideError:
        """From SDK and socket errors to the taxonomy."""
        where = f"{what}: {self._url}"
        if isinstance(error, ssl.SSLCertVerificationError):
            return Untrusted(
                SYSTEM,
                "CertificateNotTrusted",
                f"{where}: {error.verify_message}: put the CA of its certificate into spec.vcenter.caBundle",
                after=15.0,
            )
        if isinstance(error, vmodl.fault.ManagedObjectNotFound):
            return NotFound(SYSTEM, "ObjectNotFound", f"{what}: vCenter has no such object any more")
        if isinstance(error, vim.fault.NoPermission | vmodl.fault.SecurityError):
            return Rejected(SYSTEM, "NotPermitted", f"{what}: the vCenter user may not do that: {message_of(error)}")
        if isinstance(error, vim.fault.DuplicateName):
            return Conflict(SYSTEM, "DuplicateName", f"{what}: the name is taken")
        if isinstance(error, vim.fault.TaskInProgress | vim.fault.ConcurrentAccess | vmodl.fault.HostCommunication):
            return Retryable(SYSTEM, name_of(error), f"{what}: {message_of(error)}", after=2.0)
        if isinstance(error, vim.fault.NotAuthenticated):
            return Retryable(SYSTEM, "NotAuthenticated", f"{where}: the session ended", after=1.0)
        if isinstance(error, vmodl.MethodFault | vmodl.RuntimeFault):
            return Rejected(SYSTEM, name_of(error), f"{what}: {message_of(error)}")
        if isinstance(error, OSError | http.client.HTTPException | socket.timeout | ssl.SSLError):
            return Retryable(SYSTEM, "Unreachable", f"{where} cannot be reached: {error or type(error).__name__}", after=5.0)
        return Retryable(SYSTEM, "UnexpectedAnswer", f"{where}: {type(error).__name__}: {str(error)[:200]}", after=5.0)

    async def close(self) -> None:
        """Log out, close connections, end the threads."""

        def log_out() -> None:
            with self._lock:
                content, stub, self._content, self._stub = self._content, self._stub, None, None
            if content is not None:
                content.sessionManager.Logout()
            if stub is not None:
                stub.DropConnections()

        try:
            await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(self._pool, log_out), 5.0)
        except Exception:  # noqa: S110 - a vCenter that is away forgets the session by itself
            pass
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)


def name_of(fault: Exception) -> str:
    """A fault's type without its package: DuplicateName."""
    return type(fault).__name__.rpartition(".")[2]


def message_of(fault: Any) -> str:
    """A fault's own words, bounded and on one line."""
    text = getattr(fault, "msg", "") or getattr(fault, "localizedMessage", "") or name_of(fault)
    return " ".join(str(text).split())[:300]
