"""What the demo must have shown for exit 0: each check fails when its subject is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.demo import checks
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


def test_the_vm_must_have_counted_requests_itself() -> None:
    stats = {"vm": "web-1-1-1", "address": "127.9.9.100", "served": 3}
    assert checks.served(stats).ok
    assert not checks.served({**stats, "served": 0}).ok
    assert not checks.served(None).ok


def test_the_alert_must_have_ended() -> None:
    assert checks.resolved(18.0).ok
    assert not checks.resolved(None).ok
