"""How long jenkins/vmscaler-step waits between two questions: bounded however long the gateway is away, and never not at all."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

STEP_CLIENT = Path(__file__).resolve().parents[2] / "jenkins" / "vmscaler-step"


class Bench:
    """The client with a gateway that is a list, on a clock that only sleeping moves."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.replies: Iterator[Any] = iter(())
        self.slept: list[float] = []
        self.said: list[str] = []
        self.asked_after: list[int] = []
        self.now = 0.0

    def ask(self, _config: Any, after: int) -> Any:
        self.asked_after.append(after)
        reply = next(self.replies)
        self.now += 0.04
        if isinstance(reply, str):
            raise self.module.NoAnswer(reply)
        return reply

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds

    def follow(self, *replies: Any) -> Any:
        self.replies = iter(replies)
        return self.module.follow(SimpleNamespace(step="clone"))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader = SourceFileLoader("vmscaler_step", str(STEP_CLIENT))
    spec = spec_from_loader("vmscaler_step", loader)
    assert spec is not None
    module: Any = module_from_spec(spec)
    loader.exec_module(module)
    bench = Bench(module)
    module.ask, module.say = bench.ask, bench.said.append
    module.time = SimpleNamespace(monotonic=lambda: bench.now, sleep=bench.sleep)
    module.random = SimpleNamespace(uniform=lambda low, high: high if (low, high) == (0.5, 1.0) else None)
    return bench


def running(following: int = 0, *progress: str) -> dict[str, Any]:
    return {"state": "running", "progress": [("t", text) for text in progress], "next": following}


ENDED = {"state": "succeeded", "progress": [], "next": 0}


def test_a_gateway_that_is_away_is_asked_again_each_two_seconds_at_most(bench: Bench) -> None:
    assert bench.follow(*["refused"] * 8, "reset", "reset", ENDED) == ENDED
    assert bench.slept == [0.5, 1.0, *[2.0] * 8]
    assert bench.said == [
        "clone: the gateway does not answer: refused; trying again",
        "clone: the gateway does not answer: reset; trying again",
        "clone: the gateway answers again",
    ]


def test_after_an_answer_the_pauses_begin_anew(bench: Bench) -> None:
    bench.follow("a", "a", "a", running(), "a", ENDED)
    assert bench.slept == [0.5, 1.0, 2.0, 0.96, 0.5]
    assert bench.said.count("clone: the gateway does not answer: a; trying again") == 2, "a new trouble, even if it is of the same kind"


def test_a_poll_that_is_not_held_is_not_asked_in_a_tight_loop_and_one_that_is_at_once(bench: Bench) -> None:
    bench.follow(running(), running(1, "one"), ENDED)
    assert bench.slept == [0.96, 0.06]
    bench.slept.clear()

    def held(config: Any, after: int) -> Any:
        bench.now += 20.0
        return Bench.ask(bench, config, after)

    bench.module.ask = held
    bench.follow(running(), ENDED)
    assert bench.slept == [0.0]


def test_progress_is_asked_for_from_where_it_was(bench: Bench) -> None:
    bench.follow(running(2, "one", "two"), "away", running(2), running(3, "three"), ENDED)
    assert bench.asked_after == [0, 2, 2, 2, 3]
    assert [line for line in bench.said if line.startswith("t ")] == ["t one", "t two", "t three"]


def test_progress_is_counted_as_the_gateway_counts_it(bench: Bench) -> None:
    """After a restart of the operator from 0."""
    bench.follow(running(2, "one", "two"), "away", running(0), running(1, "adopted"), running(-1), ENDED)
    assert bench.asked_after == [0, 2, 2, 0, 1, 0]


def test_it_is_one_file_for_python_3_9_on_the_standard_library() -> None:
    tree = ast.parse(STEP_CLIENT.read_text(), feature_version=(3, 9))
    imported = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= sys.stdlib_module_names
    assert STEP_CLIENT.stat().st_mode & 0o111
