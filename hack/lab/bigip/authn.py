"""Who is asking: log-in, tokens as resources, and the identity of each request (facts/bigip.md "Authentication")."""

from __future__ import annotations

import base64

from aiohttp import web

from .errors import Json, basic_refused, framework_error
from .faults import Faults
from .tokens import Tokens

HEADER = "X-F5-Auth-Token"


def log_in(tokens: Tokens, body: Json, address: str) -> Json:
    """POST /mgmt/shared/authn/login; a Basic header that came with it does not matter. Raises ApiError 400, 401."""
    name, password = body.get("username"), body.get("password")
    if not isinstance(name, str) or not isinstance(password, str):
        raise framework_error(400, "username and password must not be null in login request")
    token = tokens.log_in(name, password, address)
    return {
        "username": name,
        "loginReference": {"link": "https://localhost/mgmt/cm/system/authn/providers/tmos/login"},
        "loginProviderName": body.get("loginProviderName", "tmos"),
        "token": token.render(),
        "generation": 0,
        "lastUpdateMicros": 0,
    }


def identify(tokens: Tokens, faults: Faults, request: web.Request) -> str:
    """The user behind a token or basic credentials. Raises ApiError 401: JSON for tokens, a page for basic ones."""
    value = request.headers.get(HEADER)
    if value is not None:
        if faults.strike("token_expired", request.method, request.path):
            tokens.expire(value)
            raise framework_error(401, "X-F5-Auth-Token has expired.", "F5 Authorization Required")
        return tokens.get(value).user
    if "Authorization" not in request.headers:
        where = f"Uri:http://localhost:8100{request.path} Referrer:{request.remote} Sender:{request.remote}"
        message = f"Authorization failed: no user authentication header or token detected. {where}"
        raise framework_error(401, message, "F5 Authorization Required")
    scheme, _, encoded = request.headers["Authorization"].partition(" ")
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError as error:
        raise basic_refused() from error
    if scheme.lower() != "basic" or not tokens.check_password(name, password):
        raise basic_refused()
    return name


def handle_tokens(tokens: Tokens, method: str, path: tuple[str, ...], body: Json) -> Json | None:
    """Below /mgmt/shared/authz/tokens; `path` is what follows. Raises ApiError 400, 404, 405, 406."""
    match method, path:
        case "GET", ():
            return {
                "items": [token.render() for token in tokens],
                "generation": 1,
                "kind": "shared:authz:tokens:authtokencollectionstate",
                "lastUpdateMicros": 0,
                "selfLink": "https://localhost/mgmt/shared/authz/tokens",
            }
        case "GET", (value,):
            return tokens.find(value).render()
        case "PATCH", (value,):
            try:
                seconds = int(body["timeout"])  # clients also send the number as a string
            except (KeyError, TypeError, ValueError) as error:
                raise framework_error(400, "timeout must be a number of seconds") from error
            return tokens.extend(value, seconds).render()
        case "DELETE", (value,):
            return tokens.delete(value).render()
    raise framework_error(405, f"{method} is not supported here")
