"""What a BIG-IP's refusals stand for (facts/bigip.md "Errors").

401                    Untrusted(LoginRefused); `unit` has logged in anew before it comes to this
404 with 01020036      NotFound: the only 404 that proves absence
404 otherwise          Retryable(AbsenceNotProven): icrd is starting, or something else answers at this address
408, 429, 5xx          Retryable
3xx                    Retryable(Redirected): never followed, it would take the token elsewhere
400, 403, 409, others  Refused, a Rejected(BigIpRefused) with the device's words
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vmscaler.decide.words import plain
from vmscaler.ports.bigip import SYSTEM
from vmscaler.ports.errors import NotFound, OutsideError, Rejected, Retryable, Untrusted

ABSENT = "01020036"
REFERENCED = "01070110"
LOGIN_HINT = "correct `username` and `password` in the Secret of spec.bigip.credentialsSecretRef, or spec.bigip.loginProvider"
_LONGEST = 300


@dataclass(frozen=True)
class Reply:
    """An answer as it came."""

    status: int
    content: bytes
    location: str = ""

    def json(self) -> dict[str, Any]:
        """The object; {} for an empty body (a DELETE's). Raises ValueError."""
        found = json.loads(self.content) if self.content.strip() else {}
        if not isinstance(found, dict):
            raise ValueError("not an object")
        return found

    @property
    def said(self) -> str:
        """The device's message, safe to show; empty for a page."""
        try:
            return plain(str(self.json().get("message") or ""), _LONGEST)
        except ValueError:
            return ""


class Refused(Rejected):
    """The device understood and says no: `status`, and what it `said`."""

    def __init__(self, what: str, reply: Reply) -> None:
        self.status, self.said = reply.status, reply.said
        super().__init__(SYSTEM, "BigIpRefused", f"the BIG-IP refuses {what}: {reply.said or f'status {reply.status}'}")


def error_of(reply: Reply, what: str) -> OutsideError:
    """The error that an answer outside 2xx stands for; `what` is what was wanted ("pool /Common/web")."""
    status, said = reply.status, reply.said
    told = said or f"status {status}"
    if status == 401:
        return Untrusted(SYSTEM, "LoginRefused", f"the BIG-IP refuses the login for {what} ({told}): {LOGIN_HINT}, or give the user a role")
    if 300 <= status < 400:
        target = plain(reply.location, 100)
        message = f"the BIG-IP answers with a redirect to {target!r}, not followed: correct spec.bigip.urls"
        return Retryable(SYSTEM, "Redirected", message, after=30.0)
    if status == 404 and said.startswith(ABSENT):
        return NotFound(SYSTEM, "NotFound", f"{what}: {said}")
    if status == 404:
        return Retryable(
            SYSTEM, "AbsenceNotProven", f"{what}: 404 that proves no absence ({told}): the BIG-IP is starting, or is another server"
        )
    if status == 503:
        return Retryable(SYSTEM, "BigIpBusy", f"the BIG-IP is starting or busy ({what}: {told})")
    if status >= 500 or status in (408, 429):
        return Retryable(SYSTEM, "ServerError", f"the BIG-IP answers {status} ({what}: {told})")
    return Refused(what, reply)
