"""Users and their tokens: facts/bigip.md "Authentication". Who calls: `lab.bigip.authn`. Times are seconds since the epoch."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from .errors import Json, framework_error

LIMIT_PER_USER = 100
ABSOLUTE_TIMEOUT = 36000
_ALPHABET = string.ascii_uppercase + string.digits


def user_uuid(name: str) -> str:
    """Java's UUID.nameUUIDFromBytes(name): MD5 without a namespace."""
    return str(uuid.UUID(bytes=hashlib.md5(name.encode(), usedforsecurity=False).digest(), version=3))


@dataclass
class Token:
    """One log-in. `timeout` in seconds counts from `start`."""

    value: str
    user: str
    start: float
    timeout: int
    address: str

    @property
    def expires(self) -> float:
        """When it ends, in seconds since the epoch."""
        return self.start + self.timeout

    def render(self) -> Json:
        """An item of /mgmt/shared/authz/tokens, also the `token` of a log-in."""
        link = f"https://localhost/mgmt/shared/authz/users/{self.user}"
        return {
            "token": self.value,
            "name": self.value,
            "userName": self.user,
            "authProviderName": "tmos",
            "user": {"link": link},
            "timeout": self.timeout,
            "startTime": datetime.fromtimestamp(self.start, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "-0000",
            "address": self.address,
            "partition": "[All]",
            "generation": 1,
            "lastUpdateMicros": int(self.start * 1e6),
            "expirationMicros": int(self.expires * 1e6),
            "kind": "shared:authz:tokens:authtokenitemstate",
            "selfLink": f"https://localhost/mgmt/shared/authz/tokens/{self.value}",
        }


class Tokens:
    """The users (name -> password) and every token that was not deleted or forgotten."""

    def __init__(self, users: dict[str, str], clock: Callable[[], float], timeout: int = 1200) -> None:
        """`timeout` is a new token's life in seconds (1200 on the device)."""
        self._users = users
        self._clock = clock
        self._timeout = timeout
        self._tokens: dict[str, Token] = {}

    def __iter__(self) -> Iterator[Token]:
        return iter([token for token in self._tokens.values() if token.expires > self._clock()])

    def check_password(self, name: str, password: str) -> bool:
        """Whether a local user may log in."""
        return name in self._users and hmac.compare_digest(self._users[name].encode(), password.encode())

    def log_in(self, name: str, password: str, address: str) -> Token:
        """A new token. Raises ApiError 401 (bad credentials), 400 (the 101st token of a user)."""
        if not self.check_password(name, password):
            raise framework_error(401, "Authentication failed.", "F5 Authorization Required")
        if sum(token.user == name for token in self) >= LIMIT_PER_USER:
            raise framework_error(400, f"user {user_uuid(name)} has reached maximum active login tokens")
        value = "".join(secrets.choice(_ALPHABET) for _ in range(26))
        token = Token(value, name, self._clock(), self._timeout, address)
        self._tokens[value] = token
        return token

    def get(self, value: str) -> Token:
        """A token in force. Raises ApiError 401: expired (once, then forgotten after as long again) or unknown."""
        token = self._tokens.get(value)
        if token is None:
            raise framework_error(401, "X-F5-Auth-Token does not exist.", "F5 Authorization Required")
        if token.expires <= self._clock():
            raise framework_error(401, "X-F5-Auth-Token has expired.", "F5 Authorization Required")
        return token

    def find(self, value: str) -> Token:
        """The token as a resource. Raises ApiError 404."""
        for token in self:
            if token.value == value:
                return token
        raise framework_error(404, "Object not found - auth token")

    def extend(self, value: str, timeout: int) -> Token:
        """Set a token's life in seconds, counted from its start. Raises ApiError 404, 406 (more than 36000)."""
        token = self.find(value)
        if timeout > ABSOLUTE_TIMEOUT:
            raise framework_error(406, f"Auth-token absolute timeout ({ABSOLUTE_TIMEOUT} seconds) exceeded")
        token.timeout = timeout
        return token

    def delete(self, value: str) -> Token:
        """Log out. Raises ApiError 404."""
        return self._tokens.pop(self.find(value).value)

    def expire(self, value: str) -> None:
        """End a token now, for the fault `token_expired`."""
        if value in self._tokens:
            self._tokens[value].timeout = 0

    def forget_all(self) -> None:
        """A restart of the management plane: no token is known any more."""
        self._tokens.clear()
