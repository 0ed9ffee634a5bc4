"""Replays recorded exchanges against the lab's Jenkins and says where the answers differ. Used by test_lab_jenkins_*.py."""

from __future__ import annotations

import base64
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import requests

RECORDINGS = Path(__file__).resolve().parents[2].parent / "shared" / "recordings" / "jenkins"
BASE = "http://127.0.0.1:8080/"
ADMIN = ("admin", "sample-api-token")
_SLEEP = """#!{python} -S
import os, signal, sys, time
gates = {gates!r}
def term(*_):
    while os.path.exists(gates + "/lingers"):
        time.sleep(0.02)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:  # as a shell with `trap "" TERM` has it
    signal.signal(signal.SIGTERM, term)
open(f"{{gates}}/slept-{{os.environ.get('JOB_NAME')}}-{{sys.argv[1]}}", "w").close()
if os.environ.get("JOB_NAME") in {gated!r}:
    number = 1
    while True:  # my turn among those of this build: one that a build left behind takes no other's
        try:
            os.mkdir("{{}}/turn-{{JOB_NAME}}-{{BUILD_NUMBER}}-{{}}".format(gates, number, **os.environ))
            break
        except FileExistsError:
            number += 1
    while int(open(gates + "/open").read() or 0) < number:
        time.sleep(0.02)
else:
    time.sleep(float(sys.argv[1]) * (1 if os.environ.get("JOB_NAME") in {unscaled!r} else {scale}))
"""

_REV = """#!{python} -S
import sys
for line in sys.stdin:
    text = line.rstrip("\\n")
    sys.stdout.write(text[::-1] + line[len(text):])
"""


def trigger_xml(token: str = "", credential: str = "", keys: tuple[tuple[str, str], ...] = ()) -> str:
    """A generic webhook trigger as the recordings' jobs had it."""
    gwt = "org.jenkinsci.plugins.gwt."
    variables = "".join(
        f"<{gwt}GenericVariable><expressionType>JSONPath</expressionType><key>{key}</key><value>{path}</value>"
        f"<regexpFilter/><defaultValue/></{gwt}GenericVariable>"
        for key, path in keys
    )
    return (
        f"<{gwt}GenericTrigger><spec/><genericVariables>{variables}</genericVariables>"
        "<regexpFilterText>$status</regexpFilterText><regexpFilterExpression>^firing$</regexpFilterExpression>"
        f"<causeString>alert $status for $service</causeString><token>{token}</token>"
        f"<tokenCredentialId>{credential}</tokenCredentialId></{gwt}GenericTrigger>"
    )


def job_xml(script: str, description: str = "sample job", *, disabled: bool = False, quiet: int = 0, trigger: str | None = "") -> str:
    """A job's config.xml; `trigger` None leaves the triggers' property out."""
    job = "org.jenkinsci.plugins.workflow.job.properties."
    kind = f"{job}PipelineTriggersJobProperty"
    triggers = "" if trigger is None else f"<{kind}><triggers>{trigger}</triggers></{kind}>"
    return f"""<?xml version="1.1" encoding="UTF-8"?>
<flow-definition>
  <description>{escape(description)}</description>
  <keepDependencies>false</keepDependencies>
  <properties>
    <{job}DisableConcurrentBuildsJobProperty/>
    {triggers}
  </properties>
  <definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition">
    <script>{escape(script)}</script>
    <sandbox>true</sandbox>
  </definition>
  <triggers/>
  <quietPeriod>{quiet}</quietPeriod>
  <disabled>{str(disabled).lower()}</disabled>
</flow-definition>"""


def credential_xml(identity: str, secret: str, username: str = "") -> str:
    """Secret text, or username with password."""
    start = f"<scope>GLOBAL</scope><id>{identity}</id><description>hook</description>"
    if username:
        kind = "com.cloudbees.plugins.credentials.impl.UsernamePasswordCredentialsImpl"
        return f"<{kind}>{start}<username>{escape(username)}</username><password>{escape(secret)}</password></{kind}>"
    kind = "org.jenkinsci.plugins.plaincredentials.impl.StringCredentialsImpl"
    return f"<{kind}>{start}<secret>{escape(secret)}</secret></{kind}>"


def write_sleep(folder: Path, gates: Path, gated: list[str], scale: float, unscaled: tuple[str, ...] = ()) -> Path:
    """A `sleep` for the agent's PATH: of gated jobs it waits for the test, of others it is `scale` times as long. And the `rev` that the
    recorded pipelines call and a small machine has not."""
    folder.mkdir()
    gates.mkdir()
    (gates / "open").write_text("0")
    _tool(folder / "sleep", _SLEEP.format(python=sys.executable, gates=str(gates), gated=gated, scale=scale, unscaled=unscaled))
    _tool(folder / "rev", _REV.format(python=sys.executable))
    return folder


def _tool(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@dataclass
class Lab:
    """The part under test, and helpers for what happened between the recorded requests."""

    url: str
    folder: Path
    gates: Path
    session: str = ""
    crumb: str = ""
    ids: dict[str, str] = field(default_factory=dict)  # recorded queue id -> ours
    sizes: dict[str, str] = field(default_factory=dict)  # recorded X-Text-Size -> ours
    api: requests.Session = field(default_factory=requests.Session)

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """A request beside the recorded ones; raises if it is refused."""
        url = self.url + path.lstrip("/")
        answer = self.api.request(method, url, auth=ADMIN, allow_redirects=False, timeout=60, **kwargs)
        answer.raise_for_status()
        return answer

    def create(self, name: str, xml: str) -> None:
        """A job."""
        self.call("POST", f"createItem?name={name}", data=xml.encode(), headers={"Content-Type": "text/xml; charset=utf-8"})

    def credential(self, identity: str, secret: str, username: str = "") -> None:
        """A secret text, or a username with password."""
        body, headers = credential_xml(identity, secret, username), {"Content-Type": "text/xml"}
        self.call("POST", "credentials/store/system/domain/_/createCredentials", data=body.encode(), headers=headers)

    def clean(self) -> None:
        """Delete all jobs."""
        self.open_gates(10**6)
        for job in self.call("GET", "api/json?tree=jobs[name]").json()["jobs"]:
            self.call("POST", f"job/{job['name']}/doDelete")
        self.close_gates()

    def close_gates(self) -> None:
        """From now on each `sleep` of a gated job waits for its turn."""
        self.open_gates(0)
        for turn in self.gates.glob("turn-*"):
            turn.rmdir()

    def turn(self, job: str, build: int, number: int) -> None:
        """Until the `number`th sleep of a build of a gated job has begun."""
        self.until(f"{job} {build} sleeps for the {number}th time", (self.gates / f"turn-{job}-{build}-{number}").exists)

    def sleeps(self, job: str, seconds: str) -> None:
        """Until this `sleep` of the job has begun. Its trace comes before it has a process: a stop in between would meet the shell alone."""
        self.until(f"{job} sleeps {seconds}", (self.gates / f"slept-{job}-{seconds}").exists)

    def linger(self, *, on: bool) -> None:
        """While it is on, a `sleep` that gets TERM takes its time to end."""
        (self.gates / "lingers").touch() if on else (self.gates / "lingers").unlink()

    def open_gates(self, number: int) -> None:
        """Let the first `number` sleeps of each build end."""
        temporary = self.gates / "open.new"
        temporary.write_text(str(number))
        temporary.replace(self.gates / "open")

    def until(self, what: str, holds: Callable[[], bool], deadline: float = 90.0) -> None:
        """Poll until it holds; fails with `what` at the deadline (seconds)."""
        end = time.monotonic() + deadline
        while not holds():
            assert time.monotonic() < end, f"not seen in time: {what}; {self.now()}"
            time.sleep(0.02)

    def now(self) -> str:
        """What goes on, for the message of a test that failed."""
        jobs = self.call("GET", "api/json?tree=jobs[name,inQueue,color,lastBuild[number]]").json()["jobs"]
        last = [f"{j['name']}/{j['lastBuild']['number']}" for j in jobs if j["color"].endswith("_anime")]
        return f"{jobs} " + "\n".join(self.console(f"job/{name}")[-1500:] for name in last)

    def settled(self) -> None:
        """Until no build runs and nothing waits."""

        def idle() -> bool:
            jobs = self.call("GET", "api/json?tree=jobs[inQueue,color]").json()["jobs"]
            return not any(job["inQueue"] or job["color"].endswith("_anime") for job in jobs)

        self.until("idle", idle)

    def console(self, path: str) -> str:
        """A build's console; empty while there is no such build."""
        answer = self.api.get(f"{self.url}{path}/consoleText", auth=ADMIN, timeout=60)
        return answer.content.decode() if answer.ok else ""

    def console_has(self, path: str, text: str) -> None:
        """Until a build's console holds the text."""
        self.until(f"{text!r} in {path}", lambda: text in self.console(path))

    def send(self, request: dict[str, Any], path: str) -> requests.Response:
        """One recorded request, with our session, crumb, queue ids and log sizes."""
        headers = dict(request["headers"] or {})
        if login := re.fullmatch(r"Basic <base64 of (.*)>", headers.get("Authorization", "")):
            headers["Authorization"] = "Basic " + base64.b64encode(login[1].encode()).decode()
        if "Cookie" in headers:
            headers["Cookie"] = f"JSESSIONID={self.session}"
        if headers.get("Jenkins-Crumb") == "CRUMB":
            headers["Jenkins-Crumb"] = self.crumb
        path = re.sub(r"(queue/item/|cancelItem\?id=)(\d+)", lambda m: m[1] + self.ids.get(m[2], m[2]), path)
        path = re.sub(r"(progressiveText\?start=)(\d+)", lambda m: m[1] + self.sizes.get(m[2], m[2]), path)
        body = whole(request["body"]) if request.get("body") else None
        prepared = requests.Request(request["method"], self.url, headers=headers, data=body).prepare()
        prepared.url = self.url.rstrip("/") + path
        with requests.Session() as fresh:
            answer = fresh.send(prepared, allow_redirects=False, timeout=60)
        cookie = re.match(r"JSESSIONID=([^;]+)", answer.headers.get("Set-Cookie", ""))
        if cookie and "Jenkins-Crumb" not in headers:  # a crumb sent without its session was a client of its own
            self.session = cookie[1]
        if "crumbRequestField" in answer.text:
            self.crumb = answer.json()["crumb"]
        return answer

    def learn(self, recorded: dict[str, Any], ours: requests.Response) -> None:
        """Pair queue ids and log sizes of a recorded answer with ours."""
        pattern = re.compile(r"queue/item/(\d+)/")
        theirs = pattern.findall(str(recorded["headers"].get("Location", "")) + _in_order(recorded["body"]))
        mine = pattern.findall(ours.headers.get("Location", "") + _in_order(ours.text))
        if len(theirs) == len(mine):
            self.ids |= dict(zip(theirs, mine, strict=True))
        if size := recorded["headers"].get("X-Text-Size"):
            self.sizes[size] = ours.headers.get("X-Text-Size", size)

    def normal(self, text: str) -> str:
        """Our base URL and folders as the recorded ones."""
        text = text.replace(self.url, BASE).replace(self.url.rstrip("/"), BASE.rstrip("/"))
        for folder in ("home", "vjh"):
            text = text.replace(str(self.folder / folder), "/var/jenkins_home")
        return re.sub(r"\{AQAA[A-Za-z0-9+/=]+\}", "{ENCRYPTED}", text)


def _in_order(body: Any) -> str:
    """JSON with its keys in order: two jobs of one hook come in any order."""
    try:
        return json.dumps(json.loads(body), sort_keys=True)
    except (TypeError, ValueError):
        return str(body)


def whole(body: str) -> bytes:
    """A recorded body; the two long ones are cut in the recording and made again here."""
    cut = re.search(r"\.\.\.\[cut here; (\d+) characters in all\]$", body)
    if cut is None:
        return body.encode()
    count = 1000 if int(cut[1]) < 2_000_000 else 10_000
    labels = {"alertname": "VmscalerHighCpu", "service": "web", "customer": "acme"}
    started = "2026-01-01T00:00:00.000Z"
    alerts = [{"labels": labels, "startsAt": started, "fingerprint": f"{n:016d}", "pad": "x" * 1080} for n in range(count)]
    group = '{}/{vmscaler_policy="acme/web"}:{service="web"}'
    return json.dumps({"groupKey": group, "status": "firing", "commonLabels": labels, "alerts": alerts}).encode()
