"""What a VM, an alert, a device or an attacker in between says acts on no terminal: not from a status, an Event or a log line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from tests.fakes.effects import DirectEffects
from tests.fakes.policies import instance

from vmscaler.adapters.kube.events import EventRecorder
from vmscaler.adapters.kube.fit import fit_status
from vmscaler.api.meta import Condition, ConditionStatus
from vmscaler.api.policystatus import Resolved
from vmscaler.api.printable import printable
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.entry.logs import configure_logs

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVIL = "up\x1b[2J\r\nok\u202eb\u200b\ud800\x9b1m"
SAFE = "up [2J  ok b   1m"


def test_each_character_that_is_not_printable_is_a_blank() -> None:
    assert printable(EVIL) == SAFE
    assert printable("93.1 % von Süd: ≥ 80") == "93.1 % von Süd: ≥ 80"


def test_words_that_come_into_a_status_are_printable_before_they_are_cut() -> None:
    condition = Condition(type="Ready", status=ConditionStatus.FALSE, reason="Down", message=EVIL, last_transition_time=NOW)
    assert condition.message == SAFE
    assert Resolved(pool=EVIL, virtual_servers=[EVIL]).model_dump()["virtual_servers"] == [SAFE]
    assert Resolved(pool="x" * 300).pool == "x" * 255 + "…"


def test_no_status_goes_out_with_what_is_not_printable() -> None:
    """Also where it was put together without the models: a copy with changes asks no validator."""
    actions = [{"name": "boot", "message": EVIL}]
    assert fit_status(ScaleOutEvent, {"message": EVIL, "actions": actions, "rollback": None}) == {
        "message": SAFE,
        "actions": [{"name": "boot", "message": SAFE}],
        "rollback": None,
    }


async def test_an_event_is_one_line() -> None:
    bodies: list[Any] = []

    class Rest:
        async def call(self, method: str, path: str, *, body: Any = None, **_: Any) -> dict[str, Any]:
            bodies.append(body)
            return {}

    class Clock:
        def now(self) -> datetime:
            return NOW

    recorder = EventRecorder(Rest(), DirectEffects(), Clock())  # type: ignore[arg-type]
    await recorder.emit(instance("web-1", None), "Warning", "NeverBooted", EVIL)
    assert [body["message"] for body in bodies] == ["up [2J ok b 1m"]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """The lines on stderr; the root logger is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield lambda: capsys.readouterr().err.splitlines()
    root.handlers, root.level = handlers, level


def test_a_log_line_for_people_is_one_line(written: Callable[[], list[str]]) -> None:
    configure_logs("info", "text")
    structlog.get_logger().warning("reconcile refused", error=EVIL)
    logging.getLogger("somebodys.library").warning("got %s", EVIL)
    lines = written()
    assert len(lines) == 2 and all(line.isprintable() for line in lines)
    assert all(r"up\x1b[2J\r\nok" in line for line in lines)


def test_a_traceback_keeps_its_lines_and_nothing_else(written: Callable[[], list[str]]) -> None:
    configure_logs("info", "text")
    try:
        raise ValueError(EVIL)
    except ValueError:
        structlog.get_logger().exception("crashed")
    lines = written()
    assert len(lines) > 3 and all(line.isprintable() for line in lines)
    assert any(line.startswith("ValueError: ") for line in lines)


def test_a_log_line_for_machines_is_one_of_json(written: Callable[[], list[str]]) -> None:
    configure_logs("info", "json")
    structlog.get_logger().warning("reconcile refused", error=EVIL)
    (line,) = written()
    assert line.isprintable() and json.loads(line)["error"] == EVIL
