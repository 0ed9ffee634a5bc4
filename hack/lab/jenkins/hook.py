"""The Generic Webhook Trigger's endpoint: /generic-webhook-trigger/invoke (facts/jenkins.md "The GWT endpoint"; recordings/jenkins/05).

Any method, no crumb. 200 says that a job with that token was found, not that a build was started: that is `triggered`. Not emulated: XPath variables
and the whitelist (a job that uses XPath is answered with 500), silentResponse.
"""

from __future__ import annotations

import json
import re
import uuid
import xml.etree.ElementTree as ET
from typing import Any

from aiohttp import web

from lab.jenkins import jsonpath, pages
from lab.jenkins.auth import HOOK, USER
from lab.jenkins.builds import Cause, ParameterValue
from lab.jenkins.credentials import SECRET_TEXT, Credentials
from lab.jenkins.items import Job
from lab.jenkins.jobs import Jobs
from lab.jenkins.queue import Queue

_UUID = "jenkins-generic-webhook-trigger-plugin_uuid"
_NONE_FOUND = "Did not find any jobs with GenericTrigger configured!\n"
_WITH_TOKEN = "A token was supplied.\n"
_WITHOUT_TOKEN = (
    "No token was supplied.\nIf you are using a token, you need to pass it like ...trigger/invoke?token=TOKENHERE\n"
    "If you are not using a token, you need to authenticate like http://user:passsword@example.org/generic-webhook...\n"
)


def render(text: str, variables: dict[str, str]) -> str:
    """`$name` replaced for each variable, longer names first; an unknown one stays."""
    for name in sorted(variables, key=len, reverse=True):
        text = text.replace(f"${name}", variables[name])
    return text


def resolve(trigger: ET.Element, document: Any, request: web.Request) -> dict[str, str]:
    """The variables of one trigger. Raises jsonpath.UnknownPath, also for XPath."""
    found: dict[str, str] = {}
    flat = trigger.findtext("shouldNotFlattern") != "true"
    for variable in trigger.iterfind("genericVariables/*"):
        key, path = variable.findtext("key") or "", variable.findtext("value") or ""
        if (variable.findtext("expressionType") or "JSONPath") != "JSONPath":
            raise jsonpath.UnknownPath(f"{variable.findtext('expressionType')} {path}")
        try:
            value = jsonpath.find(document, path)
        except jsonpath.NoMatch:
            value = None
        found |= jsonpath.flatten(key, value) if flat else {key: jsonpath.text(value)}
        if pattern := variable.findtext("regexpFilter"):
            found = {k: re.sub(pattern, "", v) if k == key or k.startswith(f"{key}_") else v for k, v in found.items()}
        if not found.get(key):
            found[key] = variable.findtext("defaultValue") or ""
    for kind, given in (("Request", request.query), ("Header", request.headers)):
        for variable in trigger.iterfind(f"generic{kind}Variables/*"):
            key, pattern = variable.findtext("key") or "", variable.findtext("regexpFilter")
            for number, value in enumerate(given.getall(key, [])):
                text = re.sub(pattern, "", value) if pattern else value
                name = re.sub(r"[\s-]", "_", key.lower() if kind == "Header" else key)
                found |= {f"{name}_{number}": text} | ({name: text} if number == 0 else {})
    return dict(sorted(found.items()))


class Hook:
    """The endpoint."""

    def __init__(self, jobs: Jobs, queue: Queue, credentials: Credentials) -> None:
        self._jobs = jobs
        self._queue = queue
        self._credentials = credentials
        self.lost = False  # the fault `hook_lost`

    def routes(self) -> list[web.RouteDef]:
        """With and without a slash at the end."""
        return [web.route("*", f"{HOOK}invoke", self._invoke), web.route("*", f"{HOOK}invoke/", self._invoke)]

    @staticmethod
    def _given_token(request: web.Request) -> str:
        """The query wins, then the headers."""
        if "token" in request.query:
            return request.query["token"]
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        headers = request.headers.get("token"), bearer if scheme.lower() == "bearer" else "", request.headers.get("X-Gitlab-Token")
        return next((token for token in headers if token), "")

    def _token_of(self, trigger: ET.Element) -> str:
        """The credential's secret as it is now; the plain token when the credential is missing."""
        identity = trigger.findtext("tokenCredentialId")  # a credential may have the empty id; an empty field names none
        credential = self._credentials.get(identity) if identity else None
        if credential is not None and credential.kind == SECRET_TEXT:
            return credential.secret
        return trigger.findtext("token") or ""

    async def _invoke(self, request: web.Request) -> web.Response:
        given, body = self._given_token(request), await request.read()  # from here on nothing waits: a job that is found is one, and queues
        found = [
            (job, trigger)
            for job in self._jobs.all()
            for trigger in job.triggers
            if (token := self._token_of(trigger)) == given and (token or request[USER])
        ]
        if not found:
            message = _NONE_FOUND + (_WITH_TOKEN if given else _WITHOUT_TOKEN)
            return pages.data({"jobs": None, "message": message}, 404)
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        try:
            answers = {job.name: self._trigger(job, trigger, document, request) for job, trigger in found}
        except jsonpath.UnknownPath as error:
            return pages.data({"jobs": None, "message": f"the lab does not know this expression: {error}"}, 500)
        return pages.data({"jobs": answers, "message": "Triggered jobs."})

    def _trigger(self, job: Job, trigger: ET.Element, document: Any, request: web.Request) -> dict[str, Any]:
        variables = resolve(trigger, document, request)
        expression = trigger.findtext("regexpFilterExpression") or ""
        text = render(trigger.findtext("regexpFilterText") or "", variables)
        wanted = not expression or re.search(expression, text) is not None
        dry = request.headers.get("gwt-dry-run", "").lower() == "true"
        number, url = 0, ""
        if wanted and dry:
            url = job.url
        elif wanted and job.buildable:
            number = self._schedule(job, trigger, variables)
            url = f"queue/item/{number}/"
        return {
            "regexpFilterExpression": expression,
            "triggered": bool(url),
            "resolvedVariables": variables,
            "regexpFilterText": text,
            "id": number,
            "url": url,
        }

    def _schedule(self, job: Job, trigger: ET.Element, variables: dict[str, str]) -> int:
        if self.lost:
            return self._queue.new_id()
        cause = Cause(render(trigger.findtext("causeString") or "Generic Cause", variables))
        mark = ParameterValue("String", _UUID, str(uuid.uuid4()))
        declared = {p.name: p.default for p in job.parameters}
        return self._queue.schedule(job, cause, [mark], contributed=declared | variables, hooked=True).id
