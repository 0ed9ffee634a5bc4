"""One session per vCenter: login, calls in a bounded thread pool, login again on NotAuthenticated. Called by client.py.

SmartConnect without a context would disable verification on loopback, and its thumbprint arguments are unsafe (facts of vSphere,
Connection): so always an SSLContext with the site's CA alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pyVmomi import vim, vmodl

from vmscaler.adapters.tls import pinned_context
from vmscaler.adapters.vsphere.faults import message_of, of_error
from vmscaler.adapters.vsphere.stub import GivenUp, Limit, LimitedStub
from vmscaler.ports.errors import Closed, OutsideError, Retryable, Untrusted
from vmscaler.ports.vsphere import SYSTEM

T = TypeVar("T")
LOG_OUT_WAIT = 5.0


class Session:
    """Runs functions of the service content in threads. `timeout` is for each wait on the network, `deadline` for a whole call; seconds.

    A login that was refused is not tried again for `login_rest`: a vCenter locks accounts after a few of them.
    """

    def __init__(
        self, url: str, username: str, password: str, ca: str, *, timeout: float, deadline: float, threads: int, login_rest: float
    ) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._path = parts.path if parts.path not in ("", "/") else "/sdk"
        self._username, self._password, self._ca = username, password, ca
        self._timeout, self._deadline, self._connections, self._login_rest = timeout, deadline, threads, login_rest
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="vsphere")
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._stub: Any = None
        self._content: Any = None
        self._refusal: tuple[float, str] | None = None
        self._closed = False

    async def call(self, what: str, function: Callable[[Any], T]) -> T:
        """Run function(content) in a thread. Raises what ports.vsphere names; `what` says what was tried.

        A cancelled caller waits for the request that is under way, and no further one is sent.
        """
        limit = Limit(self._deadline)
        try:
            future = self._pool.submit(self._run, what, function, limit)
        except RuntimeError as error:
            raise Closed(SYSTEM, "ClientClosed", f"{what}: this client of {self._url} was closed", after=1.0) from error
        work = asyncio.wrap_future(future)
        try:
            done, _ = await asyncio.wait({work}, timeout=self._deadline)
        except asyncio.CancelledError:
            limit.give_up()
            if not future.cancel():
                await asyncio.wait({work})
                work.exception()
            raise
        if not done:
            work.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise Retryable(SYSTEM, "Timeout", f"{what}: no answer from {self._url} within {self._deadline:g} s", after=5.0)
        return work.result()

    async def fresh(self, what: str, function: Callable[[Any], T]) -> T:
        """As `call`, on a new connection: the server shows its certificate again."""

        def anew(content: Any) -> T:
            content.sessionManager._stub.DropConnections()
            return function(content)

        return await self.call(what, anew)

    def _run(self, what: str, function: Callable[[Any], T], limit: Limit) -> T:
        self._thread.limit = limit
        try:
            content = self._logged_in()
            try:
                return function(content)
            except vim.fault.NotAuthenticated:
                # Nothing was done; objects stay valid on the same stub.
                return function(self._logged_in(instead_of=content))
        except OutsideError:
            raise
        except Exception as error:
            raise of_error(what, self._url, error) from error

    def _left(self) -> float:
        limit: Limit = self._thread.limit
        return limit.left()

    def _logged_in(self, instead_of: Any = None) -> Any:
        """The service content. `instead_of` is that of a session which has ended: the first who says so logs in, for all."""
        if not self._lock.acquire(timeout=self._left()):
            raise GivenUp
        try:
            if self._closed:
                raise Closed(SYSTEM, "ClientClosed", f"this client of {self._url} was closed", after=1.0)
            if self._content is None or self._content is instead_of:
                self._content = self._log_in()
            return self._content
        finally:
            self._lock.release()

    def _log_in(self) -> Any:
        if self._refusal is not None and time.monotonic() < self._refusal[0]:
            raise Untrusted(SYSTEM, "LoginRefused", self._refusal[1], after=self._refusal[0] - time.monotonic())
        if self._stub is None:
            self._stub = self._make_stub()
        elif self._content is not None:
            # Where a session is logged in after all, a login is refused as a wrong password is.
            with contextlib.suppress(vmodl.MethodFault):
                self._content.sessionManager.Logout()
        content: Any = vim.ServiceInstance("ServiceInstance", self._stub).RetrieveContent()
        try:
            content.sessionManager.Login(self._username, self._password, None)
        except (vim.fault.InvalidLogin, vim.fault.NoPermission) as error:
            said = f"{self._url} refuses the login ({message_of(error)}): correct username and password in its Secret"
            self._refusal = (time.monotonic() + self._login_rest, said)
            raise Untrusted(SYSTEM, "LoginRefused", said, after=self._login_rest) from error
        self._refusal = None
        return content

    def _make_stub(self) -> Any:
        context = pinned_context(self._ca, SYSTEM, "spec.vcenter.caBundle")
        return LimitedStub(
            self._host, self._port, self._path, context, timeout=self._timeout, connections=self._connections, left=self._left
        )

    async def close(self) -> None:
        """Log out, close connections, end the threads. A vCenter that is away forgets the session by itself."""

        def log_out() -> None:
            self._thread.limit = Limit(LOG_OUT_WAIT)
            with self._lock:
                self._closed = True
                content, stub, self._content, self._stub = self._content, self._stub, None, None
            try:
                if content is not None:
                    content.sessionManager.Logout()
            finally:
                if stub is not None:
                    stub.DropConnections()

        try:
            future = self._pool.submit(log_out)
        except RuntimeError:
            return
        self._pool.shutdown(wait=False)
        with contextlib.suppress(Exception):
            # Not wait_for, which on Python 3.11 drops a cancellation that comes in the moment of the answer.
            async with asyncio.timeout(LOG_OUT_WAIT):
                await asyncio.wrap_future(future)
