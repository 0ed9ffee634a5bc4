"""Whoever holds one policy's step token can neither load the operator without bound nor make it forget another policy's builds."""

from __future__ import annotations

import asyncio

import pytest

from vmscaler.api.autoscalingpolicy import BuildRef
from vmscaler.api.meta import PolicyRef
from vmscaler.flows import runner
from vmscaler.flows.runner import AT_ONCE, KEPT_PER_POLICY, SUPERSEDED, StepRunner
from vmscaler.flows.steps import Outcome
from vmscaler.ports.errors import Retryable

A, B = (PolicyRef(namespace=name, name="web", uid=f"uid-{name}") for name in ("a", "b"))


def build(number: int) -> BuildRef:
    return BuildRef(job="autoscale-x", generation="g", number=number)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """A step ends once this is set; a rollback at once."""
    go_on = asyncio.Event()

    async def run_step(ctx: object, step: str, *_: object) -> Outcome:
        if step != "rollback":
            await go_on.wait()
        return Outcome("succeeded", "Done", "")

    monkeypatch.setattr(runner, "run_step", run_step)
    return go_on


async def ask(one: StepRunner, step: str, ref: PolicyRef, number: int, wait: float = 0.0) -> object:
    run, _, _ = await one.poll(step, ref, build(number), after=0, wait=wait)
    return run.outcome


async def test_a_policy_has_so_many_steps_at_once_and_takes_none_from_others(steps: asyncio.Event) -> None:
    one = StepRunner(None)  # type: ignore[arg-type]
    for number in range(AT_ONCE):
        assert await ask(one, "claim", A, number + 1) is None
    refused = await ask(one, "claim", A, 1000)
    assert isinstance(refused, Retryable) and refused.reason == "TooManySteps"
    assert await ask(one, "claim", A, 1) is None, "one that is under way can still be joined"
    assert await ask(one, "claim", B, 1) is None
    assert isinstance(await ask(one, "rollback", A, 1, wait=5.0), Outcome), "a build can always be undone"
    steps.set()
    assert isinstance(await ask(one, "claim", A, 1000, wait=5.0), Outcome)
    await one.stop()


async def test_a_rollback_is_remembered_however_many_builds_others_have(steps: asyncio.Event) -> None:
    steps.set()
    one = StepRunner(None)  # type: ignore[arg-type]
    await ask(one, "rollback", B, 1, wait=5.0)
    for number in range(2 * KEPT_PER_POLICY):
        await ask(one, "claim", A, number + 1, wait=5.0)
    assert await ask(one, "claim", B, 1) == SUPERSEDED
    assert len(one._runs) <= KEPT_PER_POLICY + 2
    await one.stop()
