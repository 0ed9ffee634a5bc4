"""What a policy's trouble looks like and how it heals by itself; and its template's: told once, with no write after that."""

from __future__ import annotations

import asyncio

import pytest
from tests.fakes.samples import sample
from tests.fakes.world import POOL, RESYNC, World

from vmscaler.api.meta import Json
from vmscaler.api.site import Site
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.flows.policy import reconcile_policy
from vmscaler.ports.errors import Rejected, Retryable

pytestmark = [pytest.mark.asyncio, pytest.mark.looptime]

RULES = "/etc/prometheus/vmscaler/rules/vmscaler-acme.web.yml"


async def test_a_namespace_that_is_not_granted_becomes_ready_by_itself() -> None:
    world = await World.make(site=lambda body: body["spec"].update(tenants=[]))
    await world.start()
    await world.quiet()
    assert await world.condition("Granted") == ("False", "NamespaceNotGranted")
    grant = sample("site")["spec"]["tenants"]
    await world.edit(lambda spec: spec.update(tenants=grant), kind=Site, name="default")
    await world.quiet()
    assert await world.condition("Ready") == ("True", "AllReady")
    await world.stop()


async def test_a_pool_whose_members_take_any_port_asks_for_one() -> None:
    """Port "any" reads as 0, which no VM listens on: every scale-out would crash at it."""
    world = await World.make()
    for member in world.bigip.pools[POOL].members.values():
        member.port = 0
    await world.start()
    await asyncio.sleep(5)
    assert await world.condition("PoolResolved") == ("False", "MemberPortUnknown")
    await world.edit(lambda spec: spec["f5"].update(memberPort=8080))
    await world.ready()
    await world.stop()


TROUBLES = {
    "jenkins down": lambda w: w.jenkins.down(),
    "jenkins refuses the login": lambda w: w.jenkins.refusing_login(),
    "host down": lambda w: setattr(w.hosts, "down", True),
    "host key changed": lambda w: setattr(w.hosts, "untrusted", True),
    "checker refuses": lambda w: setattr(w.hosts, "check_refuses", "bad"),
    "reload refuses": lambda w: setattr(w.hosts, "reload_refuses", "bad"),
    "no figures": lambda w: setattr(w.prometheus, "silent", 'job="acme-web"'),
    "vcenter down": lambda w: w.vsphere.down(),
    "pool gone": lambda w: w.bigip.fail("pool", Retryable("bigip", "Down", "503"), times=None),
    "no monitor": lambda w: setattr(w.bigip.pools[POOL], "monitor", ""),
    "no template": lambda w: w.vsphere.templates.clear(),
    "secret gone": lambda w: setattr(w, "systems_error", Rejected("kubernetes", "SecretNotFound", "there is no Secret")),
    "api server away": lambda w: setattr(w, "systems_error", Retryable("kubernetes", "Down", "away")),
}


@pytest.mark.parametrize("what", sorted(TROUBLES))
async def test_trouble_is_told_once_and_heals_by_itself(what: str) -> None:
    """At the first provisioning, and when all was well before: not Ready, no write after the first telling, Ready again by itself."""
    for before in (False, True):
        world = await World.make()
        if before:
            await world.start()
            await world.ready()
        templates, monitor = dict(world.vsphere.templates), world.bigip.pools[POOL].monitor
        TROUBLES[what](world)
        if before and what in ("checker refuses", "reload refuses"):
            world.hosts.files[RULES] = world.hosts.loaded[RULES] = b"old"
        if not before:
            await world.start()
        await asyncio.sleep(RESYNC + 10)
        status, reason = await world.condition("Ready")
        assert status in ("False", "Unknown") and reason, what
        told, written = sum(world.kube.events.values()), [call for call in world.effects.calls if call[0] == "kubernetes"]
        await asyncio.sleep(RESYNC + 5)
        assert sum(world.kube.events.values()) == told
        assert [call for call in world.effects.calls if call[0] == "kubernetes"] == written, what
        world.jenkins.heal()
        world.hosts.down = world.hosts.untrusted = False
        world.hosts.check_refuses = world.hosts.reload_refuses = None
        world.vsphere.error, world.systems_error, world.prometheus.silent = None, None, None
        world.vsphere.templates, world.bigip.pools[POOL].monitor = templates, monitor
        world.bigip.heal()
        await world.ready()
        await world.stop()


async def test_each_turn_of_a_policy_is_an_event_of_it() -> None:
    """Warning where it stops being Ready, Normal where it is so again; once a turn, not once a look."""
    world = await World.provisioned()

    def told(type_: str) -> dict[str, int]:
        ours = ((event, count) for event, count in world.kube.events.items() if (event.kind, event.type) == ("AutoscalingPolicy", type_))
        return {event.reason: count for event, count in ours}

    _, well = await world.condition("Ready")
    assert told("Normal") == {well: 1}
    templates, before = dict(world.vsphere.templates), told("Warning")
    world.vsphere.templates.clear()
    await asyncio.sleep(RESYNC + 10)
    _, reason = await world.condition("Ready")
    assert told("Warning") == {**before, reason: before.get(reason, 0) + 1} and told("Normal") == {well: 1}
    world.vsphere.templates.update(templates)
    await asyncio.sleep(RESYNC + 10)
    assert await world.condition("Ready") == ("True", well) and told("Normal") == {well: 2}
    await world.stop()


async def test_what_is_not_ready_is_looked_at_again_before_the_next_resync() -> None:
    world = await World.provisioned()
    assert world.operator is not None
    await reconcile_policy(world.operator.ctx, "acme", "web")
    world.systems_error = Retryable("kubernetes", "Down", "away")
    with pytest.raises(Retryable, match="policy acme/web is not ready yet") as later:
        await reconcile_policy(world.operator.ctx, "acme", "web")
    assert later.value.after == 5.0 < RESYNC
    world.systems_error = None
    await world.stop()


async def test_a_template_that_cannot_be_seen_keeps_what_is_known_and_makes_no_noise() -> None:
    world = await World.provisioned()
    known = (await world.kube.get(VmTemplate, "tmpl-web", "acme")).status.mo_ref
    world.vsphere.down()
    await world.quiet()
    template = await world.kube.get(VmTemplate, "tmpl-web", "acme")
    assert template.status.mo_ref == known == "vm-1"
    (condition,) = template.status.conditions
    assert (condition.status.value, condition.reason) == ("Unknown", "Unreachable")
    assert template.status.used_by == ["acme/web"]
    await world.stop()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inventoryPath": "/DC0/vm/other/tmpl"}, "NotPermitted"),
        ({"inventoryPath": "/DC0/vm/templates/nowhere"}, "TemplateNotFound"),
        ({"siteRef": {"name": "nowhere"}}, "SiteNotFound"),
        ({"source": {"inventoryPath": "/DC0/vm/x"}}, "SourceNotSupported"),
    ],
)
async def test_a_template_that_is_wrong(change: Json, reason: str) -> None:
    world = await World.provisioned()
    await world.edit(lambda spec: spec.update(change), kind=VmTemplate, name="tmpl-web")
    await world.quiet()
    (condition,) = (await world.kube.get(VmTemplate, "tmpl-web", "acme")).status.conditions
    assert (condition.status.value, condition.reason) == ("False", reason)
    assert (await world.condition("Ready"))[0] == "False"
    await world.stop()
