"""Asks an address whether somebody is there, and a VM whether it is well. Implements vmscaler.ports.probe.Probe.

Called by the stages allocate and verify. An address is taken to be free if nobody answers, so a probe that could not be made (no route,
no file descriptors, a firewall of this host) is no silence: Retryable(ProbeFailed), from which nothing follows.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
from collections.abc import Sequence

import aiohttp
from yarl import URL

from vmscaler.adapters.network import icmp
from vmscaler.decide.words import plain
from vmscaler.ports.errors import Retryable

# What the network or the host itself answers where no service is.
_SILENCE = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENETRESET}
)
_PATH = re.compile(r"/[!-~]*")
_LONGEST = 100


class NetworkProbe:
    """TCP connects, ICMP echoes, plain GETs. Raises Retryable(ProbeFailed) where this host could not ask."""

    async def tcp(self, address: str, ports: Sequence[int], timeout: float) -> int | None:
        """The first port of `ports` that accepts within `timeout` seconds, all asked side by side. Raises Retryable(ProbeFailed)."""
        answers = await asyncio.gather(*(_accepts(address, port, timeout) for port in ports), return_exceptions=True)
        for port, answer in zip(ports, answers, strict=True):
            if answer is True:
                return port
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return None

    async def icmp(self, address: str, timeout: float) -> bool:
        """One echo, for `timeout` seconds. Raises Rejected(IcmpNotPermitted), Retryable(ProbeFailed)."""
        try:
            return await icmp.echo(address, timeout)
        except OSError as error:
            if error.errno in _SILENCE:
                return False
            raise _failed(f"ICMP to {address}", error) from error

    async def http(self, address: str, port: int, path: str, timeout: float) -> tuple[int, str]:
        """GET without redirects: (status, reason), or (0, what went wrong). `path` is percent-encoded and may have a query."""
        if not _PATH.fullmatch(path):
            return 0, "the path must begin with '/' and be percent-encoded"
        url = URL(f"{URL.build(scheme='http', host=address, port=port)}".rstrip("/") + path, encoded=True)
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                return response.status, plain(response.reason or "", _LONGEST)
        except TimeoutError:
            return 0, f"no answer within {timeout:g} s"
        except aiohttp.ClientConnectorError as error:
            return 0, os.strerror(error.os_error.errno).lower() if error.os_error.errno else "cannot be reached"
        except aiohttp.ServerDisconnectedError:
            return 0, "the connection was closed without an answer"
        except aiohttp.ClientResponseError:  # its text holds what the other side sent
            return 0, "the answer is not HTTP"
        except (aiohttp.ClientError, OSError) as error:
            return 0, plain(str(error), _LONGEST) or type(error).__name__


async def _accepts(address: str, port: int, timeout: float) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.get_running_loop().sock_connect(probe, (address, port))
        except TimeoutError:
            return _connected(probe)
        except OSError as error:
            if error.errno in _SILENCE:
                return False
            raise _failed(f"TCP to {address}:{port}", error) from error
    return True


def _connected(probe: socket.socket) -> bool:
    """Whether there is an answer all the same: where this process had no time for it, it is the socket that knows."""
    try:
        probe.getpeername()
    except OSError:
        return False
    return True


def _failed(what: str, error: OSError) -> Retryable:
    why = (error.strerror or type(error).__name__).lower()
    hint = "nothing is known of the address: mend it, or take the method out of the Site's addressProbes.methods"
    return Retryable("network", "ProbeFailed", f"{what} could not be tried from here ({why}): {hint}")
