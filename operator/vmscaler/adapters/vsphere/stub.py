"""pyvmomi's SOAP connection with a limit for each call. Made by session.py, one per vCenter.

pyvmomi knows a time-out for each wait on the socket only. Here no request begins once its caller has given up or its time is over, so
nothing acts behind anybody's back, and a pooled connection that the server has closed meanwhile is not used for a write.
"""

from __future__ import annotations

import select
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

from pyVmomi.SoapAdapter import SoapStubAdapter

# All that is used here is in every vCenter's API since 7.0; a newer server answers a client of this version, an older one would refuse
# the name of a newer API.
API_VERSION = "vim.version.v7_0"
# Idle connections are kept for this long (seconds): well below what proxies in front of a vCenter allow.
IDLE = 30


class GivenUp(Exception):
    """The call's time is over, or nobody waits for it any more: no further request was sent."""


class Limit:
    """What one call may still do: until its deadline, while its caller waits."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """From now on nothing is sent for this call."""
        self._given_up.set()

    def left(self) -> float:
        """Seconds. Raises GivenUp when none are left."""
        left = self._deadline - time.monotonic()
        if left <= 0 or self._given_up.is_set():
            raise GivenUp
        return left


class LimitedStub(SoapStubAdapter):
    """One vCenter's connections. `left` gives the seconds left to the call of this thread, or raises GivenUp."""

    def __init__(
        self, host: str, port: int, path: str, context: ssl.SSLContext, *, timeout: float, connections: int, left: Callable[[], float]
    ) -> None:
        parent: Any = super()  # pyvmomi is not typed
        parent.__init__(
            host=host,
            port=port,
            path=path,
            version=API_VERSION,
            sslContext=context,
            poolSize=connections,
            httpConnectionTimeout=timeout,
            connectionPoolTimeout=IDLE,
        )
        self._timeout, self._left = timeout, left

    def GetConnection(self) -> Any:
        """A connection for one request; pyvmomi asks for it just before it sends."""
        parent: Any = super()
        self._left()
        connection = parent.GetConnection()
        while getattr(connection, "returned", False) and _has_ended(connection.sock):
            connection.close()
            connection = parent.GetConnection()
        try:
            connection.timeout = min(self._timeout, self._left())
        except GivenUp:
            connection.close()
            raise
        if connection.sock is not None:
            connection.sock.settimeout(connection.timeout)
        return connection

    def ReturnConnection(self, connection: Any) -> None:
        """Into the pool; from now on its server may close it at any time."""
        parent: Any = super()
        connection.returned = True
        parent.ReturnConnection(connection)


def _has_ended(sock: Any) -> bool:
    """Whether an idle connection's server has closed it: there is something to read where nothing was asked."""
    if sock is None:  # http.client connects anew by itself, and checks the certificate again
        return False
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
