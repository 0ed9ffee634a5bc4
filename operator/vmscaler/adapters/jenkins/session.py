"""HTTP to one Jenkins: one host, one CA, no redirects, no cookies, nothing from the environment.

Called by `client`. python-jenkins makes a session of its own that follows redirects, honours JENKINS_API_EXTRA_HEADERS and
PYTHONHTTPSVERIFY and trusts the system's CAs; ours takes its place.
"""

from __future__ import annotations

import ssl
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import jenkins
import requests
from requests.adapters import HTTPAdapter

from vmscaler.adapters.tls import pinned_context
from vmscaler.ports.errors import Rejected
from vmscaler.ports.jenkins import SYSTEM

# Type checkers take the repository's folder `jenkins` for the module (at run time a regular package wins over such a folder).
SDK: Any = jenkins
_ANSWERED_BY_REDIRECT = ("/doDelete", "/enable", "/disable")


class PinnedAdapter(HTTPAdapter):
    """A bounded pool of connections whose TLS is `context`."""

    def __init__(self, context: ssl.SSLContext | None, connections: int) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0, pool_block=True)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Hand the context to urllib3."""
        if self._context is not None:
            kwargs["ssl_context"] = self._context
        super().init_poolmanager(*args, **kwargs)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """requests would load certifi's public CAs into the context here, beside the pinned one."""
        if self._context is not None:
            conn.cert_reqs = "CERT_REQUIRED"
            conn.ca_certs = None
            conn.ca_cert_dir = None


class PinnedSession(requests.Session):
    """A session for one URL: other schemes have no adapter, redirects are answers, cookies are dropped (an API token needs none)."""

    def __init__(self, url: str, context: ssl.SSLContext | None, connections: int) -> None:
        super().__init__()
        self.trust_env = False  # no proxy, no .netrc, no REQUESTS_CA_BUNDLE
        self.adapters.clear()
        self.mount(f"{urlsplit(url).scheme}://", PinnedAdapter(context, connections))
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """As in requests, but a redirect is never followed: it would take the login to another address (and a delete to a slow page).

        Raises requests.HTTPError for one, but where Jenkins answers so when it has done what was asked.
        """
        kwargs["allow_redirects"] = False
        response = super().send(request, **kwargs)
        action = request.method == "POST" and (request.path_url or "").endswith(_ANSWERED_BY_REDIRECT)
        if response.is_redirect and not action:
            raise requests.HTTPError(f"redirected: {response.status_code}", response=response)
        return response


def connect(url: str, username: str, token: str, ca: str | None, *, timeout: float, connections: int) -> tuple[Any, PinnedSession]:
    """A python-jenkins client with a session of ours, and a session without login for the webhook.

    `timeout` (seconds) is for connecting and for each wait for data. Raises Rejected(CaMissing, CaNotUsable).
    """
    context = None
    if urlsplit(url).scheme == "https":
        if not ca:
            raise Rejected(SYSTEM, "CaMissing", f"{url} is https: give the PEM of its CA in spec.jenkins.caBundle")
        context = pinned_context(ca, SYSTEM, "spec.jenkins.caBundle")
    client = SDK.Jenkins(url, username, token, timeout=timeout)
    client._session.close()
    client._session = PinnedSession(url, context, connections)
    # An API token needs no crumb (facts/jenkins.md 1,000 jobs); False is python-jenkins' own mark for "this server has none".
    client.crumb = False
    return client, PinnedSession(url, context, connections)
