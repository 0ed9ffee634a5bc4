"""A file that people broke is told, and stops no service whose alert fires: Prometheus and Alertmanager go on with what they have loaded."""

from __future__ import annotations

import pytest
from tests.fakes.monitoring_hosts import ALERTMANAGER_YML, PROMETHEUS_YML
from tests.fakes.world import World

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]


@pytest.mark.parametrize(
    ("path", "condition", "words", "reason"),
    [
        (PROMETHEUS_YML, "RulesReady", "refused", "CheckFailed"),
        (ALERTMANAGER_YML, "RouteReady", "refused", "CheckFailed"),
        (ALERTMANAGER_YML, "RouteReady", "", "StyleNotSupported"),
    ],
)
async def test_a_file_that_people_broke_stops_no_scale_out(path: str, condition: str, words: str, reason: str) -> None:
    world = await World.make()
    await world.start()
    await world.ready()
    world.hosts.files[path] = world.hosts.files[path].replace(b"vmscaler", b"oops") + b"receivers: [\n" * (not words)
    world.hosts.check_refuses = words or None
    await world.quiet()
    assert await world.condition(condition) == ("False", reason)
    world.fires()
    answers = await world.build(1)
    assert [getattr(answer, "state", answer) for answer in answers] == ["succeeded"] * 6, answers
    await world.stop()


async def test_rules_that_the_spec_itself_forbids_do() -> None:
    """What fires then are the rules of an earlier spec."""
    world = await World.make()
    await world.start()
    await world.ready()
    build = await world.build_ref(1)
    await world.edit(lambda spec: spec["monitoring"].update(triggers=[{"name": "queue", "expr": "queue > 1"}]))
    await world.quiet()
    assert await world.condition("RulesReady") == ("False", "TriggersNotSupported")
    world.fires()
    answer = await world.step("claim", await world.ref(), build)
    assert (getattr(answer, "state", ""), getattr(answer, "reason", "")) == ("refused", "PolicyNotReady")
    await world.stop()
