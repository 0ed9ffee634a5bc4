"""The one error taxonomy. Adapters raise these and nothing else for what goes wrong outside.

    OutsideError
      Retryable    cannot be seen or done now; try again `after` seconds (down, time-out, 5xx, busy)
        Untrusted  a certificate, host key or login was refused: it heals when somebody mends it; nothing was sent
        Closed     this client was put away, because its Site or Secret has changed: take the present one (SystemsOf)
      Rejected     the system understood and says no, or the input cannot be met; `reason` is a CamelCase word
      NotFound     the thing is certainly absent (never a guess from an odd 404)
      Conflict     somebody else has it or changed it (a name taken, a resourceVersion gone by)

Each has `system` (whose answer it was), `reason` (used unchanged as a condition's reason) and a message that says what was
wrong, where, and what to do. Messages never hold a secret.
"""

from __future__ import annotations


class OutsideError(Exception):
    """Base of what goes wrong outside."""

    def __init__(self, system: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.system = system
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.system}: {self.message}"


class Retryable(OutsideError):
    """Cannot be seen or done now. `after`: seconds until another try makes sense."""

    def __init__(self, system: str, reason: str, message: str, *, after: float = 5.0) -> None:
        super().__init__(system, reason, message)
        self.after = after


class Untrusted(Retryable):
    """The other side could not prove who it is, or did not accept who we are. Nothing was sent but the log-in."""


class Closed(Retryable):
    """The client was put away. Asking it again never helps; its successor is had from `SystemsOf.of`."""


class Rejected(OutsideError):
    """Understood and refused: trying the same again is of no use until something changes."""


class NotFound(OutsideError):
    """Certainly absent."""


class Conflict(OutsideError):
    """Taken by, or changed by, somebody else."""
