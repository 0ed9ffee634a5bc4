"""python-jenkins, which we did not write, drives the lab's Jenkins over HTTPS; the faults of its control port; what its grammar refuses."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jenkins
import pytest
import requests
from tests.contract.lab_jenkins_replay import credential_xml, job_xml, trigger_xml

from lab.pki import Authority
from lab.process import Part

pytestmark = pytest.mark.lab
USER, PASSWORD, TOKEN = "admin", "sample-password", "sample-api-token"
ECHO = "pipeline { agent any\n stages { stage('one') { steps { echo 'hello' } } } }"


@dataclass
class Judge:
    """The part, and clients for it."""

    url: str
    control: str
    ca: str
    part: Part

    def client(self, secret: str = TOKEN, user: str | None = USER) -> jenkins.Jenkins:
        """python-jenkins, trusting the part's CA only."""
        found = jenkins.Jenkins(self.url, user, secret, timeout=60)
        found._session.verify = self.ca
        return found

    def faults(self, **wanted: Any) -> requests.Response:
        """PUT /faults."""
        return requests.put(f"{self.control}/faults", json=wanted, timeout=60)

    def hook(self, token: str, **payload: Any) -> requests.Response:
        """Alertmanager's call."""
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.url}generic-webhook-trigger/invoke"
        return requests.post(url, json={"status": "firing"} | payload, headers=headers, verify=self.ca, timeout=60)


@pytest.fixture
async def judge(tmp_path: Path) -> AsyncIterator[Judge]:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(tmp_path, "jenkins")
    ca = tmp_path / "ca.pem"
    ca.write_text(authority.pem)
    users = [{"user": USER, "password": PASSWORD, "token": TOKEN}]
    config = {"home": str(tmp_path / "home"), "users": users, "cert": str(certificate), "key": str(key)}
    config |= {"quiet_period": 0, "queue_scan": 0.1, "build_start": 0}
    async with Part("jenkins", config, folder=tmp_path) as part:
        yield Judge(part.record["url"], part.record["control"], str(ca), part)


def until(holds: Callable[[], Any]) -> Any:
    """The first true value; pytest's time limit ends it."""
    while not (found := holds()):
        time.sleep(0.02)
    return found


def drive(judge: Judge, secret: str) -> None:
    client = judge.client(secret)
    assert client.get_whoami()["id"] == USER
    client.create_job("web", job_xml(ECHO, "made by a client"))
    assert client.job_exists("web")
    assert [job["name"] for job in client.get_jobs()] == ["web"]
    queued = client.build_job("web")
    number = until(lambda: (client.get_queue_item(queued).get("executable") or {}).get("number"))
    assert until(lambda: client.get_build_info("web", number)["result"]) == "SUCCESS"
    until(lambda: "Finished: SUCCESS" in client.get_build_console_output("web", number))
    assert "hello" in client.get_build_console_output("web", number)
    client.reconfig_job("web", job_xml(ECHO, "changed"))
    assert client.get_job_info("web")["description"] == "changed"
    client.disable_job("web")
    assert not client.get_job_info("web")["buildable"]
    client.enable_job("web")
    client.rename_job("web", "web2")
    client.copy_job("web2", "web3")
    assert client.get_queue_info() == [] and client.get_running_builds() == []
    assert [node["name"] for node in client.get_nodes()] == ["Built-In Node"]
    for name in ("web2", "web3"):
        client.delete_job(name)
    assert client.get_jobs() == []


async def test_python_jenkins_drives_it_with_an_api_token(judge: Judge) -> None:
    await asyncio.to_thread(drive, judge, TOKEN)


async def test_python_jenkins_drives_it_with_a_password_and_crumbs(judge: Judge) -> None:
    await asyncio.to_thread(drive, judge, PASSWORD)


async def test_python_jenkins_raises_what_it_raises_at_a_real_one(judge: Judge) -> None:
    """facts/jenkins.md "What python-jenkins raises"."""

    def raises(kind: type[Exception], text: str, call: Callable[..., Any], *arguments: Any) -> None:
        with pytest.raises(kind) as caught:
            call(*arguments)
        assert type(caught.value) is kind
        assert text in str(caught.value)

    def work() -> None:
        client, xml, plain = judge.client(), job_xml(ECHO), jenkins.JenkinsException
        client.create_job("web", xml)
        for call, arguments in (
            (client.get_job_config, ()),
            (client.reconfig_job, (xml,)),
            (client.delete_job, ()),
            (client.disable_job, ()),
        ):
            raises(jenkins.NotFoundException, "", call, "nope", *arguments)
        raises(plain, "does not exist", client.get_job_info, "nope")
        raises(plain, "does not exist", client.get_build_info, "web", 9)
        raises(plain, "does not exist", client.get_queue_item, 999)
        raises(plain, "job[web] already exists", client.create_job, "web", xml)
        raises(plain, "Possibly authentication failed [500]", client.create_job, "bad", "no xml")
        raises(plain, "[401]", judge.client("wrong").get_jobs)
        raises(plain, "[401]", judge.client("wrong").job_exists, "web")
        raises(plain, "[403]", judge.client("", None).get_jobs)
        raises(requests.HTTPError, "400", client.create_job, "a?b", xml)
        raises(jenkins.BadHTTPException, "", judge.client().get_version)
        judge.faults(latency_s=600)
        slow = judge.client()
        slow.timeout = 0.2
        raises(jenkins.TimeoutException, "", slow.get_jobs)
        judge.faults(down=True)
        raises(requests.ConnectionError, "", judge.client().get_jobs)
        judge.faults()
        assert len(client.get_jobs()) == 1

    await asyncio.to_thread(work)


async def test_the_faults_act_and_heal(judge: Judge) -> None:
    def work() -> None:
        client = judge.client()
        client.create_job("web", job_xml(ECHO, trigger=trigger_xml(token="sample-token", keys=(("status", "$.status"),))))
        unknown = judge.faults(nonsense=1)
        assert unknown.status_code == 400 and "hook_lost" in unknown.json()["error"]

        def status() -> int:
            return requests.get(judge.url + "api/json", auth=(USER, TOKEN), verify=judge.ca, timeout=60).status_code

        judge.faults(starting=True)
        assert [status() for _ in range(4)] == [500, 500, 503, 503]
        judge.faults(http_500=True)
        assert status() == 500
        judge.faults(bad_login=True)
        assert status() == 401
        judge.faults(hang=True)
        with pytest.raises(requests.ReadTimeout):
            requests.get(judge.url, verify=judge.ca, timeout=(60, 0.3))
        for fault in ("hook_lost", "lose_queue"):
            judge.faults(**{fault: True})
            answer = judge.hook("sample-token").json()["jobs"]["web"]
            assert answer["triggered"] and answer["id"] > 0
            judge.faults()
            with pytest.raises(jenkins.JenkinsException, match="does not exist"):
                client.get_queue_item(answer["id"])
        assert client.get_job_info("web")["nextBuildNumber"] == 1
        assert status() == 200

    await asyncio.to_thread(work)


async def test_who_was_connecting_when_it_went_down_is_not_served(judge: Judge) -> None:
    """Such a connection would be kept alive: a client would not notice the outage at all."""
    seen: list[bytes] = []

    def work() -> None:
        host, port = judge.url.removeprefix("https://").rstrip("/").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as plain:
            judge.client().get_whoami()  # connections are accepted in their order: the first one is, too
            judge.faults(down=True)
            login = base64.b64encode(f"{USER}:{TOKEN}".encode())
            with contextlib.suppress(OSError), ssl.create_default_context(cafile=judge.ca).wrap_socket(plain, server_hostname=host) as tls:
                tls.sendall(b"POST /quietDown HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nAuthorization: Basic " + login + b"\r\n\r\n")
                seen.append(tls.recv(100))
        judge.faults()
        assert not b"".join(seen) and not judge.client().get_info()["quietingDown"]

    await asyncio.to_thread(work)


async def test_the_status_names_jobs_builds_and_queue(judge: Judge) -> None:
    def work() -> None:
        client = judge.client()
        client.create_job("web", job_xml(ECHO.replace("echo 'hello'", "sh 'sleep 60'")))
        for _ in range(2):
            client.build_job("web")
        seen = until(lambda: (s := requests.get(f"{judge.control}/status", timeout=60).json())["busy_executors"] and s)
        assert seen["jobs"][0]["builds"][0]["building"] and len(seen["queue"]) == 1
        client.delete_job("web")

    await asyncio.to_thread(work)


async def test_secrets_of_steps_are_in_no_argument_and_no_log(judge: Judge, tmp_path: Path) -> None:
    secret = "sample-secret-of-a-step"

    def work() -> None:
        client = judge.client()
        store = f"{judge.url}credentials/store/system/domain/_/createCredentials"
        headers = {"Content-Type": "application/xml"}
        requests.post(store, data=credential_xml("c", secret), headers=headers, auth=(USER, TOKEN), verify=judge.ca, timeout=60)
        script = "pipeline { agent any\n environment { S = credentials('c') }\n stages { stage('a') { steps { sh 'echo $S; env | grep ^S=; sleep 60' } } } }"
        client.create_job("web", job_xml(script))
        client.build_job("web")
        until(lambda: client.get_job_info("web")["lastBuild"] and "S=****" in client.get_build_console_output("web", 1))
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    assert secret.encode() not in (folder / "cmdline").read_bytes()
                except OSError:
                    continue
        client.stop_build("web", 1)
        until(lambda: not client.get_build_info("web", 1)["building"])
        # The step's own folder goes while we look.
        for folder, _, files in os.walk(tmp_path):
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    assert secret.encode() not in Path(folder, file).read_bytes(), file

    await asyncio.to_thread(work)


async def test_nothing_is_left_when_the_part_ends(tmp_path: Path) -> None:
    users = [{"user": USER, "password": PASSWORD, "token": TOKEN}]
    marker = f"LAB_TEST_{os.getpid()}"
    config = {"home": str(tmp_path / "home"), "users": users, "build_start": 0, "env": {marker: "1"}}

    def left() -> list[str]:
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    if f"{marker}=1".encode() in (folder / "environ").read_bytes():
                        found.append(folder.name)
                except OSError:
                    continue
        return found

    async with Part("jenkins", config, folder=tmp_path) as part:
        client = jenkins.Jenkins(part.record["url"], USER, TOKEN)
        script = 'setsid nohup sleep 600 >/dev/null 2>&1 & trap "" TERM; sleep 600'
        await asyncio.to_thread(client.create_job, "web", job_xml(ECHO.replace("echo 'hello'", f"sh '{script}'")))
        await asyncio.to_thread(client.build_job, "web")
        await asyncio.to_thread(until, lambda: len(left()) >= 3)
    assert left() == []


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("node { echo 'x' }", "declarative pipelines only"),
        ("pipeline { agent any\n tools { maven 'x' }\n stages { stage('a') { steps { echo 'x' } } } }", '"tools" @ line 2'),
        ("pipeline { agent none\n stages { stage('a') { steps { echo 'x' } } } }", 'agent type "none"'),
        ("pipeline { agent any\n stages { stage('a') { steps { archiveArtifacts 'x' } } } }", 'step "archiveArtifacts"'),
        ("pipeline { agent any\n stages { stage('a') { steps { sh(encoding: 'x', script: 'y') } } } }", 'parameter "encoding" of step sh'),
        ("pipeline { agent any\n stages { stage('a') { steps { script { for (x in y) { echo 'x' } } } } } }", '"for"'),
        ("pipeline { agent any\n stages { stage('a') { steps { echo env.X.toUpperCase() } } } }", 'method "toUpperCase"'),
        ("pipeline { agent any\n stages { stage('a') { steps { echo 'x' } } }\n post { fixed { echo 'x' } } }", 'condition "fixed"'),
        (
            "pipeline { agent any\n stages { stage('a') { steps { echo 'x' } } stage('b') { steps { echo 'x' } } } }",
            "unexpected token: stage",
        ),
    ],
)
def test_what_the_grammar_does_not_know_is_refused_by_name(script: str, named: str) -> None:
    from lab.jenkins.pipeline.model import compile_pipeline
    from lab.jenkins.pipeline.syntax import CompileError

    with pytest.raises(CompileError) as caught:
        compile_pipeline(script)
    console = caught.value.console(script)
    assert "MultipleCompilationErrorsException" in console
    assert named.partition(" @")[0] in console and named.rpartition("@ ")[2] in console
    assert json.dumps(caught.value.problems)
