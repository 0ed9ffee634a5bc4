"""One BIG-IP unit: calls with a token in force, refusals as errors. Called by `units` and `client`."""

from __future__ import annotations

from typing import Any

from vmscaler.adapters.bigip.answers import Reply, error_of
from vmscaler.adapters.bigip.login import Login
from vmscaler.adapters.bigip.wire import Wire
from vmscaler.ports.bigip import SYSTEM
from vmscaler.ports.errors import Retryable

Json = dict[str, Any]


class Unit:
    """JSON in, JSON out."""

    def __init__(self, wire: Wire, login: Login) -> None:
        self._wire, self._login = wire, login

    @property
    def host(self) -> str:
        """HOST[:PORT], for people."""
        return self._wire.host

    async def get(self, path: str, what: str) -> Json:
        """A read. Raises Retryable, Untrusted, NotFound (proven), Refused."""
        return await self.call("GET", path, what)

    async def call(self, method: str, path: str, what: str, body: Json | None = None, *, timeout: float | None = None) -> Json:
        """One call; a 401 is answered with one new login and the same call again, since the first did nothing.

        Raises Retryable, Untrusted(LoginRefused | CertificateNotTrusted), NotFound (proven), Refused.
        """
        token = await self._login.token()
        reply = await self._wire.exchange(method, path, what, token=token, body=body, timeout=timeout)
        if reply.status == 401:
            token = await self._login.token(refused=token)
            reply = await self._wire.exchange(method, path, what, token=token, body=body, timeout=timeout)
        if not 200 <= reply.status < 300:
            raise error_of(reply, what)
        return _json(reply, what)

    async def close(self) -> None:
        """Give the token back and close."""
        await self._login.close()
        await self._wire.close()


def _json(reply: Reply, what: str) -> Json:
    try:
        return reply.json()
    except ValueError:
        raise Retryable(SYSTEM, "UnexpectedAnswer", f"{what}: the answer is not a JSON object: is it the BIG-IP?") from None
