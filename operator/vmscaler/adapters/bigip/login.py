"""One token for one unit (facts/bigip.md "Authentication"). Called by `unit`.

The 101st token of a user is refused, so there is one at a time: renewed early, then the old one deleted; deleted at the end.
Tokens of others, or of an earlier process, are never touched.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from vmscaler.adapters.bigip.answers import LOGIN_HINT, error_of
from vmscaler.adapters.bigip.wire import Wire
from vmscaler.ports.bigip import SYSTEM
from vmscaler.ports.errors import OutsideError, Retryable, Untrusted

# The part of a token's life after which a new one is asked for.
EARLY = 0.8
_GIVE_BACK_SECONDS = 5.0

log = structlog.get_logger()


class Login:
    """Hands out a token in force."""

    def __init__(self, wire: Wire, username: str, password: str, provider: str, *, pause: float) -> None:
        """`pause`: seconds for which a refused login is not tried again, lest the account be locked."""
        self._wire = wire
        self._body = {"username": username, "password": password, "loginProviderName": provider}
        self._pause = pause
        self._lock = asyncio.Lock()
        self._token = ""
        self._renew_at = 0.0
        self._refusal: Untrusted | None = None
        self._refused_until = 0.0

    async def token(self, refused: str = "") -> str:
        """A token; a new one where the one in hand is old, or is the one that the device `refused`.

        Raises Untrusted(LoginRefused), Retryable.
        """
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._token and self._token != refused and now < self._renew_at:
                return self._token
            old, self._token = self._token, ""
            try:
                await self._log_in(now)
            except BaseException:  # also where the caller is cancelled: the old one is still to be given back, and it is time for a new one
                self._token, self._renew_at = old, 0.0
                raise
            if old:  # also where it was refused: a user without a role has valid tokens, and only a hundred of them
                await self._give_back(old)
            return self._token

    async def _log_in(self, now: float) -> None:
        if self._refusal is not None and now < self._refused_until:
            raise Untrusted(SYSTEM, self._refusal.reason, self._refusal.message, after=self._refused_until - now)
        reply = await self._wire.exchange("POST", "/mgmt/shared/authn/login", "the login", body=self._body)
        if reply.status == 401:
            said = reply.said or "status 401"
            self._refusal = Untrusted(
                SYSTEM, "LoginRefused", f"{self._wire.host} refuses the login ({said}): {LOGIN_HINT}", after=self._pause
            )
            self._refused_until = asyncio.get_running_loop().time() + self._pause
            raise self._refusal
        if reply.status == 400 and "maximum active login tokens" in reply.said:
            raise Retryable(
                SYSTEM,
                "TooManyTokens",
                f"{self._wire.host}: the user has 100 tokens, which expire by themselves: give the operator a user of its own",
                after=60.0,
            )
        if reply.status != 200:
            raise error_of(reply, f"the login at {self._wire.host}")
        try:
            token: dict[str, Any] = reply.json()["token"]
            self._token, life = str(token["token"]), float(token["timeout"])
        except (KeyError, TypeError, ValueError) as error:
            why = f"the login at {self._wire.host} is not answered as expected ({type(error).__name__})"
            raise Retryable(SYSTEM, "UnexpectedAnswer", why) from None
        self._refusal = None
        self._renew_at = now + EARLY * life

    async def _give_back(self, token: str) -> None:
        # The token's name is its secret and stands in the URL: this exchange is logged nowhere.
        try:
            await self._wire.exchange(
                "DELETE", f"/mgmt/shared/authz/tokens/{token}", "giving back the token", token=token, timeout=_GIVE_BACK_SECONDS
            )
        except OutsideError as error:
            log.info("token not given back: it expires by itself", system=SYSTEM, host=self._wire.host, reason=error.reason)

    async def close(self) -> None:
        """Give the token back; never raises what goes wrong outside."""
        async with self._lock:
            token, self._token = self._token, ""
            if token:
                await self._give_back(token)
