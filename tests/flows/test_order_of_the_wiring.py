"""Each part of a policy's wiring waits for the one before: nothing fires at a thing that is not there, and what waits says so."""

from __future__ import annotations

import pytest
from tests.fakes.world import World

from vmscaler.ports.errors import Retryable
from vmscaler.ports.monitoring import Route

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

JOB = "autoscale-acme-web"
RULES = "/etc/prometheus/vmscaler/rules/vmscaler-acme.web.yml"
TOKEN = "/etc/alertmanager/vmscaler/tokens/vmscaler-acme.web.token"


async def test_no_rules_before_the_route_is_loaded() -> None:
    world = await World.make()

    async def refused(route: Route) -> None:
        raise Retryable("monitoring", "Unreachable", "am-1 cannot be reached")

    plain, world.hosts.put_route = world.hosts.put_route, refused  # type: ignore[method-assign]
    await world.start()
    await world.quiet()
    assert await world.condition("RouteReady") == ("Unknown", "Unreachable")
    assert await world.condition("RulesReady") == ("Unknown", "RouteNotReady")
    assert RULES not in world.hosts.files and TOKEN in world.hosts.files
    world.hosts.put_route = plain  # type: ignore[method-assign]
    await world.ready()
    assert RULES in world.hosts.files
    await world.stop()


async def test_nothing_before_the_job_is_there() -> None:
    world = await World.make()
    world.jenkins.down()
    await world.start()
    await world.quiet()
    assert await world.condition("JobReady") == ("Unknown", "Unreachable")
    assert await world.condition("RouteReady") == ("Unknown", "JobNotReady")
    assert await world.condition("RulesReady") == ("Unknown", "RouteNotReady")
    assert await world.condition("TargetsReady") == ("Unknown", "JobNotReady")
    assert not [path for path in world.hosts.files if "acme.web" in path]
    await world.stop()


async def test_what_hangs_on_the_job_is_not_called_seen_while_jenkins_is_down() -> None:
    """It is still there; but nothing was looked at, and the figures of the instances go on being scraped."""
    world = await World.make()
    await world.start()
    await world.ready()
    files = dict(world.hosts.files)
    world.jenkins.down()
    await world.quiet()
    assert await world.condition("RouteReady") == ("Unknown", "JobNotReady")
    assert await world.condition("RulesReady") == ("Unknown", "RouteNotReady")
    assert (await world.condition("TargetsReady"))[0] == "True"
    assert world.hosts.files == files
    await world.stop()


async def test_a_policy_whose_status_is_lost_takes_its_job_over_as_a_new_one() -> None:
    """A cluster restored without status: the job is known by its description; which of its builds were answered is not."""
    world = await World.make()
    await world.start()
    await world.ready()
    policy = await world.policy()
    assert policy.status.provisioned is not None
    old = policy.status.provisioned.job_generation
    await world.kube.patch_status(policy, {"provisioned": None, "conditions": None})
    await world.ready()
    made = (await world.policy()).status.provisioned
    assert made is not None and made.job == JOB and made.job_generation not in (None, old)
    assert str(made.job_generation) in world.jenkins.jobs[JOB].config_xml and sorted(world.jenkins.jobs) == [JOB]
    await world.stop()
