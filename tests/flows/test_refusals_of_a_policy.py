"""What is wrong with a policy, a template or a Site, as the condition that says so; and nothing is made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.fakes.samples import sample
from tests.fakes.world import POOL, World

from vmscaler.api.meta import Json
from vmscaler.api.site import Site
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.decide import names
from vmscaler.ports.errors import NotFound

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

RANGE = {"subnet": "192.0.2.0/24"}


def spec(**fields: Any) -> Callable[[Json], None]:
    return lambda body: body["spec"].update(fields)


@pytest.mark.parametrize(
    ("change", "type_", "reason"),
    [
        (spec(f5={"poolName": POOL, "vip": "192.0.2.99"}), "PoolResolved", "VipMismatch"),
        (spec(f5={"poolName": "/Common/pool-mixed"}), "PoolResolved", "MemberPortUnknown"),
        (spec(f5={"poolName": "/Common/nowhere"}), "PoolResolved", "PoolNotFound"),
        (spec(network={"ipPool": {"start": "192.0.2.20", "end": "192.0.2.21", **RANGE}}), "AddressesResolved", "RangeEmpty"),
        (
            spec(network={"ipPool": {"start": "192.0.2.100", "end": "192.0.2.101", **RANGE}, "name": "x"}),
            "AddressesResolved",
            "NetworkNotFound",
        ),
        (spec(templateRef={"name": "nowhere"}), "TemplateResolved", "TemplateNotFound"),
        (spec(templateRef={"name": "theirs", "namespace": "umbrella"}), "TemplateResolved", "TemplateNotShared"),
        (spec(templateRef={"name": "elsewhere"}), "TemplateResolved", "TemplateOfOtherSite"),
    ],
)
async def test_what_does_not_resolve_is_named_and_nothing_is_made(change: Callable[[Json], None], type_: str, reason: str) -> None:
    world = await World.make(policy=change)
    world.bigip.put_pool("/Common/pool-mixed", members=[("192.0.2.11", 8080), ("192.0.2.12", 8081)])

    def theirs(body: Json) -> None:
        body["metadata"].update(name="theirs", namespace="umbrella")

    def elsewhere(body: Json) -> None:
        body["metadata"]["name"] = "elsewhere"
        body["spec"]["siteRef"] = {"name": "other"}

    for other in (theirs, elsewhere):
        await world.apply(VmTemplate, sample("vmtemplate", other))
    await world.start()
    await world.quiet()
    assert await world.condition(type_) == ("False", reason)
    assert (await world.condition("Ready"))[0] == "False"
    assert world.jenkins.jobs == {} and not [path for path in world.hosts.files if "acme.web" in path]
    await world.stop()


async def test_a_template_that_is_shared_may_be_used() -> None:
    def shared(body: Json) -> None:
        body["metadata"].update(name="theirs", namespace="umbrella")
        body["spec"]["sharedWith"] = ["acme"]

    world = await World.make(
        policy=spec(templateRef={"name": "theirs", "namespace": "umbrella"}),
        site=lambda body: body["spec"]["tenants"].append({**body["spec"]["tenants"][0], "namespaces": ["umbrella"]}),
    )
    await world.apply(VmTemplate, sample("vmtemplate", shared))
    await world.start()
    await world.ready()
    await world.stop()


async def test_networks_of_a_site_that_overlap() -> None:
    def more(body: Json) -> None:
        body["spec"]["networks"].append({"name": "again", "portGroup": "pg", "cidr": "192.0.2.128/25"})

    world = await World.make(site=more)
    await world.start()
    await world.quiet()
    site = await world.kube.get(Site, "default")
    ready = next(c for c in site.status.conditions if c.type == "Ready")
    assert (ready.status.value, ready.reason) == ("False", "NetworksOverlap") and "'frontend' and 'again'" in ready.message
    await world.stop()


async def test_a_credential_whose_value_somebody_changed_is_copied_anew() -> None:
    """It is there by its name, and the hook does not know our token: the dry run says so."""
    world = await World.provisioned()
    hook = names.hook_credential((await world.policy()).uid)
    right = world.jenkins.credentials[hook]
    world.jenkins.credentials[hook] = "sample-of-somebodys"
    await world.quiet()
    assert world.jenkins.credentials[hook] == right
    assert await world.condition("JobReady") == ("True", "Confirmed")
    assert world.operator is not None and world.operator.ctx.copied_at
    await world.delete(await world.policy())
    await world.quiet()
    assert not world.operator.ctx.copied_at  # else one entry for each policy that ever was
    await world.stop()


async def test_a_hook_that_never_names_the_job_is_not_confirmed() -> None:
    world = await World.make()

    async def nobody(token: str) -> list[str]:
        return []

    plain, world.jenkins.dry_run_hook = world.jenkins.dry_run_hook, nobody  # type: ignore[method-assign]
    await world.start()
    await world.quiet()
    assert await world.condition("JobReady") == ("Unknown", "HookNotConfirmed")
    assert not [path for path in world.hosts.files if "acme.web" in path and "rules" in path]
    # Where the plugin is missing, say, a copy mends nothing: Jenkins is not written to all the time.
    written = [operation for operation in world.effects.operations if operation == "jenkins credential.update"]
    assert len(written) <= 2
    await asyncio.sleep(900)
    world.jenkins.credentials[names.hook_credential((await world.policy()).uid)] = "sample-of-somebodys"
    await asyncio.sleep(900)
    world.jenkins.dry_run_hook = plain  # type: ignore[method-assign]
    await world.ready()
    await world.stop()


async def test_a_secret_that_lacks_a_token_is_named_and_not_used() -> None:
    world = await World.provisioned()
    (secret,) = world.kube.secrets.values()
    right = secret.data.pop("stepToken")
    await world.quiet()
    assert await world.condition("JobReady") == ("False", "SecretIncomplete")
    assert right in world.jenkins.credentials.values()
    await world.stop()


async def test_a_removal_bears_that_a_credential_is_gone() -> None:
    world = await World.provisioned()

    async def gone(credential: str) -> None:
        raise NotFound("jenkins", "NotFound", f"no {credential}")

    world.jenkins.delete_credential = gone  # type: ignore[method-assign]
    await world.delete(await world.policy())
    await world.quiet()
    assert not [kind for kind, _, _ in world.kube.objects if kind == "AutoscalingPolicy"]
    await world.stop()
