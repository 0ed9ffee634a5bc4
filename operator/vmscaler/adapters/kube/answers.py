"""What the API server's refusals mean (metav1.Status -> vmscaler.ports.errors).

401, 403            Untrusted: the account or its rights; but a namespace that is going away, a quota or an admission refusal is Rejected
404                 NotFound
409                 Conflict (AlreadyExists, resourceVersion gone by, UID precondition)
400, 405, 413, 422  Rejected, with the server's words: they hold our CEL rules' messages
410                 Rejected(Expired): only lists see it, and `Rest.pages` starts them again
408, 429, 5xx       Retryable, after Retry-After
"""

from __future__ import annotations

from vmscaler.api.meta import Json
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable, Untrusted

SYSTEM = "kubernetes"
_DEFAULT_AFTER = 5.0
_LONGEST_AFTER = 300.0


def error_of(what: str, status: int, answer: Json, retry_after: str | None) -> OutsideError:
    """The error for a refused call; `what` is the call, such as `GET /api/v1/...`."""
    reason = str(answer.get("reason") or f"Http{status}")
    message = f"{what}: {answer.get('message') or f'HTTP {status}'}"
    match status:
        case 401:
            return Untrusted(SYSTEM, "Unauthorized", f"{message}: the account's token was not accepted")
        case 403:
            if "NamespaceTerminating" in _causes(answer):
                return Rejected(SYSTEM, "NamespaceTerminating", message)
            # RBAC's refusals name the user who cannot; quota and admission plug-ins say "exceeded quota", "denied the request".
            if "cannot" in message and "User" in message:
                return Untrusted(
                    SYSTEM,
                    "Forbidden",
                    f"{message}: deploy/rbac.yaml has what the operator's account needs, deploy/tenant-roles.yaml people's",
                )
            return Rejected(SYSTEM, "Forbidden", message)
        case 404:
            return NotFound(SYSTEM, "NotFound", message)
        case 409:
            return Conflict(SYSTEM, reason, message)
        case 410:
            return Rejected(SYSTEM, "Expired", message)
        case 408 | 429:
            return Retryable(SYSTEM, reason, message, after=_seconds(retry_after))
        case _ if status >= 500:
            return Retryable(SYSTEM, reason, message, after=_seconds(retry_after))
        case _ if status >= 400:
            return Rejected(SYSTEM, reason, message)
    return Retryable(SYSTEM, "OddAnswer", f"{message}: unexpected status {status}")


def _causes(answer: Json) -> set[str]:
    details = answer.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return {str(cause.get("reason")) for cause in causes or [] if isinstance(cause, dict)}


def _seconds(retry_after: str | None) -> float:
    # The API server sends whole seconds; the other form of the header, a date, would need two hosts' clocks to agree.
    if retry_after is not None and retry_after.isdigit():
        return min(float(retry_after), _LONGEST_AFTER)
    return _DEFAULT_AFTER
