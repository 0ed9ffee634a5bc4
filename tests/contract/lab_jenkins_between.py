"""What happened between the recorded requests 01 to 07: jobs made, builds started and awaited. Used by test_lab_jenkins_recordings.py."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.contract.lab_jenkins_replay import RECORDINGS, Lab, job_xml, trigger_xml

_SLOW = "\n".join(f'echo "line {n}"; sleep 1;' for n in range(1, 30)).replace("\n", " ")
_GWT_KEYS = (
    ("status", "$.status"),
    ("service", "$.commonLabels.service"),
    ("fingerprint", "$.alerts[0].fingerprint"),
)
_HOOK_ECHO = 'env | sort | grep -E "^(status|service|customer|fingerprint|started|group|missing)=" || true'
_PARAMETERS = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def stages(body: str) -> str:
    """A pipeline with one stage, as the recorder wrote it."""
    return f"pipeline {{ agent any\n stages {{ stage('one') {{ steps {{ {body} }} }} }} }}"


def recording(number: str) -> list[dict[str, Any]]:
    """One file."""
    (path,) = RECORDINGS.glob(f"{number}-*.json")
    entries: list[dict[str, Any]] = json.loads(path.read_text())
    return entries


def before_03(lab: Lab) -> None:
    lab.clean()
    lab.create("rec-ok", job_xml(stages("sh 'echo hello; sleep 1'"), "vmscaler hash=1"))
    lab.create("rec-fail", job_xml(stages("sh 'exit 7'"), "vmscaler hash=2"))
    lab.create("rec-slow", job_xml(stages(f"sh '{_SLOW}'"), "vmscaler hash=3"))
    lab.create("rec-nb", job_xml(stages("script { currentBuild.result = 'NOT_BUILT' }")))
    lab.create("rec-never", job_xml(stages("echo 'x'"), ""))
    lab.create("rec-off", job_xml(stages("echo 'x'"), "off", disabled=True))
    for name in ("rec-ok", "rec-fail", "rec-nb"):
        lab.call("POST", f"job/{name}/build")
    lab.settled()
    lab.open_gates(2)
    slow_build(lab, 1, "line 3\n+ sleep 1\n")


def slow_build(lab: Lab, number: int, seen: str) -> None:
    lab.call("POST", "job/rec-slow/build")
    lab.console_has(f"job/rec-slow/{number}", seen)


def line(number: int) -> Callable[[Lab], None]:
    def wait(lab: Lab) -> None:
        lab.open_gates(number - 1)
        lab.console_has("job/rec-slow/1", f"line {number}\n+ sleep 1\n")

    return wait


def lingering(lab: Lab) -> None:
    """The recorder looked before the build that it stopped was over."""
    lab.turn("rec-slow", 1, 5)
    lab.linger(on=True)


def stopped(lab: Lab) -> None:
    lab.linger(on=False)
    lab.settled()


def credtest(number: int) -> Callable[[Lab], None]:
    def run(lab: Lab) -> None:
        if number == 1:
            body = "withCredentials([string(credentialsId: 'rec-token', variable: 'S')]) { sh 'printf %s \"$S\" | wc -c' }"
            lab.create("rec-credtest", job_xml(stages(body)))
        lab.call("POST", "job/rec-credtest/build")
        lab.settled()

    return run


def before_05_1(lab: Lab) -> None:
    plain = recording("05")[39]["response"]["body"]

    def config(token: str, credential: str = "", disabled: bool = False) -> str:
        text = plain.replace("sample-plain-token", token).replace(
            "<tokenCredentialId/>", f"<tokenCredentialId>{credential}</tokenCredentialId>"
        )
        return str(text.replace("<disabled>false", f"<disabled>{str(disabled).lower()}"))

    lab.credential("hook-a", "sample-hook-token-a")
    lab.create("gwt-a", config("", "hook-a"))
    lab.create("gwt-off", config("sample-off-token", disabled=True))
    lab.create("gwt-nocred", config("", "no-such-credential"))
    lab.create("gwt-twin1", config("sample-hook-token-twin"))
    lab.create("gwt-twin2", config("sample-hook-token-twin"))
    lab.create("gwt-plain", plain)


def quiet_down(lab: Lab, *, begins: bool) -> None:
    """From now on no build begins, or those that waited do."""
    lab.call("POST", "quietDown" if begins else "cancelQuietDown")


def queue_job(lab: Lab, name: str, quiet: int) -> None:
    lab.create(name, job_xml(stages("sh 'sleep 8'"), quiet=quiet, trigger=trigger_xml(token="sample-q-token", keys=_GWT_KEYS)))


def before_06(lab: Lab) -> None:
    lab.clean()
    queue_job(lab, "q-a", 3)


def state_of(recorded_id: str, state: str) -> Callable[[Lab], None]:
    def wait(lab: Lab) -> None:
        path = f"queue/item/{lab.ids.get(recorded_id, recorded_id)}/api/json?tree=id"
        lab.until(state, lambda: lab.call("GET", path).json()["_class"].endswith(state))

    return wait


def release(lab: Lab) -> None:
    lab.open_gates(10**6)
    lab.settled()
    lab.close_gates()


def before_q_par(lab: Lab) -> None:
    saved = recording("06")[29]["response"]["body"]
    script = _PARAMETERS.search(saved)
    assert script is not None
    text = script[1].replace("&apos;", "'").replace("&quot;", '"').replace("&amp;", "&")
    lab.create("q-par", job_xml(text, trigger=None))


def before_q_blocked(lab: Lab) -> None:
    lab.create("q-blocked", job_xml(stages("echo 'x'").replace("agent any", "agent { label 'no-such-label' }")))


def before_07(lab: Lab) -> None:
    release(lab)
    lab.clean()
    lab.credential("sample-hook-token", "sample-hook-secret")
    lab.credential("sample-gateway-token", "sample-gateway-secret")
    stub = lab.folder / "vjh" / "stub"
    stub.mkdir(parents=True)
    script = (RECORDINGS / "proven" / "stub-step.sh").read_text().replace("/var/jenkins_home", str(lab.folder / "vjh"))
    (stub / "step").write_text(script)
    (stub / "step").chmod(0o755)


def mode(name: str) -> Callable[[Lab], None]:
    def set_mode(lab: Lab) -> None:
        lab.settled()
        (lab.folder / "vjh" / "stub" / "mode").write_text(name + "\n")

    return set_mode


def hook_07(lab: Lab) -> None:
    sample = recording("07")[3]["request"]
    answer = lab.send(sample, sample["path"])
    assert answer.json()["jobs"]["autoscale-acme-web"]["triggered"]


def crashes(name: str) -> Callable[[Lab], None]:
    """A build of 07 whose hook is not recorded."""

    def run(lab: Lab) -> None:
        mode(name)(lab)
        hook_07(lab)
        lab.settled()

    return run


def tick_2(number: int) -> Callable[[Lab], None]:
    def wait(lab: Lab) -> None:
        lab.open_gates(1)
        lab.console_has(f"job/autoscale-acme-web/{number}", "tick 2\n")
        lab.turn("autoscale-acme-web", number, 2)
        (lab.folder / "vjh" / "stub" / "mode").write_text("accept\n")

    return wait


def stopped_in_claim(lab: Lab) -> None:
    lab.settled()
    lab.close_gates()
    mode("slow-claim")(lab)
    hook_07(lab)
    number = lab.call("GET", "job/autoscale-acme-web/api/json?tree=lastBuild[number]").json()["lastBuild"]["number"]
    tick_2(number)(lab)
    lab.call("POST", f"job/autoscale-acme-web/{number}/stop")
    lab.settled()


def tidy(lab: Lab) -> None:
    lab.clean()


def settle(lab: Lab) -> None:
    lab.settled()


BEFORE: dict[tuple[str, int], Callable[[Lab], None]] = {
    ("02", 0): tidy,
    ("02", 24): settle,
    ("03", 0): before_03,
    ("03", 14): line(4),
    ("03", 16): line(5),
    ("03", 22): lingering,
    ("03", 24): stopped,
    ("03", 48): lambda lab: slow_build(lab, 2, "+ sleep 1\n"),
    ("04", 0): tidy,
    ("04", 16): credtest(1),
    ("04", 27): credtest(2),
    ("05", 0): tidy,
    ("05", 1): before_05_1,
    ("05", 2): settle,
    # The hook's build saves the job when it begins; the recorder looked before.
    ("05", 38): lambda lab: quiet_down(lab, begins=True),
    ("05", 40): lambda lab: quiet_down(lab, begins=False),
    ("06", 0): before_06,
    ("06", 4): state_of("59", "LeftItem"),
    ("06", 8): state_of("61", "BlockedItem"),
    ("06", 20): release,
    ("06", 26): before_q_par,
    ("06", 28): settle,
    ("06", 32): settle,
    ("06", 35): before_q_blocked,
    ("06", 36): lambda lab: lab.console_has("job/q-blocked/1", "[Pipeline] node\n"),
    ("06", 40): settle,
    ("06", 41): lambda lab: queue_job(lab, "q-b", 0),
    ("07", 0): before_07,
    ("07", 3): mode("accept"),
    ("07", 4): settle,
    ("07", 6): mode("refuse"),
    ("07", 7): settle,
    ("07", 9): mode("crash"),
    ("07", 10): settle,
    ("07", 12): mode("fail-clone"),
    ("07", 13): settle,
    ("07", 15): mode("fail-rollback"),
    ("07", 16): settle,
    ("07", 19): mode("slow-clone"),
    ("07", 22): tick_2(6),
    ("07", 23): settle,
    ("07", 25): stopped_in_claim,
}
# The build that the recording calls 24 is the lab's ninth: the fifteen between them are not recorded.
RENUMBER = {("07", 25): {"24": "9", "23": "8"}, ("07", 26): {"24": "9", "23": "8"}}
