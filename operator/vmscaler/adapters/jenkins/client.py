"""ports.jenkins.Jenkins on a real Jenkins: python-jenkins in a few threads, raw requests where it has no call.

Built by adapters/systems.py for a Site; the reconcile of a policy and its removal call it. System credentials, a listing of builds by `tree` and
the webhook's dry run are raw (facts/jenkins.md). Every write passes the effects seam once.
"""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from vmscaler.adapters.jenkins.errors import classify, of_response
from vmscaler.adapters.jenkins.session import connect
from vmscaler.decide import xmltext
from vmscaler.ports.effects import Effects
from vmscaler.ports.errors import Closed, Conflict, NotFound, OutsideError, Rejected, Retryable, Untrusted
from vmscaler.ports.jenkins import SYSTEM, BuildState, JobState

T = TypeVar("T")

_STORE = "credentials/store/system/domain/_"
_SECRET_TEXT = "org.jenkinsci.plugins.plaincredentials.impl.StringCredentialsImpl"  # noqa: S105 - a class name
_BUILD_FIELDS = "number,building,result,url,description"
# The hook is asked without a log-in, as Alertmanager asks it: no right of the user's matters.
_WHITELIST = (
    "Jenkins does not let the operator ask the webhook (403): if the Generic Webhook Trigger has a whitelist (Manage Jenkins, System), add"
    " the operator's address to it, beside those of the Alertmanagers"
)
_XML = {"Content-Type": "text/xml; charset=utf-8"}


class JenkinsClient:
    """One Jenkins, with an API token. Times in seconds: `timeout` for each wait of the network, `deadline` for a whole call."""

    def __init__(
        self,
        url: str,
        username: str,
        token: str,
        effects: Effects,
        *,
        ca: str | None = None,
        timeout: float = 15.0,
        deadline: float = 45.0,
        login_rest: float = 60.0,
        threads: int = 4,
    ) -> None:
        """Connects at the first call. `ca` is PEM, needed for https. Raises Rejected(CaMissing, CaNotUsable).

        A login that was refused is not tried again for `login_rest` seconds: Jenkins asks its directory whether a wrong token is the user's
        password, and a directory locks the account after a few of them.
        """
        self._url = url.rstrip("/") + "/"
        self._client, self._hooks = connect(self._url, username, token, ca, timeout=timeout, connections=threads)
        self._timeout, self._deadline = timeout, deadline
        self._effects = effects
        self._login_rest, self._refusal, self._refused_until = login_rest, "", 0.0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="jenkins")
        self._closed = False

    async def about(self) -> str:
        """Version; proves certificate and login: `me` is refused to anonymous users, where the front page may not be."""
        response = await self._call("the user", lambda: self._send("GET", "me/api/json?depth=0"))
        return response.headers.get("X-Jenkins", "")

    async def job(self, name: str) -> JobState | None:
        """The job, or None where Jenkins itself says there is none (or one whose name differs in case, which it finds by this name too)."""

        def read() -> JobState | None:
            info = self._send("GET", f"{_job(name)}/api/json?tree=name,description,buildable").json()
            if info["name"] != name:
                return None
            config: str = self._client.get_job_config(name)
            return JobState(info["name"], info.get("description") or "", bool(info["buildable"]), config)

        try:
            return await self._call(f"job {name}", read)
        except NotFound:
            return None

    async def create_job(self, name: str, config_xml: str) -> None:
        """Raises Conflict (NameTaken), Rejected (RefusedByJenkins)."""
        await self._write("job.create", name, f"job {name}", lambda: self._client.create_job(name, config_xml), refusable=True)

    async def update_job(self, name: str, config_xml: str) -> None:
        """Post the whole configuration. Raises NotFound, Rejected (RefusedByJenkins)."""
        await self._write("job.update", name, f"job {name}", lambda: self._client.reconfig_job(name, config_xml), refusable=True)

    async def enable_job(self, name: str, enabled: bool) -> None:
        """Enable or disable (which cancels its queued builds), and see that it is so. Raises NotFound."""
        switch = self._client.enable_job if enabled else self._client.disable_job

        def flip() -> None:
            switch(name)
            if self._send("GET", f"{_job(name)}/api/json?tree=buildable").json()["buildable"] is not enabled:
                raise Retryable(SYSTEM, "UnexpectedAnswer", f"job {name} is not {'enabled' if enabled else 'disabled'} after the call")

        await self._write("job.enable" if enabled else "job.disable", name, f"job {name}", flip)

    async def delete_job(self, name: str) -> None:
        """Delete, and see that it is gone; an absent one is fine. Its running build is stopped by Jenkins."""
        try:
            await self._write("job.delete", name, f"job {name}", lambda: self._client.delete_job(name))
        except NotFound:
            return

    async def put_secret_text(self, credential_id: str, secret: str, description: str) -> None:
        """Create or overwrite: always the whole, since a redacted text posted back empties the secret."""
        root = ET.Element(_SECRET_TEXT)
        for tag, text in (("scope", "GLOBAL"), ("id", credential_id), ("description", description), ("secret", secret)):
            ET.SubElement(root, tag).text = text
        try:
            body = xmltext.render(root).encode()
        except ValueError as error:
            raise Rejected(SYSTEM, "NotUsable", f"credential {credential_id}: {error}") from None
        what = f"credential {credential_id}"
        if not await self.has_credential(credential_id):
            try:
                return await self._write(
                    "credential.create", credential_id, what, lambda: self._post_xml(f"{_STORE}/createCredentials", body), refusable=True
                )
            except Conflict:
                pass  # made meanwhile
        return await self._write(
            "credential.update",
            credential_id,
            what,
            lambda: self._post_xml(f"{_credential(credential_id)}/config.xml", body),
            refusable=True,
        )

    async def has_credential(self, credential_id: str) -> bool:
        """Whether it exists in the system store."""

        def read() -> bool:
            return bool(self._send("GET", f"{_credential(credential_id)}/api/json").json()["id"] == credential_id)

        try:
            return await self._call(f"credential {credential_id}", read)
        except NotFound:
            return False

    async def delete_credential(self, credential_id: str) -> None:
        """Delete; absent is fine (and no write)."""
        # DELETE answers 404 without Jenkins' mark, which proves nothing; the read before it does.
        if not await self.has_credential(credential_id):
            return

        def delete() -> None:
            self._send("DELETE", f"{_credential(credential_id)}/config.xml")

        await self._write("credential.delete", credential_id, f"credential {credential_id}", delete)

    async def dry_run_hook(self, token: str) -> list[str]:
        """Names of jobs that a firing alert with this token would start; none where no job has the token. Starts nothing.

        A disabled job is among them: look at `buildable` too. Raises Rejected(DryRunNotSupported) where the plugin started a build.
        """

        def ask() -> list[str]:
            # No login here: a wrong one would be 401 whatever the token, and Alertmanager has none.
            response = self._hooks.post(
                f"{self._url}generic-webhook-trigger/invoke",
                json={"status": "firing", "alerts": [], "groupKey": "vmscaler dry run", "commonLabels": {}},
                headers={"Authorization": f"Bearer {token}", "gwt-dry-run": "true"},
                timeout=self._timeout,
            )
            if response.status_code == 404 and response.json()["jobs"] is None:
                return []
            if response.status_code == 403:
                raise Untrusted(SYSTEM, "PermissionDenied", _WHITELIST)
            if response.status_code != 200:
                raise of_response(response, "the webhook's dry run")
            jobs: dict[str, Any] = response.json()["jobs"]
            if any(job["id"] for job in jobs.values()):
                raise Rejected(
                    SYSTEM, "DryRunNotSupported", "Jenkins' generic-webhook-trigger started a build on a dry run: update the plugin"
                )
            return sorted(name for name, job in jobs.items() if job["triggered"])

        return await self._call("the webhook's dry run", ask)

    async def build(self, job: str, number: int) -> BuildState | None:
        """A build, or None where Jenkins itself says there is none."""
        path = f"{_job(job)}/{number:d}/api/json?tree={_BUILD_FIELDS}"
        try:
            return await self._call(f"build {job} #{number}", lambda: _build(self._send("GET", path).json()))
        except NotFound:
            return None

    async def last_builds(self, job: str, limit: int = 5) -> list[BuildState]:
        """The newest first. Raises NotFound (the job)."""
        path = f"{_job(job)}/api/json?tree=builds[{_BUILD_FIELDS}]{{0,{limit:d}}}"
        return await self._call(f"job {job}", lambda: [_build(entry) for entry in self._send("GET", path).json()["builds"]])

    async def close(self) -> None:
        """Close connections; a call under way ends by its own time-out, one that waits for a thread and later ones raise Closed."""
        self._closed = True
        # What waits for a thread gets one: cancelled, it would look as if its caller had been.
        self._threads.shutdown(wait=False)
        self._client._session.close()
        self._hooks.close()

    def _send(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        response: requests.Response = self._client.jenkins_request(requests.Request(method, self._url + path, **kwargs))
        return response

    def _post_xml(self, path: str, body: bytes) -> None:
        self._send("POST", path, data=body, headers=_XML)

    async def _call(self, what: str, call: Callable[[], T]) -> T:
        def classified() -> T:
            self._check_open(what)
            try:
                return call()
            except Exception as error:
                raise classify(error, what) from None

        self._check_open(what)
        clock = asyncio.get_running_loop()
        if clock.time() < self._refused_until:
            raise Untrusted(SYSTEM, "LoginRefused", self._refusal, after=self._refused_until - clock.time())
        try:
            async with asyncio.timeout(self._deadline):
                return await clock.run_in_executor(self._threads, classified)
        except Untrusted as error:
            if error.reason == "LoginRefused":
                self._refusal, self._refused_until = error.message, clock.time() + self._login_rest
            raise
        except TimeoutError:
            raise Retryable(SYSTEM, "TimedOut", f"Jenkins did not answer within {self._deadline:.0f} s ({what})") from None

    def _check_open(self, what: str) -> None:
        if self._closed:
            raise Closed(SYSTEM, "Closed", f"{what}: this client of {self._url} was closed: its Site or Secret has changed", after=1.0)

    async def _write(self, operation: str, target: str, what: str, call: Callable[[], None], *, refusable: bool = False) -> None:
        try:
            await self._effects.write(SYSTEM, operation, target, lambda: self._call(what, call))
        except Retryable as error:
            if refusable and error.reason == "ServerError":
                await self._unless_down(error)
                raise Rejected(
                    SYSTEM, "RefusedByJenkins", f"Jenkins, which is up, refuses {what} with a server error: see its log"
                ) from None
            raise

    async def _unless_down(self, error: OutsideError) -> None:
        # Jenkins answers 500 to XML that it cannot read, and 500 while it starts (facts/jenkins.md Restarts 15).
        try:
            await self.about()
        except OutsideError:
            raise error from None


def _job(name: str) -> str:
    return f"job/{quote(name, safe='')}"


def _credential(credential_id: str) -> str:
    return f"{_STORE}/credential/{quote(credential_id, safe='')}"


def _build(entry: dict[str, Any]) -> BuildState:
    return BuildState(entry["number"], bool(entry["building"]), entry.get("result"), entry.get("url") or "", entry.get("description") or "")
