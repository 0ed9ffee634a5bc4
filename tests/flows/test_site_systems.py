"""What a change of a Site does to its clients, and to the steps that hold one."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from tests.fakes.bigip import FakeBigIp
from tests.fakes.effects import DirectEffects
from tests.fakes.kube import FakeKube
from tests.fakes.samples import sample
from tests.fakes.world import World

from vmscaler.adapters import systems as systems_module
from vmscaler.adapters.systems import CLOSE_AFTER, SiteSystems
from vmscaler.api.site import Site
from vmscaler.flows.steps import Outcome
from vmscaler.ports.bigip import SYSTEM, Member
from vmscaler.ports.errors import Closed
from vmscaler.ports.systems import Systems

KEY = "privateKey"


class ClosedBigIp(FakeBigIp):
    """As the real client once it was put away."""

    async def member(self, pool: str, name: str) -> Member | None:
        raise Closed(SYSTEM, "Closed", "the client was closed: its Site or Secret has changed", after=1.0)


async def a_site(kube: FakeKube) -> Site:
    body, pem = sample("site"), trustme.CA().cert_pem.bytes().decode()
    for part in (body["spec"]["vcenter"], body["spec"]["bigip"], body["spec"]["jenkins"]):
        part["caBundle"] = pem
    for host in (*body["spec"]["prometheus"]["hosts"], *body["spec"]["alertmanager"]["hosts"]):
        host.pop("caBundle", None)
        host["url"] = host["url"].replace("https:", "http:")
    site = await kube.create(Site.parse(body))
    for name in {
        site.spec.vcenter.credentials_secret_ref.name,
        site.spec.bigip.credentials_secret_ref.name,
        site.spec.jenkins.credentials_secret_ref.name,
        *(host.ssh.credentials_secret_ref.name for host in (*site.spec.prometheus.hosts, *site.spec.alertmanager.hosts)),
    }:
        await kube.create_secret(name, {"username": "sample", "password": "sample", "token": "sample", KEY: "sample"}, {}, {})
    return site


async def test_a_line_end_in_a_secret_is_no_part_of_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = FakeKube(DirectEffects())
    site = await a_site(kube)
    for ref in (site.spec.vcenter, site.spec.bigip, site.spec.jenkins):
        values = {"username": "sample\n", "password": "sample pass \r\n", "token": "sample-token\n"}
        kube.edit_secret(ref.credentials_secret_ref.name, values)
    made: dict[str, tuple[object, ...]] = {}
    for client in ("VSphereClient", "BigIpClient", "JenkinsClient"):
        kind = getattr(systems_module, client)

        def make(*args: object, client: str = client, kind: Any = kind, **more: object) -> object:
            made[client] = args[1:3]
            return kind(*args, **more)

        monkeypatch.setattr(systems_module, client, make)
    systems = SiteSystems(kube, DirectEffects())
    await systems.of(site)
    assert made["VSphereClient"] == made["BigIpClient"] == ("sample", "sample pass ")
    assert made["JenkinsClient"] == ("sample", "sample-token")
    await systems.close()


async def test_only_what_the_clients_are_made_of_makes_new_ones() -> None:
    kube = FakeKube(DirectEffects())
    site = await a_site(kube)
    systems = SiteSystems(kube, DirectEffects())
    first = await systems.of(site)
    site = await kube.patch(site, {"spec": {"displayName": "another", "tenants": []}})
    assert await systems.of(site) is first
    kube.edit_secret(site.spec.bigip.credentials_secret_ref.name, {"password": "sample-2"})
    second = await systems.of(site)
    assert second is not first
    site = await kube.patch(site, {"spec": {"vcenter": {"url": "https://other.example.org"}}})
    assert await systems.of(site) not in (first, second)
    await systems.close()


class Wrapped:
    """Clients in place of the real ones, that say when they are closed; `stuck` ones never are."""

    def __init__(self) -> None:
        self.closed: list[str] = []
        self.made = 0
        self.stuck = False

    def __call__(self, systems: Systems) -> Systems:
        made = self.made = self.made + 1
        return Systems(*(self.client(f"{made} {field.name}") for field in fields(systems)))

    def client(self, name: str) -> Any:
        async def close() -> None:
            if self.stuck:
                await asyncio.sleep(3600)
            self.closed.append(name)

        return SimpleNamespace(close=close)


@pytest.mark.looptime
async def test_the_clients_of_a_site_that_is_gone_log_out_after_the_calls_under_way() -> None:
    kube, clients = FakeKube(DirectEffects()), Wrapped()
    site = await a_site(kube)
    systems = SiteSystems(kube, DirectEffects(), clients)
    await systems.of(site)
    await systems.forget(site)
    await systems.forget(site)
    await asyncio.sleep(CLOSE_AFTER - 1)
    assert clients.closed == []
    await asyncio.sleep(2)
    assert len(clients.closed) == 6
    await systems.close()
    assert len(clients.closed) == 6


@pytest.mark.looptime
async def test_the_end_of_the_process_closes_what_would_be_closed_later_too() -> None:
    kube, clients = FakeKube(DirectEffects()), Wrapped()
    site = await a_site(kube)
    systems = SiteSystems(kube, DirectEffects(), clients)
    await systems.of(site)
    kube.edit_secret(site.spec.bigip.credentials_secret_ref.name, {"password": "sample-2"})
    await systems.of(site)
    await systems.close()
    assert len(clients.closed) == len(set(clients.closed)) == 12


@pytest.mark.looptime
async def test_systems_that_are_away_hold_the_end_up_for_five_seconds_in_all() -> None:
    """The pod has 40 s, and the Lease is given back last."""
    kube, clients = FakeKube(DirectEffects()), Wrapped()
    systems = SiteSystems(kube, DirectEffects(), clients)
    await systems.of(await a_site(kube))
    clients.stuck = True
    began = asyncio.get_running_loop().time()
    await systems.close()
    assert asyncio.get_running_loop().time() - began == pytest.approx(5.0, abs=0.1)


@pytest.mark.looptime
async def test_a_step_whose_client_was_put_away_goes_on_with_the_new_one() -> None:
    world = await World.provisioned()
    world.fires()
    await world.build(1, stop_before="join")
    present, world.bigip = world.bigip, ClosedBigIp(world.effects)
    joining = asyncio.ensure_future(world.step("join", await world.ref(), await world.build_ref(1)))
    await asyncio.sleep(5)
    world.bigip = present
    await asyncio.sleep(15)
    assert joining.done(), "the step still asks the client that was put away"
    answer = joining.result()
    assert isinstance(answer, Outcome) and answer.state == "succeeded"
    await world.stop()
