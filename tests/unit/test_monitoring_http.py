"""What is said of a Prometheus or Alertmanager that cannot be reached."""

from __future__ import annotations

import errno
import socket

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from vmscaler.adapters.monitoring_http import _why

KEY = ConnectionKey("mon.example.org", 9090, False, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "Connect call failed ('192.0.2.1', 9090)")), "Connection refused"),
        (
            aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_NONAME, "Name or service not known")),
            "Name or service not known",
        ),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_the_cause_is_told_without_the_librarys_words(error: Exception, said: str) -> None:
    assert _why(error) == said
