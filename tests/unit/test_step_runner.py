"""The step runner: asking joins what runs, a result is kept, a rollback stops the rest of its build and nothing begins after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from vmscaler.api.autoscalingpolicy import BuildRef
from vmscaler.api.meta import PolicyRef
from vmscaler.flows import runner as module
from vmscaler.flows.fences import Fences
from vmscaler.flows.runner import PROGRESS_KEPT, SUPERSEDED, Run, StepRunner
from vmscaler.flows.steps import Outcome
from vmscaler.ports.errors import Rejected, Retryable

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

REF = PolicyRef(namespace="acme", name="web", uid="uid-1")
BUILD = BuildRef(job="autoscale-acme-web", generation="g1", number=1)
DONE = Outcome("succeeded", "Done", "done", "web-1")

Act = Callable[[str, Callable[[str], None]], Awaitable[Outcome]]


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Ctx:
    clock = Clock()


class Bench:
    """A runner whose steps do what `act` says."""

    def __init__(self) -> None:
        self.act: Act = self._nothing
        self.began: list[str] = []
        self.over: list[tuple[str, str]] = []
        self.runner = StepRunner(Ctx(), over=lambda step, state: self.over.append((step, state)))  # type: ignore[arg-type]

    async def _nothing(self, step: str, progress: Callable[[str], None]) -> Outcome:
        return DONE

    async def run_step(self, ctx: Any, step: str, ref: Any, build: Any, progress: Callable[[str], None]) -> Outcome:
        self.began.append(step)
        return await self.act(step, progress)

    async def poll(self, step: str, *, build: BuildRef = BUILD, after: int = 0, wait: float = 20.0) -> tuple[Run, list[str], int]:
        run, lines, following = await self.runner.poll(step, REF, build, after=after, wait=wait)
        return run, [text for _, text in lines], following


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    made = Bench()
    monkeypatch.setattr(module, "run_step", made.run_step)
    with structlog.testing.capture_logs():  # rendering a traceback would take seconds
        yield made
        await made.runner.stop()


async def test_asking_again_joins_the_run_and_then_has_its_result(bench: Bench) -> None:
    async def act(step: str, progress: Callable[[str], None]) -> Outcome:
        await asyncio.sleep(50)
        return DONE

    bench.act = act
    (first, *_), (second, *_) = await asyncio.gather(bench.poll("clone"), bench.poll("clone"))
    assert first is second and first.outcome is None and bench.began == ["clone"]
    while (await bench.poll("clone"))[0].outcome is None:
        pass
    assert (await bench.poll("clone"))[0].outcome == DONE and bench.began == ["clone"] and bench.over == [("clone", "succeeded")]
    other = await bench.poll("clone", build=BUILD.model_copy(update={"number": 2}), wait=0.0)
    assert other[0] is not first
    renewed = await bench.poll("clone", build=BUILD.model_copy(update={"generation": "g2"}), wait=0.0)
    assert renewed[0] not in (first, other[0])
    linked = await bench.poll("clone", build=BUILD.model_copy(update={"url": "https://elsewhere.example.org/"}))
    assert linked[0] is first


async def test_progress_is_told_once_and_all_of_it_after_a_restart(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def act(step: str, progress: Callable[[str], None]) -> Outcome:
        progress("one")
        progress("two")
        await go_on.wait()
        progress("three")
        return DONE

    bench.act = act
    run, lines, following = await bench.poll("clone")
    assert (lines, following, run.outcome) == (["one", "two"], 2, None)
    began = asyncio.get_running_loop().time()
    _, lines, following = await bench.poll("clone", after=2, wait=5.0)
    assert (lines, following) == ([], 2) and asyncio.get_running_loop().time() - began == pytest.approx(5.0, abs=0.1)
    go_on.set()
    _, lines, following = await bench.poll("clone", after=following)
    assert (lines, following) == (["three"], 3)
    # A client that counted with an operator that is gone now gets all that this one said.
    _, lines, following = await bench.poll("clone", after=99)
    assert (lines, following) == (["one", "two", "three"], 3)


async def test_progress_is_bounded(bench: Bench) -> None:
    async def act(step: str, progress: Callable[[str], None]) -> Outcome:
        for number in range(3 * PROGRESS_KEPT):
            progress(str(number))
        return DONE

    bench.act = act
    run, _, _ = await bench.poll("clone")
    assert len(run.lines) == PROGRESS_KEPT


async def test_not_yet_is_tried_again_and_said_once(bench: Bench) -> None:
    tries = 0

    async def act(step: str, progress: Callable[[str], None]) -> Outcome:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise Retryable("kubernetes", "Down", "away", after=2.0)
        return DONE

    bench.act = act
    while (found := await bench.poll("allocate", after=1))[0].outcome is None:
        pass
    assert found[0].outcome == DONE and [text for _, text in found[0].lines] == ["kubernetes: away"] and tries == 4


async def test_what_cannot_be_served_is_answered_and_may_be_asked_anew(bench: Bench) -> None:
    async def refuse(step: str, progress: Callable[[str], None]) -> Outcome:
        raise Rejected("vmscaler", "OutOfOrder", "not yet")

    bench.act = refuse
    assert getattr((await bench.poll("join"))[0].outcome, "reason", "") == "OutOfOrder"
    bench.act = bench._nothing
    assert (await bench.poll("join"))[0].outcome == DONE


async def test_a_crash_of_ours_is_a_try_later_and_no_secret_in_it(bench: Bench) -> None:
    async def crash(step: str, progress: Callable[[str], None]) -> Outcome:
        raise RuntimeError("token sample-secret")

    bench.act = crash
    outcome = (await bench.poll("join"))[0].outcome
    assert isinstance(outcome, Retryable) and outcome.reason == "InternalError" and "sample-secret" not in str(outcome)


async def test_a_rollback_waits_until_the_rest_of_its_build_has_stopped(bench: Bench) -> None:
    told: list[str] = []

    async def act(step: str, progress: Callable[[str], None]) -> Outcome:
        told.append(f"{step} begins")
        if step == "rollback":
            return DONE
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(3)  # a write that is under way is finished
            told.append(f"{step} has stopped")
        return DONE

    bench.act = act
    await bench.poll("join", wait=1.0)
    other = BUILD.model_copy(update={"number": 2})
    await bench.poll("join", build=other, wait=1.0)
    answers = await asyncio.gather(bench.poll("rollback"), bench.poll("rollback"), bench.poll("rollback"))
    assert told == ["join begins", "join begins", "join has stopped", "rollback begins"]
    assert {answer[0].outcome for answer in answers} == {DONE}
    assert (await bench.poll("join"))[0].outcome == SUPERSEDED
    assert (await bench.poll("join", build=other, wait=0.0))[0].outcome is None  # another build's goes on
    await bench.runner.stop()


@pytest.mark.parametrize("step", ["claim", "allocate", "finish"])
async def test_nothing_begins_after_a_rollback(bench: Bench, step: str) -> None:
    await bench.poll("rollback")
    assert (await bench.poll(step))[0].outcome == SUPERSEDED
    assert bench.began == ["rollback"]


async def test_a_claim_that_nobody_waits_for_is_given_up(bench: Bench) -> None:
    async def away(step: str, progress: Callable[[str], None]) -> Outcome:
        raise Retryable("kubernetes", "Down", "away", after=5.0)

    bench.act = away
    claim, _, _ = await bench.poll("claim", wait=1.0)
    rollback, _, _ = await bench.poll("rollback", build=BUILD.model_copy(update={"number": 2}), wait=1.0)
    await asyncio.sleep(300)
    assert isinstance(claim.outcome, Retryable) and not claim.under_way
    assert rollback.under_way  # the operator goes on with it even if nobody waits


async def test_stopping_stops_all(bench: Bench) -> None:
    async def act(step: str, progress: Callable[[str], None]) -> Outcome:
        await asyncio.sleep(1000)
        return DONE

    bench.act = act
    run, _, _ = await bench.poll("join", wait=1.0)
    await bench.runner.stop()
    assert not run.under_way


# --- fences


async def test_a_fence_is_held_by_one_in_the_order_of_asking_and_forgotten() -> None:
    fences = Fences()
    told: list[str] = []

    async def work(name: str, *key: str) -> None:
        async with fences.hold(*key):
            told.append(f"{name} in")
            await asyncio.sleep(1)
            told.append(f"{name} out")

    await asyncio.gather(work("a", "x", "1"), work("b", "x", "1"), work("c", "x", "2"))
    assert told == ["a in", "c in", "a out", "b in", "c out", "b out"] or told == ["a in", "c in", "a out", "c out", "b in", "b out"]
    assert fences._locks == {}


async def test_a_fence_is_let_go_by_who_fails_is_cancelled_or_gives_up_waiting() -> None:
    fences = Fences()

    async def hold(seconds: float) -> None:
        async with fences.hold("x"):
            await asyncio.sleep(seconds)

    first, second = asyncio.create_task(hold(1000)), asyncio.create_task(hold(1000))
    await asyncio.sleep(1)
    second.cancel()
    first.cancel()
    await asyncio.wait([first, second])
    with pytest.raises(ValueError, match="a fault"):
        async with fences.hold("x"):
            raise ValueError("a fault")
    async with asyncio.timeout(1), fences.hold("x"):
        pass
    assert fences._locks == {}
