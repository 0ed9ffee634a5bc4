"""The Kube port's contract, on the fake and on the real API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest
from tests.contract.kube_api import temporary_namespace
from tests.contract.kube_bench import PATH, Bench, RealClock, Recording, lease
from tests.fakes.kube import FakeKube

from lab.controlplane import ControlPlane
from vmscaler.adapters.kube import KubeClient, from_kubeconfig, rest
from vmscaler.api.iplease import IpLease, LeasePhase
from vmscaler.api.meta import FINALIZER
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected

T = TypeVar("T")


@pytest.fixture(params=["fake", "real"])
async def bench(request: pytest.FixtureRequest, cluster: ControlPlane) -> AsyncIterator[Bench]:
    effects = Recording()
    if request.param == "fake":
        fake = FakeKube(effects)
        fake.namespaces = {"kube-test"}

        async def counted(reason: str) -> int:
            return sum(count for event, count in fake.events.items() if event.reason == reason)

        yield Bench(fake, effects, "kube-test", counted)
        return
    async with temporary_namespace(cluster, "kube") as namespace:
        async for real in _real(cluster, namespace, effects):
            yield real


async def _real(cluster: ControlPlane, namespace: str, effects: Recording) -> AsyncIterator[Bench]:
    client = await from_kubeconfig(cluster.kubeconfig)

    async def count_of(reason: str) -> int:
        found = json.loads(await cluster.kubectl("get", "events", "-n", namespace, "--field-selector", f"reason={reason}", "-o", "json"))
        return sum(event["count"] for event in found["items"])

    try:
        yield Bench(KubeClient(client, namespace, effects, RealClock()), effects, namespace, count_of)
    finally:
        await client.close()


async def test_what_is_created_is_read_again(bench: Bench) -> None:
    made = await bench.kube.create(bench.template())
    assert made.metadata.uid and made.metadata.resource_version and made.metadata.generation == 1
    assert made.spec.inventory_path == PATH
    assert await bench.kube.get(VmTemplate, "web", bench.namespace) == made
    assert [t.metadata.name for t in await bench.kube.list_objects(VmTemplate, bench.namespace)] == ["web"]


async def test_a_name_is_taken_once(bench: Bench) -> None:
    await bench.kube.create(bench.template())
    with pytest.raises(Conflict) as refused:
        await bench.kube.create(bench.template())
    assert refused.value.reason == "AlreadyExists"


async def test_of_many_that_take_one_address_one_wins(bench: Bench) -> None:
    results = await asyncio.gather(*(bench.kube.create(lease(bench.site)) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, IpLease) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 9


async def test_what_is_invalid_is_rejected(bench: Bench) -> None:
    wrong = bench.template()
    wrong.spec = wrong.spec.model_copy(update={"inventory_path": "no/slash"})
    with pytest.raises(Rejected):
        await bench.kube.create(wrong)


async def test_a_missing_namespace_is_told(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await bench.kube.create(bench.template(namespace="nowhere-at-all"))


@pytest.mark.parametrize("name", ["absent", "../secrets/x", "a/b", "", "x?y=z", "Capital"])
async def test_what_is_absent_is_not_found(bench: Bench, name: str) -> None:
    with pytest.raises(NotFound):
        await bench.kube.get(VmTemplate, name, bench.namespace)


async def test_status_is_merged_and_nothing_else_changes(bench: Bench) -> None:
    made = await bench.kube.create(bench.template())
    await bench.kube.patch_status(made, {"cpus": 2, "guestOS": "ubuntu64Guest"})
    seen = await bench.kube.patch_status(made, {"memoryMiB": 2048, "guestOS": None})
    assert (seen.status.cpus, seen.status.memory_mib, seen.status.guest_os) == (2, 2048, None)
    assert seen.metadata.generation == 1 and seen.spec == made.spec


async def test_a_spec_has_generations_and_a_status_is_no_part_of_it(bench: Bench) -> None:
    made = await bench.kube.create(bench.template())
    seen = await bench.kube.patch(made, {"spec": {"description": "new"}, "status": {"cpus": 64}})
    assert (seen.metadata.generation, seen.spec.description, seen.status.cpus) == (2, "new", None)
    seen = await bench.kube.patch(seen, {"metadata": {"labels": {"a": "b"}}})
    assert (seen.metadata.generation, seen.metadata.labels) == (2, {"a": "b"})


async def test_an_invalid_change_is_rejected(bench: Bench) -> None:
    made = await bench.kube.create(bench.template())
    with pytest.raises(Rejected):
        await bench.kube.patch(made, {"spec": {"inventoryPath": "x"}})


async def test_a_lease_s_spec_is_fixed(bench: Bench) -> None:
    made = await bench.kube.create(lease(bench.site))
    with pytest.raises(Rejected):
        await bench.kube.patch(made, {"spec": {"holder": {"name": "another"}}})


async def test_compare_and_swap_has_one_winner(bench: Bench) -> None:
    made = await bench.kube.create(bench.template())
    version = made.metadata.resource_version
    tries = [bench.kube.patch_status(made, {"cpus": number + 1}, expect=version) for number in range(20)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    winners = [result for result in results if isinstance(result, VmTemplate)]
    assert len(winners) == 1 and sum(isinstance(result, Conflict) for result in results) == 19
    assert (await bench.kube.get(VmTemplate, "web", bench.namespace)).status.cpus == winners[0].status.cpus


async def test_without_it_a_stale_copy_can_still_write_its_own_fields(bench: Bench) -> None:
    stale = await bench.kube.create(bench.template())
    await bench.kube.patch_status(stale, {"cpus": 2})
    await bench.kube.patch_status(stale, {"diskGiB": 20})
    seen = await bench.kube.get(VmTemplate, "web", bench.namespace)
    assert (seen.status.cpus, seen.status.disk_gib) == (2, 20)


async def test_an_object_made_anew_is_another(bench: Bench) -> None:
    old = await bench.kube.create(bench.template())
    await bench.kube.delete(old)
    new = await bench.kube.create(bench.template())
    new = await bench.kube.add_finalizer(new, FINALIZER)
    for write in (
        lambda: bench.kube.patch_status(old, {"cpus": 64}),
        lambda: bench.kube.patch(old, {"spec": {"description": "stale"}}),
        lambda: bench.kube.add_finalizer(old, "vmscaler.io/other"),
    ):
        with pytest.raises(NotFound):
            await write()
    with pytest.raises(Conflict):
        await bench.kube.delete(old)
    await bench.kube.remove_finalizer(old, FINALIZER)
    assert await bench.kube.get(VmTemplate, "web", bench.namespace) == new


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(bench: Bench) -> None:
    made = await bench.kube.create(bench.template())
    held = await bench.kube.add_finalizer(made, FINALIZER)
    assert (await bench.kube.add_finalizer(held, FINALIZER)).metadata.finalizers == [FINALIZER]
    await bench.kube.delete(held)
    going = await bench.kube.get(VmTemplate, "web", bench.namespace)
    assert going.deleting
    await bench.kube.delete(going)
    with pytest.raises(Conflict):
        await bench.kube.add_finalizer(going, "vmscaler.io/too-late")
    await bench.kube.patch_status(going, {"cpus": 1})
    await bench.kube.remove_finalizer(held, FINALIZER)
    with pytest.raises(NotFound):
        await bench.kube.get(VmTemplate, "web", bench.namespace)
    await bench.kube.remove_finalizer(held, FINALIZER)
    await bench.kube.delete(held)
    with pytest.raises(NotFound):
        await bench.kube.patch_status(held, {"cpus": 1})


async def test_two_finalizers_at_once_are_both_kept(bench: Bench) -> None:
    made = await bench.kube.create(bench.template())
    names = [f"vmscaler.io/f{number}" for number in range(4)]
    await asyncio.gather(*(bench.kube.add_finalizer(made, name) for name in names))
    seen = await bench.kube.get(VmTemplate, "web", bench.namespace)
    assert sorted(seen.metadata.finalizers) == names
    await asyncio.gather(*(bench.kube.remove_finalizer(seen, name) for name in names[1:]))
    assert (await bench.kube.get(VmTemplate, "web", bench.namespace)).metadata.finalizers == names[:1]
    await bench.kube.remove_finalizer(seen, names[0])


async def test_lists_are_paged_and_chosen_by_labels(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "PAGE", 2)
    for number in range(5):
        labels = {"vmscaler.io/site": bench.site, "parity": str(number % 2)}
        await bench.kube.create(lease(bench.site, number + 1, labels=labels))
    ours = {"vmscaler.io/site": bench.site}
    assert len(await bench.kube.list_objects(IpLease, labels=ours)) == 5
    odd = await bench.kube.list_objects(IpLease, labels={**ours, "parity": "1"})
    assert sorted(found.spec.address for found in odd) == ["192.0.2.2", "192.0.2.4"]
    assert await bench.kube.list_objects(VmTemplate, bench.namespace) == []


async def test_other_systems_words_are_cut_rather_than_refused(bench: Bench) -> None:
    made = await bench.kube.create(lease(bench.site))
    seen = await bench.kube.patch_status(made, {"phase": LeasePhase.QUARANTINED, "reason": "ä" * 100_000})
    assert len(seen.status.reason) == 2048 and seen.status.reason.endswith("…")
    assert seen.status.phase is LeasePhase.QUARANTINED


async def test_secrets(bench: Bench) -> None:
    kube = bench.kube
    with pytest.raises(NotFound):
        await kube.get_secret("pair")
    await kube.create_secret("pair", {"hook": "sample\n", "step": "ä"}, {"of": "web"}, {"vmscaler.io/policy": "acme/web"})
    with pytest.raises(Conflict):
        await kube.create_secret("pair", {}, {}, {})
    assert await kube.get_secret("pair") == {"hook": "sample\n", "step": "ä"}
    await kube.create_secret("other", {}, {"of": "shop"}, {})
    assert await kube.list_secrets({"of": "web"}) == [("pair", {"vmscaler.io/policy": "acme/web"}, {"hook": "sample\n", "step": "ä"})]
    await kube.delete_secret("pair")
    await kube.delete_secret("pair")
    assert await kube.list_secrets({"of": "web"}) == []


async def test_each_write_passes_the_seam_once_and_no_read_does(bench: Bench) -> None:
    made = await bench.kube.create(bench.template())
    held = await bench.kube.add_finalizer(made, FINALIZER)
    await bench.kube.patch_status(made, {"cpus": 2})
    await bench.kube.patch(made, {"spec": {"description": "x"}})
    await bench.kube.get(VmTemplate, "web", bench.namespace)
    await bench.kube.list_objects(VmTemplate)
    await bench.kube.delete(held)
    await bench.kube.remove_finalizer(held, FINALIZER)
    await bench.kube.create_secret("pair", {}, {}, {})
    await bench.kube.delete_secret("pair")
    of_object = ["create", "finalizer.add", "status.patch", "patch", "delete", "finalizer.remove"]
    assert bench.effects.calls == [
        *(("kubernetes", f"vmtemplate.{verb}", f"{bench.namespace}/web") for verb in of_object),
        *(("kubernetes", f"secret.{verb}", "pair") for verb in ("create", "delete")),
    ]


async def test_a_refusing_seam_means_no_write(bench: Bench) -> None:
    made = await bench.kube.create(bench.template())
    bench.effects.refuse = True
    for write in (
        lambda: bench.kube.create(bench.template("other")),
        lambda: bench.kube.patch_status(made, {"cpus": 2}),
        lambda: bench.kube.delete(made),
        lambda: bench.kube.create_secret("pair", {}, {}, {}),
    ):
        with pytest.raises(OutsideError):
            await write()
    await bench.kube.emit(made, "Normal", "Refused", "not raised")
    assert await bench.kube.get(VmTemplate, "web", bench.namespace) == made
    assert await bench.count_of("Refused") == 0


async def test_events_are_counted(bench: Bench) -> None:
    made = await bench.kube.create(bench.template())
    for _ in range(3):
        await bench.kube.emit(made, "Warning", "NoSuchVm", "there is no VM at /DC0/vm/x")
    await bench.kube.emit(made, "Normal", "Adopted", "x" * 5000)
    assert (await bench.count_of("NoSuchVm"), await bench.count_of("Adopted")) == (3, 1)
