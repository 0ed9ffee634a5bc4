"""What the demo must have shown for exit 0: each check fails when its subject is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lab import switches
from lab.cli import app as labctl
from lab.demo import checks
from lab.demo.faults import FAULTS, left_over
from lab.demo.hops import LABELS
from lab.demo.snapshot import Vm
from vmscaler.decide.monitoring_files import with_entries, with_route
from vmscaler.decide.splice import YamlFile

PEOPLE = Path(__file__).resolve().parents[2] / "hack" / "lab" / "monitoring" / "people"
GLOB = "/etc/prometheus/vmscaler-rules/vmscaler-*.yml"
NAME = "vmscaler/acme/web"


def edited(file: str) -> tuple[bytes, bytes, str]:
    """What people wrote, the same with our part, what is ours in it."""
    original = (PEOPLE / file).read_bytes()
    if file == "prometheus.yml":
        return original, with_entries(YamlFile(original), GLOB, "/etc/prometheus/vmscaler-targets/vmscaler-*.json").content, GLOB
    receiver = {"name": NAME, "webhook_configs": [{"url": "https://127.0.0.1/x"}]}
    return original, with_route(YamlFile(original), receiver, {"receiver": NAME, "continue": True}).content, NAME


FILES = pytest.mark.parametrize("file", ["prometheus.yml", "alertmanager.yml"])


@FILES
def test_our_part_alone_is_no_change(file: str) -> None:
    original, current, ours = edited(file)
    found = checks.people(file, original, current, ours)
    assert found.ok, found.said
    assert "lines of ours" in found.said


@FILES
def test_a_changed_byte_of_peoples_is_seen(file: str) -> None:
    original, current, ours = edited(file)
    comment = original.index(b"#") + 2
    changed = current.replace(original[comment : comment + 20], original[comment : comment + 20].swapcase(), 1)
    assert changed != current
    found = checks.people(file, original, changed, ours)
    assert not found.ok
    assert "differs" in found.said


@FILES
def test_a_lost_last_line_is_seen(file: str) -> None:
    original, current, ours = edited(file)
    assert not checks.people(file, original, current.rstrip(b"\n"), ours).ok


@FILES
def test_anothers_entry_is_not_taken_for_ours(file: str) -> None:
    original, current, ours = edited(file)
    other = ours.replace("vmscaler", "someone")
    assert not checks.people(file, original, current, other).ok


@FILES
def test_a_file_that_was_never_touched_shows_nothing(file: str) -> None:
    original, _, ours = edited(file)
    found = checks.people(file, original, original, ours)
    assert not found.ok
    assert "nothing was shown" in found.said


def test_a_file_that_is_no_yaml_any_more_is_told() -> None:
    original, current, ours = edited("alertmanager.yml")
    assert not checks.people("alertmanager.yml", original, current + b"\n\t: [", ours).ok


def test_a_product_that_misreads_yaml_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original, _, ours = edited("alertmanager.yml")
    monkeypatch.setattr(checks, "without_route", lambda file, name: YamlFile(original))  # it claims that all is well
    assert not checks.people("alertmanager.yml", original, b"receivers: []\n", ours).ok


@pytest.mark.parametrize(
    ("event", "ok", "said"),
    [
        (None, False, "none"),
        ({"phase": "Running", "stage": "clone"}, False, "clone"),
        ({"phase": "Failed", "failedStage": "verify", "reason": "Unhealthy", "message": "503"}, False, "verify: Unhealthy 503"),
        ({"phase": "Succeeded", "duration": "6s"}, True, "after 6s"),
    ],
)
def test_the_event(event: dict[str, Any] | None, ok: bool, said: str) -> None:
    found = checks.event_succeeded(None if event is None else {"metadata": {"name": "web-1"}, "status": event})
    assert found.ok is ok
    assert said in found.said


FAILED = {"phase": "Failed", "failedStage": "verify", "reason": "Unhealthy", "rollback": {"finishedAt": "2027-01-15T08:00:08Z"}}


@pytest.mark.parametrize(
    ("status", "ok"),
    [
        (FAILED, True),
        (FAILED | {"phase": "RollingBack"}, False),
        (FAILED | {"failedStage": "clone"}, False),
        (FAILED | {"reason": "NeverBooted"}, False),
        (FAILED | {"rollback": {}}, False),
        ({"phase": "Succeeded"}, False),
        (None, False),
    ],
)
def test_an_event_that_is_to_fail(status: dict[str, Any] | None, ok: bool) -> None:
    event = None if status is None else {"metadata": {"name": "web-1"}, "status": status}
    assert checks.event_failed(event, "verify", "Unhealthy").ok is ok


def test_what_is_left_is_named_and_not_looked_is_not_gone() -> None:
    assert checks.nothing_left([]).ok
    found = checks.nothing_left(["VM web-1-1-1"])
    assert (found.ok, found.said) == (False, "VM web-1-1-1")
    assert not checks.nothing_left(None).ok


def test_people_s_vms_serve_on() -> None:
    serves, out = Vm("web-1", "127.9.9.20", "up", 0.5, 9, "monitor-enabled", "up"), Vm("web-2", "127.9.9.21", "up", 0.5, 9)
    assert checks.people_serve([serves], []).ok
    found = checks.people_serve([serves, out], [])
    assert (found.ok, found.said) == (False, "web-2")
    assert checks.people_serve([serves, out], ["web-2"]).ok
    assert not checks.people_serve([], []).ok


class _Lab:
    """What an Attached answers after a scale-out; `gone` is what a clean-up took away."""

    def __init__(self, *gone: str, lease: str = "Leased") -> None:
        self.cluster, self._gone, self._lease = self, gone, lease

    def _still(self, what: str, entry: Any) -> list[Any]:
        return [] if what in self._gone else [entry]

    async def control(self, part: str, method: str, path: str) -> Any:
        other = {"/Common/192.0.2.20:8080": {"address": "192.0.2.20"}}
        if part == "guests":
            return {"vms": [{"name": "web-1"}, *self._still("VM", {"name": "web-7-1-1"})]}
        members = dict(self._still("member", ("/Common/192.0.2.100:8080", {"address": "192.0.2.100"})))
        nodes = dict(self._still("node", ("/Common/192.0.2.100", {"address": "192.0.2.100"})))
        return {"pools": {"/Common/p": {"members": other | members}}, "nodes": {"/Common/192.0.2.20": {"address": "192.0.2.20"}} | nodes}

    async def objects(self, kinds: str, namespace: str) -> Any:
        return [{"metadata": {"name": "other"}}, *self._still("VmInstance", {"metadata": {"name": "web-7-1-1"}})]

    async def get(self, kind: str) -> Any:
        lease = {"metadata": {"name": "d.f.192.0.2.100"}, "spec": {"holder": {"name": "web-7-1-1"}}, "status": {"phase": self._lease}}
        return {"items": self._still("lease", lease)}


async def test_each_thing_that_is_left_over_is_found() -> None:
    event = {
        "metadata": {"name": "web-7-1", "namespace": "acme"},
        "spec": {"instances": ["web-7-1-1"]},
        "status": {"actions": [{"name": "address", "address": "192.0.2.100"}, {"name": "boot"}]},
    }
    kinds = ("VM", "member", "node", "VmInstance", "lease")

    async def left(*gone: str, lease: str = "Leased") -> list[str]:
        lab: Any = _Lab(*gone, lease=lease)
        return [one.split(" ")[0] for one in await left_over(lab, event, "/Common/p")]

    assert await left() == list(kinds)
    for kind in kinds:
        assert await left(*(other for other in kinds if other != kind)) == [kind]
    assert await left(*kinds) == []
    assert await left(*kinds[:-1], lease="Quarantined") == []


def test_the_faults_are_ones_that_the_parts_know() -> None:
    for fault in FAULTS.values():
        assert set(fault.faults) <= set(switches.KNOWN[fault.part])
        assert fault.last_hop in LABELS
    assert CliRunner().invoke(labctl, ["demo", "--fault", "nosuch"]).exit_code == 64


def test_the_vm_must_have_counted_requests_itself() -> None:
    stats = {"vm": "web-1-1-1", "address": "127.9.9.100", "served": 3}
    assert checks.served(stats).ok
    assert not checks.served({**stats, "served": 0}).ok
    assert not checks.served(None).ok


def test_the_alert_must_have_ended() -> None:
    assert checks.resolved(18.0).ok
    assert not checks.resolved(None).ok
