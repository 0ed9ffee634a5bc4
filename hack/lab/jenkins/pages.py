"""Answers as Jenkins gives them: headers, JSON, redirects and the HTML of its error pages (recordings/jenkins/01 to 06).

Pages are cut down to title and visible text; nobody parses more of them.
"""

from __future__ import annotations

import html
import json
import uuid
from typing import Any

from aiohttp import web

VERSION = "2.492.1"
SESSION_MARK = "0a1b2c3d"  # X-Jenkins-Session: changes with each start of a real one
WANTS_SESSION = web.ResponseKey("wants_session", bool)  # auth.sessions sets the cookie on such an answer
_HTML = "text/html;charset=utf-8"
_NO_CACHE = "no-cache,no-store,must-revalidate"
JENKINS = {"X-Jenkins": VERSION, "X-Jenkins-Session": SESSION_MARK}


def reply(status: int, text: str = "", content_type: str | None = None, **headers: str) -> web.Response:
    """A plain answer. Header names are given with `_` for `-`."""
    fields = {"X-Content-Type-Options": "nosniff"} | {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        fields["Content-Type"] = content_type
    return web.Response(status=status, body=text.encode(), headers=fields)


def api(text: str) -> web.Response:
    """A remote API answer in JSON."""
    answer = reply(200, text, "application/json;charset=utf-8")
    answer.headers.update(JENKINS)
    return answer


def data(value: Any, status: int = 200) -> web.Response:
    """JSON that is no remote API bean (the hook, a new token): without Jenkins' own headers."""
    return reply(status, json.dumps(value, separators=(",", ":"), ensure_ascii=False), "application/json;charset=utf-8")


def redirect(location: str) -> web.Response:
    """302, relative as recorded (a stock servlet container may send it absolute)."""
    return reply(302, Location=location)


def page(status: int, title: str | None, text: str, **headers: str) -> web.Response:
    """One of Jenkins' own HTML pages; a client without a session gets one with it."""
    head = f"<title>{html.escape(title)}</title>" if title else ""
    body = f"<html><head>{head}</head><body>{html.escape(text, quote=False)}</body></html>"
    answer = reply(status, body, _HTML, Cache_Control=_NO_CACHE, X_Hudson="1.395", **headers)
    answer.headers.update(JENKINS)
    answer[WANTS_SESSION] = True
    return answer


def container_error(status: int, message: str, path: str, **headers: str) -> web.Response:
    """An error page of the servlet container, before or beside Jenkins (401, crumb, "Nothing is submitted")."""
    text = f"HTTP ERROR {status} {message} URI: {path} STATUS: {status} MESSAGE: {message} SERVLET: Stapler"
    body = f"<html><head><title>Error {status} {html.escape(message)}</title></head><body>{html.escape(text)}</body></html>"
    return reply(status, body, "text/html;charset=iso-8859-1", Cache_Control="must-revalidate,no-cache,no-store", **headers)


def not_found() -> web.Response:
    """404, "Oops! Not Found"."""
    return page(
        404,
        "Not Found [Jenkins]",
        "Skip to content Jenkins admin log out Dashboard Oops! Not Found This page may not exist, or you may not have permission to see it.",
    )


def refused(message: str, context: str = "", **headers: str) -> web.Response:
    """400 with the reason in X-Error (quotes do not survive in it) and in the page."""
    ascii_only = "".join(c if c.isascii() else " " for c in message)
    text = f"Skip to content Jenkins admin log out Dashboard {context}Error {message}"
    return page(400, "Jenkins [Jenkins]", text, X_Error=ascii_only, **headers)


def oops(status: int = 500) -> web.Response:
    """500 (and some 404 and 409): "A problem occurred", the reason only in Jenkins' own log."""
    text = f"Skip to content Jenkins log in Dashboard Oops! A problem occurred while processing the request Logging ID={uuid.uuid4()}"
    return page(status, "Jenkins [Jenkins]", text)


def needs_login() -> web.Response:
    """403 for anonymous."""
    answer = page(403, None, "Authentication required")
    del answer.headers["Cache-Control"]
    return answer


def needs_post(url: str) -> web.Response:
    """405 for a GET of something that acts."""
    text = f"Skip to content Jenkins admin log out Dashboard This URL requires POST URL being accessed: {url}"
    return page(405, "Method Not Allowed [Jenkins]", text, Allow="POST")
