"""The gateway: what the step client of a build talks to (HTTPS). One route, a long poll.

    POST /v1/steps/{step}   Authorization: Bearer <step token>
      {"job", "generation", "build", "buildUrl", "hook": {am_*: value}, "after": n}
    200 {"state": running | succeeded | refused | failed, "event", "reason", "message", "progress": [{time, message}], "next": n}
    4xx {"reason", "message"}: asking the same again is of no use     503: ask again

The token names the policy; nothing in the body does. What the hook brought is a hint: it goes no further than this.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from typing import Annotated

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from vmscaler.api.autoscalingpolicy import BuildRef
from vmscaler.api.meta import PolicyRef
from vmscaler.flows.context import Context
from vmscaler.flows.runner import Run, StepRunner
from vmscaler.flows.steps import STEPS
from vmscaler.flows.tokens import policies_by_step_token
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable

LONG_POLL_SECONDS = 20.0
MAX_BODY = 256 * 1024
REFRESH_SECONDS = 2.0
KNOWN_SECONDS = 60.0

log = structlog.get_logger()

_LINK = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/%+\-]*)?")

Word = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=512)]


class StepRequest(BaseModel):
    """What the step client sends."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    job: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._\-/ ]+$", max_length=255)]
    generation: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._\-]*$", max_length=64)]
    build: Annotated[int, Field(ge=1, le=2**31 - 1)]
    build_url: Word = Field(default="", alias="buildUrl")
    hook: dict[str, str] = {}
    """Looked at for its form, and kept nowhere."""
    after: Annotated[int, Field(ge=0, le=10**6)] = 0


class Keyring:
    """Which policy a step token belongs to. Holds digests, not tokens; reads the Secrets anew where a token is unknown."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._known: dict[bytes, PolicyRef] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def policy_of(self, token: str, now: float) -> PolicyRef | None:
        """The policy, or None. `now` is monotonic: unknown tokens cause one read in REFRESH_SECONDS at most, and a token that was taken
        back is known for KNOWN_SECONDS at most. Raises what Kube raises."""
        digest = _digest(token)
        age = now - self._read_at
        if age >= KNOWN_SECONDS or (digest not in self._known and age >= REFRESH_SECONDS):
            async with self._reading:
                if now - self._read_at >= REFRESH_SECONDS:
                    fresh = await policies_by_step_token(self._ctx)
                    self._known = {_digest(step): ref for step, ref in fresh.items()}
                    self._read_at = now
        return self._known.get(digest)


def _digest(token: str) -> bytes:
    # A header's bytes that are no UTF-8 arrive as lone surrogates.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _error(status: int, reason: str, message: str) -> web.Response:
    return web.json_response({"reason": reason, "message": message}, status=status)


def make_gateway(ctx: Context, runner: StepRunner, monotonic: Callable[[], float]) -> web.Application:
    """The application; the caller serves it with TLS."""
    keyring = Keyring(ctx)

    async def step(request: web.Request) -> web.Response:
        name = request.match_info["step"]
        if name not in STEPS:
            return _error(404, "UnknownStep", f"there is no step {name!r}: the steps are {', '.join(STEPS)}")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return _error(401, "NoToken", "send the policy's step token as `Authorization: Bearer ...`")
        try:
            ref = await keyring.policy_of(token.strip(), monotonic())
        except OutsideError as error:
            return _error(503, error.reason, str(error))
        if ref is None:
            said = "no policy has this step token: if the job's Jenkins credential was changed, delete the job, and both are made anew"
            return _error(403, "UnknownToken", said)
        try:
            asked = StepRequest.model_validate_json(await request.read())
        except ValidationError as error:
            first = error.errors()[0]
            return _error(422, "BadRequest", f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")
        except web.HTTPRequestEntityTooLarge:
            return _error(413, "BodyTooLarge", f"the body is larger than {MAX_BODY} bytes")
        build = BuildRef(job=asked.job, generation=asked.generation, number=asked.build, url=_own_url(asked))
        run, lines, following = await runner.poll(name, ref, build, after=asked.after, wait=LONG_POLL_SECONDS)
        return _answer(run, lines, following)

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post("/v1/steps/{step}", step)
    return app


def _own_url(asked: StepRequest) -> str:
    """The build's link, where it looks like one: it is shown to people. No user or password, nothing invisible."""
    return asked.build_url if _LINK.fullmatch(asked.build_url) else ""


def _answer(run: Run, lines: list[tuple[str, str]], following: int) -> web.Response:
    outcome = run.outcome
    if isinstance(outcome, OutsideError):
        return _outside(outcome)
    body = {
        "state": "running" if outcome is None else outcome.state,
        "event": outcome.event if outcome else None,
        "reason": outcome.reason if outcome else "",
        "message": outcome.message if outcome else "",
        "progress": [{"time": when, "message": text} for when, text in lines],
        "next": following,
    }
    return web.json_response(body)


def _outside(error: OutsideError) -> web.Response:
    if isinstance(error, Retryable):
        return _error(503, error.reason, str(error))
    if isinstance(error, NotFound):
        return _error(404, error.reason, str(error))
    if isinstance(error, Conflict | Rejected):
        return _error(409, error.reason, str(error))
    return _error(500, error.reason, str(error))
