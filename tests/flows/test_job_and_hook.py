"""A policy's job at Jenkins: not taken from under its running build, not confirmed by halves, and what is told of it."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.world import World

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.site import Site
from vmscaler.decide import names
from vmscaler.flows.steps import Outcome
from vmscaler.ports.errors import Rejected

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

JOB = "autoscale-acme-web"


async def ready() -> World:
    world = await World.make()
    await world.start()
    await world.ready()
    return world


async def said(world: World, type_: str) -> str:
    return next(c.message for c in (await world.policy()).status.conditions if c.type == type_)


async def test_a_job_whose_build_holds_the_claim_is_renamed_after_it() -> None:
    """Jenkins stops a deleted job's build: with it would go the rollback, and the event would run for ever."""
    world = await ready()
    world.fires()
    ref, build = await world.ref(), await world.build_ref(1)
    await world.build(1, stop_before="clone")
    await world.edit(lambda spec: spec.update(jenkins={"jobName": "autoscale-shop"}))
    await asyncio.sleep(90)
    assert sorted(world.jenkins.jobs) == [JOB]
    assert await world.condition("JobReady") == ("Unknown", "JobInUse")
    assert "web-" in await said(world, "JobReady") and JOB in await said(world, "JobReady")
    for step in ("clone", "verify", "join", "finish"):
        answer = await world.step(step, ref, build)
        assert isinstance(answer, Outcome) and answer.state == "succeeded", answer
    await world.ready()
    assert sorted(world.jenkins.jobs) == ["autoscale-shop"]
    await world.stop()


async def test_a_claim_that_is_won_while_the_rename_is_under_way_keeps_its_job() -> None:
    """The reconcile has read the policy seconds ago; what counts is who holds it when the job would go. (A change of the policy's own spec
    keeps claims off until it was looked at; one of the Site's grant does not.)"""
    world = await ready()
    world.fires()
    ref, build = await world.ref(), await world.build_ref(1)
    plain = world.jenkins.job

    async def job(name: str) -> object:
        if name == "scale-acme-web" and not await world.events():
            await world.step("claim", ref, build)
        return await plain(name)

    world.jenkins.job = job  # type: ignore[method-assign, assignment]
    await world.edit(lambda spec: spec["tenants"][0].update(jobPrefix="scale-"), kind=Site, name="default")
    await world.until("the claim is won", world.events)
    await asyncio.sleep(30)
    assert sorted(world.jenkins.jobs) == [JOB]
    await world.stop()


async def test_a_trigger_that_jenkins_did_not_load_is_posted_again() -> None:
    """A job that is made while the plugin is missing keeps its text and has no trigger, also once the plugin is there: only a new post
    loads it (or a restart of Jenkins)."""
    world = await World.make()
    loaded: set[str] = set()
    installed = False
    dry_run, update = world.jenkins.dry_run_hook, world.jenkins.update_job

    async def dry_run_hook(token: str) -> list[str]:
        return [name for name in await dry_run(token) if name in loaded]

    async def update_job(name: str, config_xml: str) -> None:
        await update(name, config_xml)
        if installed:
            loaded.add(name)

    world.jenkins.dry_run_hook, world.jenkins.update_job = dry_run_hook, update_job  # type: ignore[method-assign]
    await world.start()
    await world.quiet()
    assert await world.condition("JobReady") == ("Unknown", "HookNotConfirmed")
    installed = True
    await world.ready()
    posted = [operation for operation in world.effects.operations if operation == "jenkins job.update"]
    assert 1 <= len(posted) <= 3, posted
    await world.stop()


async def test_another_job_that_answers_the_same_hook_is_named() -> None:
    """A copy made in Jenkins' pages has our credential: its builds are refused, but each alert starts one."""
    world = await ready()
    assert await said(world, "JobReady") == f"job {JOB} answers its hook"
    await world.jenkins.create_job("copy-of-it", world.jenkins.jobs[JOB].config_xml)
    await world.quiet()
    assert await world.condition("JobReady") == ("True", "Confirmed")
    message = await said(world, "JobReady")
    assert "copy-of-it" in message and "delete" in message
    await world.stop()


async def test_a_job_of_ours_whose_description_somebody_changed_is_left_alone_and_the_way_out_is_told() -> None:
    world = await ready()
    job = world.jenkins.jobs[JOB]
    job.config_xml = job.config_xml.replace("Managed by vmscaler", "Team web: managed by vmscaler")
    changed = job.config_xml
    await world.quiet()
    assert await world.condition("JobReady") == ("False", "JobNameTaken")
    assert "delete" in await said(world, "JobReady") and world.jenkins.jobs[JOB].config_xml == changed
    del world.jenkins.jobs[JOB]
    await world.ready()
    await world.delete(await world.policy())
    await world.quiet()
    assert world.jenkins.jobs == {} and await world.kube.list_objects(AutoscalingPolicy) == []
    await world.stop()


async def test_a_deleted_job_brings_its_credentials_back() -> None:
    """The way out where the step token's credential was changed: no dry run knows of that one."""
    world = await ready()
    right = dict(world.jenkins.credentials)
    world.jenkins.credentials[names.step_credential((await world.policy()).uid)] = "sample-of-somebodys"
    await world.quiet()
    assert await world.condition("JobReady") == ("True", "Confirmed") and world.jenkins.credentials != right
    del world.jenkins.jobs[JOB]
    await world.quiet()
    assert world.jenkins.credentials == right
    await world.stop()


async def test_a_job_of_somebody_elses_is_not_said_to_be_ours_and_changed() -> None:
    world = await World.make()
    await world.jenkins.create_job(JOB, "<flow-definition><description>by hand</description></flow-definition>")
    await world.start()
    await world.quiet()
    assert await world.condition("JobReady") == ("False", "JobNameTaken")
    assert "rename it, or set spec.jenkins.jobName" in await said(world, "JobReady")
    assert (await world.condition("TargetsReady")) == ("Unknown", "JobNotReady")
    await world.stop()


async def test_a_job_that_goes_as_soon_as_it_is_made_is_made_again() -> None:
    world = await World.make()
    create, made = world.jenkins.create_job, []

    async def create_job(name: str, config_xml: str) -> None:
        await create(name, config_xml)
        made.append(config_xml)
        if len(made) == 1:
            del world.jenkins.jobs[name]

    world.jenkins.create_job = create_job  # type: ignore[method-assign]
    await world.start()
    await world.ready()
    assert len(made) == 2 and made[0] != made[1], "of another generation"
    assert "JobVanished" in {event.reason for event in world.kube.events}
    await world.stop()


@pytest.mark.parametrize("owner", ["other/web", "acme/other"])
async def test_a_job_of_another_policy_is_left_alone_also_by_a_removal(owner: str) -> None:
    """Of one of the same name in another namespace, too: two customers call their service web."""
    world = await ready()
    job = world.jenkins.jobs[JOB]
    job.config_xml = theirs = job.config_xml.replace("acme/web ", f"{owner} ")
    await world.quiet()
    assert await world.condition("JobReady") == ("False", "JobNameTaken")
    assert f"belongs to policy {owner}:" in await said(world, "JobReady")
    await world.delete(await world.policy())
    await world.quiet()
    assert await world.kube.list_objects(AutoscalingPolicy) == [] and world.jenkins.jobs[JOB].config_xml == theirs
    await world.stop()


async def test_a_copy_that_answers_does_not_confirm_the_job() -> None:
    world = await World.make()

    async def copy_alone(token: str) -> list[str]:
        return ["copy-of-it"]

    world.jenkins.dry_run_hook = copy_alone  # type: ignore[method-assign]
    await world.start()
    await world.quiet()
    assert await world.condition("JobReady") == ("Unknown", "HookNotConfirmed")
    await world.stop()


async def test_a_job_that_jenkins_refuses_is_tried_again_and_nothing_else_is_written() -> None:
    """A naming strategy, a name that is taken in another case, a job that the user may not see: it can stay so for weeks."""
    world = await World.make()
    create, refusing = world.jenkins.create_job, True

    async def create_job(name: str, config_xml: str) -> None:
        if refusing:
            raise Rejected("jenkins", "RefusedByJenkins", f"Jenkins refuses job {name} with 400")
        await create(name, config_xml)

    world.jenkins.create_job = create_job  # type: ignore[method-assign]
    await world.start()
    await world.quiet()
    assert await world.condition("JobReady") == ("False", "RefusedByJenkins")
    assert world.operator is not None and list(world.operator.ctx.refused) == [(await world.policy()).uid]
    intended = (await world.policy()).status.provisioned
    refusing = False
    await world.ready()
    assert (await world.policy()).status.provisioned == intended
    del world.jenkins.jobs[JOB]
    await world.ready()
    assert (await world.policy()).status.provisioned != intended, "what was made and is gone had builds"
    await world.stop()


async def test_what_is_remembered_of_a_refused_job_goes_with_its_policy() -> None:
    world = await World.make()

    async def refused(name: str, config_xml: str) -> None:
        raise Rejected("jenkins", "RefusedByJenkins", f"Jenkins refuses job {name} with 400")

    world.jenkins.create_job = refused  # type: ignore[method-assign]
    operator = await world.start()
    await world.quiet()
    assert operator.ctx.refused
    await world.delete(await world.policy())
    await world.quiet()
    assert operator.ctx.refused == {}
    await world.stop()
