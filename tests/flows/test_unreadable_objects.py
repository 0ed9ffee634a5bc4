"""One object that cannot be read harms no other: a tenant's is left out, and what counts (instances, leases) is never taken for none."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.fakes.effects import DirectEffects
from tests.fakes.policies import instance, policy
from tests.fakes.world import World

from vmscaler.adapters.kube.client import KubeClient
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.meta import Json
from vmscaler.api.site import Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.flows.resync import resync, resync_forever
from vmscaler.ports.errors import NotFound, Rejected


class Answers:
    """In place of Rest: what the API server holds."""

    def __init__(self, *objects: Json) -> None:
        self.objects = objects

    async def pages(self, path: str, query: dict[str, str] | None = None) -> AsyncIterator[Json]:
        for body in self.objects:
            yield body

    async def call(self, method: str, path: str, **_: Any) -> Json:
        return self.objects[0]


def client(*objects: Json) -> KubeClient:
    kube = KubeClient(None, "vmscaler-system", DirectEffects(), None)  # type: ignore[arg-type]
    kube._rest = Answers(*objects)  # type: ignore[assignment]
    return kube


def broken(body: Json) -> Json:
    body["spec"]["network" if "ipPool" in body["spec"].get("network", {}) else "timeouts"] = {"clone": "s3cret"}
    return body


async def test_a_policy_is_left_out_and_named_when_it_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    kube = client(broken(policy("bad").manifest()), policy("good").manifest())
    assert [found.metadata.name for found in await kube.list_objects(AutoscalingPolicy)] == ["good"]
    with pytest.raises(Rejected) as refusal:
        await kube.get(AutoscalingPolicy, "bad", "acme")
    assert refusal.value.reason == "ObjectUnreadable"
    assert "AutoscalingPolicy acme/bad" in refusal.value.message and "spec.network" in refusal.value.message
    assert "s3cret" not in refusal.value.message


async def test_an_instance_is_never_taken_for_none() -> None:
    kube = client(broken(instance("bad", None).manifest()), instance("good", None).manifest())
    with pytest.raises(Rejected) as refusal:
        await kube.list_objects(VmInstance)
    assert refusal.value.reason == "ObjectUnreadable"


@pytest.mark.looptime
async def test_a_crash_of_one_resync_does_not_end_the_resyncs() -> None:
    world = await World.make()
    operator = await world.start()
    beats: list[object] = []
    real, crashes = world.kube.list_objects, iter([RuntimeError("sample")])

    async def once(*args: Any, **kwargs: Any) -> Any:
        for error in crashes:
            raise error
        return await real(*args, **kwargs)

    world.kube.list_objects = once  # type: ignore[method-assign]
    task = asyncio.create_task(resync_forever(operator.ctx, 10.0, beats.append))
    await asyncio.sleep(15)
    assert beats
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await world.stop()


@pytest.mark.looptime
async def test_a_kind_that_cannot_be_listed_keeps_no_other_from_its_turn() -> None:
    """As when its CRD is gone; but such a round is no sign of life."""
    world = await World.make()
    operator = await world.start()
    woken: list[str] = []
    operator.ctx.wake = lambda kind, namespace, name: woken.append(kind)
    real = world.kube.list_objects

    async def without_sites(kind: Any, *args: Any, **kwargs: Any) -> Any:
        if kind is Site:
            raise NotFound("kubernetes", "NotFound", "404 page not found")
        return await real(kind, *args, **kwargs)

    world.kube.list_objects = without_sites  # type: ignore[method-assign]
    with pytest.raises(NotFound):
        await resync(operator.ctx)
    assert woken == ["VmTemplate", "AutoscalingPolicy"]
    await world.stop()
