"""What the device answers when it does not do what it was asked: bodies and statuses of facts/bigip.md "Errors" and "Authentication".

Raised by the resources, the transactions and the faults; `lab.bigip.rest` turns them into responses.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

Json = dict[str, Any]

RESTARTING_PAGE = """<!DOCTYPE html PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN">
<html><head><meta http-equiv="refresh" content="5"><title>Configuration Utility restarting...</title></head>
<body><h1>Configuration Utility restarting...</h1></body></html>
"""
UNAUTHORIZED_PAGE = """<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">
<html><head><title>401 F5 Authorization Required</title></head><body>
<h1>F5 Authorization Required</h1>
<p>This server could not verify that you are authorized to access the document requested.</p></body></html>
"""
_operation = itertools.count(6_700_001)


class ApiError(Exception):
    """An answer that is not 2xx. `message` is what the device says; `body` and `content_type` are what goes on the wire."""

    def __init__(self, status: int, message: str, body: str, content_type: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body = body
        self.content_type = content_type
        self.reason = reason


def config_error(status: int, message: str, api_error: int = 3) -> ApiError:
    """An error of icrd: `{"code","message","errorStack":[],"apiError":3}`; 2 where a transaction failed."""
    body = {"code": status, "message": message, "errorStack": [], "apiError": api_error}
    return ApiError(status, message, json.dumps(body), "application/json")


def framework_error(status: int, message: str, reason: str | None = None) -> ApiError:
    """An error of the REST framework in front of icrd (log-in, tokens, unknown paths)."""
    body = {
        "code": status,
        "message": message,
        "referer": "127.0.0.1",
        "restOperationId": next(_operation),
        "kind": ":resterrorresponse",
    }
    return ApiError(status, message, json.dumps(body), "application/json", reason)


def not_found(what: str) -> ApiError:
    """404 01020036: the only 404 that proves absence."""
    return config_error(404, f"01020036:3: The requested {what} was not found.")


def exists(what: str, partition: str) -> ApiError:
    """409 01020066."""
    return config_error(409, f"01020066:3: The requested {what} already exists in partition {partition}.")


def invalid_value(name: str, value: object) -> ApiError:
    """400, without a number: a property that cannot be set to that."""
    return config_error(400, f"invalid property value {json.dumps(name)}:{json.dumps(value)}")


def no_folder(what: str) -> ApiError:
    """400 01070734: the partition (or folder) does not exist."""
    return config_error(400, f"01070734:3: Configuration error: Can't associate {what} folder does not exist")


def not_registered() -> ApiError:
    """404 while icrd starts, and for what this device does not serve: no proof of absence."""
    return framework_error(404, "Public URI path not registered")


def restarting() -> ApiError:
    """503 as a page, from the web server in front."""
    return ApiError(503, "Configuration Utility restarting...", RESTARTING_PAGE, "text/html", "Service Unavailable")


def basic_refused() -> ApiError:
    """401 as a page: bad basic credentials."""
    return ApiError(401, "F5 Authorization Required", UNAUTHORIZED_PAGE, "text/html", "F5 Authorization Required")
