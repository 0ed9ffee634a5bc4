"""Who asks: basic login with password or API token, the session cookie, crumbs (recordings/jenkins/01).

The order is that of the real filters: a wrong basic login is 401 everywhere (also at the hook); then a POST needs a crumb of the same session
unless it came with an API token; then anonymous gets 403 but for a few open pages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import uuid
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from lab.jenkins import pages
from lab.jenkins.config import User

COOKIE = "JSESSIONID"  # stock containers append a number to it; the recorded one does not
HOOK = "/generic-webhook-trigger/"
USER = web.RequestKey("user", str)  # "" for anonymous
SESSION = web.RequestKey("session", str)  # "" without one
_OPEN = ("/whoAmI/", "/login", HOOK)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_USER_PROPERTIES = (
    "jenkins.security.ApiTokenProperty",
    "jenkins.console.ConsoleUrlProviderUserProperty",
    "com.cloudbees.plugins.credentials.UserCredentialsProvider$UserCredentialsProperty",
    "hudson.tasks.Mailer$UserProperty",
    "hudson.model.MyViewsProperty",
    "org.jenkinsci.plugins.displayurlapi.user.PreferredProviderUserProperty",
    "hudson.model.PaneStatusProperties",
    "jenkins.security.seed.UserSeedProperty",
    "hudson.search.UserSearchProperty",
    "hudson.model.TimeZoneProperty",
    "jenkins.model.experimentalflags.UserExperimentalFlagsProperty",
    "hudson.security.HudsonPrivateSecurityRealm$Details",
)
_PROPERTY_FIELDS: dict[str, dict[str, object]] = {
    "hudson.tasks.Mailer$UserProperty": {"address": None},
    "hudson.search.UserSearchProperty": {"insensitiveSearch": True},
}


class Auth:
    """The users, their tokens and the sessions."""

    def __init__(self, users: Iterable[User]) -> None:
        self._passwords = {u.name: u.password for u in users}
        self._tokens = {u.name: [u.token] for u in users}
        self._sessions: set[str] = set()
        self._salt = secrets.token_bytes(16)
        self.refuse_all = False  # the fault `bad_login`

    def routes(self) -> list[web.RouteDef]:
        """whoAmI, me, crumbIssuer, a new token, the login page."""
        new_token = "/me/descriptorByName/jenkins.security.ApiTokenProperty/generateNewToken"
        return [
            web.get("/whoAmI/api/json", self._who_am_i),
            web.get("/me/api/json", self._me),
            web.get("/crumbIssuer/api/json", self._crumb_issuer),
            web.post(new_token, self._new_token),
            web.get("/login", self._login_page),
        ]

    def identify(self, header: str | None) -> tuple[str, bool] | None:
        """(user, by token) for an Authorization header, ("", False) for none; None for a wrong login."""
        scheme, _, rest = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return "", False
        try:
            name, _, secret = base64.b64decode(rest, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if self.refuse_all:
            return None
        if any(hmac.compare_digest(secret.encode(), token.encode()) for token in self._tokens.get(name, ())):
            return name, True
        password = self._passwords.get(name)
        if password is not None and hmac.compare_digest(secret.encode(), password.encode()):
            return name, False
        return None

    def _crumb(self, user: str, session: str) -> str:
        return hashlib.sha256(self._salt + f"{user};{session}".encode()).hexdigest()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Login, crumb, anonymous; then the handler; then a session where the answer starts one."""
        session = request.cookies.get(COOKIE, "")
        request[SESSION] = session if session in self._sessions else ""
        who = self.identify(request.headers.get("Authorization"))
        if who is None:
            forget = "remember-me=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0"
            realm = 'Basic realm="Jenkins"'
            return pages.container_error(401, "Unauthorized", request.path, WWW_Authenticate=realm, Set_Cookie=forget)
        user, by_token = who
        request[USER] = user
        response: web.StreamResponse
        if request.method == "POST" and not by_token and not request.path.startswith(HOOK) and not self._has_crumb(request):
            response = pages.container_error(403, "No valid crumb was included in the request", request.path)
            response[pages.WANTS_SESSION] = True
        elif not user and not request.path.startswith(_OPEN):
            response = pages.needs_login()
        else:
            try:
                response = await handler(request)
            except web.HTTPMethodNotAllowed:
                response = pages.needs_post(str(request.url))
            except web.HTTPNotFound:
                response = pages.not_found()
        if response.get(pages.WANTS_SESSION) and not request[SESSION]:
            response.headers["Set-Cookie"] = f"{COOKIE}={self._new_session(request)}; Path=/; HttpOnly"
        return response

    def _has_crumb(self, request: web.Request) -> bool:
        crumb = request.headers.get("Jenkins-Crumb", "")
        session = request[SESSION]
        return bool(session) and hmac.compare_digest(crumb.encode(), self._crumb(request[USER], session).encode())

    def _new_session(self, request: web.Request) -> str:
        if not request[SESSION]:
            request[SESSION] = secrets.token_hex(16)
            self._sessions.add(request[SESSION])
        return request[SESSION]

    async def _who_am_i(self, request: web.Request) -> web.Response:
        user = request[USER]
        return pages.api(
            '{"_class":"hudson.security.WhoAmI","anonymous":%s,"authenticated":true,"authorities":["%s"],"name":"%s"}'
            % (("false", "authenticated", user) if user else ("true", "anonymous", "anonymous"))
        )

    async def _me(self, request: web.Request) -> web.Response:
        user = request[USER]
        properties = [{"_class": name, **_PROPERTY_FIELDS.get(name, {})} for name in _USER_PROPERTIES]
        url = f"{request.url.origin()}/user/{user}"
        about = {"absoluteUrl": url, "description": None, "fullName": user, "id": user, "property": properties}
        answer = pages.data({"_class": "hudson.model.User"} | about)
        answer.headers.update(pages.JENKINS)
        return answer

    async def _crumb_issuer(self, request: web.Request) -> web.Response:
        had = request[SESSION]
        crumb = self._crumb(request[USER], self._new_session(request))
        answer = pages.data({"_class": "hudson.security.csrf.DefaultCrumbIssuer", "crumb": crumb, "crumbRequestField": "Jenkins-Crumb"})
        answer.headers.update(pages.JENKINS)
        if not had:
            answer.headers["Set-Cookie"] = f"{COOKIE}={request[SESSION]}; Path=/; HttpOnly"
        return answer

    async def _new_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        token = "11" + secrets.token_hex(16)
        self._tokens[request[USER]].append(token)
        about = {"tokenName": str(form.get("newTokenName", "")), "tokenUuid": str(uuid.uuid4()), "tokenValue": token}
        return pages.data({"status": "ok", "data": about})

    async def _login_page(self, _request: web.Request) -> web.Response:
        return pages.page(200, "Sign in [Jenkins]", "Sign in to Jenkins Username Password Keep me signed in Sign in")
