"""What goes wrong at Jenkins, in our taxonomy (facts/jenkins.md "What python-jenkins raises").

Called by `client` in its threads. python-jenkins loses the status for some errors and folds it into a text for others, but raises inside
`except`, so that the response stands in the exception's context: that is what is read. Answers' bodies are pages of HTML and are never shown.
"""

from __future__ import annotations

import re

import requests

from vmscaler.adapters.jenkins.session import SDK
from vmscaler.decide.words import plain
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable, Untrusted
from vmscaler.ports.jenkins import SYSTEM

TOKEN_HINT = "the Secret's `token` must be an API token of `username` (Jenkins: People, Configure, API Token)"  # noqa: S105 - a hint


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain


def response_of(error: BaseException) -> requests.Response | None:
    """The HTTP response behind an exception, if there was one."""
    for link in _chain(error):
        response = getattr(link, "response", None)
        if isinstance(response, requests.Response):
            return response
    return None


def classify(error: BaseException, what: str) -> OutsideError:
    """The error for what a call raised; `what` says what was wanted ("job autoscale-acme-web")."""
    if isinstance(error, OutsideError):
        return error
    response = response_of(error)
    if response is not None:
        return of_response(response, what)
    links = _chain(error)
    if any(isinstance(link, requests.exceptions.SSLError) for link in links):
        return Untrusted(
            SYSTEM,
            "CertificateNotTrusted",
            f"Jenkins' certificate is not from spec.jenkins.caBundle, or not for this host name; nothing was sent ({_tls(links)})",
        )
    if any(isinstance(link, requests.exceptions.Timeout | SDK.TimeoutException) for link in links):
        return Retryable(SYSTEM, "TimedOut", f"Jenkins did not answer in time ({what})")
    if any(isinstance(link, requests.exceptions.InvalidJSONError) for link in links):
        return Retryable(SYSTEM, "UnexpectedAnswer", f"Jenkins' answer is no JSON ({what}): is spec.jenkins.url right?", after=30)
    if any(isinstance(link, requests.exceptions.RequestException | OSError) for link in links):
        return Retryable(SYSTEM, "Unreachable", f"Jenkins cannot be reached ({type(links[-1]).__name__}: {what})")
    # The second is how python-jenkins tells of a name that is taken in another case.
    if isinstance(error, SDK.JenkinsException) and re.search("already exists|unexpected job name", str(error)):
        return Conflict(SYSTEM, "NameTaken", f"{what} exists already")
    if isinstance(error, SDK.JenkinsException) and "does not exist" in str(error):
        return NotFound(SYSTEM, "NotFound", f"{what} does not exist")
    if isinstance(error, SDK.JenkinsException | ValueError | KeyError | TypeError | RecursionError):
        return Retryable(SYSTEM, "UnexpectedAnswer", f"Jenkins' answer is not as expected ({what}: {type(error).__name__})")
    raise error


def of_response(response: requests.Response, what: str) -> OutsideError:
    """The error that a status stands for."""
    status = response.status_code
    said = plain(response.headers.get("X-Error", ""), 200)
    if status == 401:
        return Untrusted(SYSTEM, "LoginRefused", f"Jenkins refuses the login: {TOKEN_HINT}")
    if status == 403 and "No valid crumb" in response.text[:4096]:
        return Untrusted(SYSTEM, "LoginRefused", f"Jenkins asks for a crumb, as it does for passwords: {TOKEN_HINT}")
    if status == 403:
        return Untrusted(SYSTEM, "PermissionDenied", f"Jenkins' user may not do this ({what}): grant it Job and Credentials permissions")
    if 300 <= status < 400:
        target = plain(response.headers.get("Location", ""), 100)
        return Retryable(
            SYSTEM, "Redirected", f"Jenkins answers with a redirect to {target!r}, not followed: is spec.jenkins.url right?", after=30
        )
    if status == 404 and "X-Jenkins" in response.headers:
        return NotFound(SYSTEM, "NotFound", f"{what} does not exist")
    if status == 404:
        # Not Jenkins' own page: a proxy, or a wrong path. Proves no absence.
        return Retryable(SYSTEM, "UnexpectedAnswer", f"404 that is not Jenkins' own ({what}): is spec.jenkins.url right?", after=30)
    if status == 409 or (status == 400 and "already exists" in said):
        return Conflict(SYSTEM, "NameTaken", f"{what} exists already" + (f": {said}" if said else ""))
    if status == 503:
        return Retryable(SYSTEM, "JenkinsStarting", "Jenkins is starting or going down (503)")
    if status >= 500 or status in (408, 429):
        return Retryable(SYSTEM, "ServerError", f"Jenkins answers {status} ({what})")
    return Rejected(SYSTEM, "RefusedByJenkins", f"Jenkins refuses {what} with {status}" + (f": {said}" if said else ""))


def _tls(links: list[BaseException]) -> str:
    found = re.search(r"certificate verify failed: ([^(\[]+)", " ".join(str(link) for link in links))
    return plain(found[1], 200) if found else "TLS failed"
