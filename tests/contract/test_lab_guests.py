"""The lab's guests over HTTP: boot, load, the exporter's figures (read by prometheus_client's parser), faults, the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from tests.contract.guests_bench import Lab, busy, load, ports_are_free, samples, until
from tests.contract.vsphere_judge import VCenter

from lab.pki import Authority
from lab.process import Json, Part
from lab.subnet import Subnet
from lab.vcenter import Control, inventory, vcenter

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]
BOOT_SECONDS, CAPACITY, QUEUE_SECONDS, IDLE = 0.5, 50.0, 0.6, 0.02


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    folder, authority = tmp_path_factory.mktemp("guests"), Authority()
    issued = authority.issue("127.0.0.1")
    with Subnet.take((8080, 9100)) as subnet:
        config = {
            "username": "svc", "password": "sample-password", "certificate": issued.certificate,
            "privateKey": issued.key, "tempFolder": str(folder / "datastores"), "guests": {"external": True},
            **inventory(list(zip(("web-1", "web-2"), subnet.vms, strict=True))),
        }  # fmt: skip
        async with await vcenter(config, folder=folder) as center:
            wanted = {"vcenter": center.record["control"], "bootSeconds": BOOT_SECONDS, "capacity": CAPACITY}
            wanted |= {"queueSeconds": QUEUE_SECONDS, "idleCpu": IDLE}
            async with (
                Part("guests", wanted, folder=folder) as guests,
                Control(center.record["control"]) as control,
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as http,
            ):
                lab = Lab(subnet, VCenter(center.record, authority), control, guests.record["control"], http)
                await lab.settled()  # a part is ready before its guests are
                yield lab
        assert await ports_are_free(subnet), "something was left listening"


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def healed(lab: Lab) -> AsyncIterator[None]:
    yield
    await lab.call("PUT", "/faults", {})
    await lab.settled()


# --- booting ---


async def test_the_hand_made_vms_serve_and_their_tools_run(lab: Lab) -> None:
    for name, address in zip(("web-1", "web-2"), lab.subnet.vms, strict=True):
        assert name in (await lab.get(address, "/"))[1]
        vm = await lab.inventory.vm(name)
        assert vm is not None
        assert (vm["guest"]["ipAddress"], vm["guest"]["toolsRunningStatus"]) == (address, "guestToolsRunning")
    names = [vm["name"] for vm in (await lab.call("GET", "/status"))["vms"]]
    assert names == ["web-1", "web-2"]  # and not the template


async def test_a_clone_boots_after_the_delay_and_stops_at_destroy(lab: Lab) -> None:
    address = lab.subnet.range_start
    await lab.call("PUT", "/faults", {"neverBoot": ["web-101"]})  # until we have looked
    began = time.monotonic()
    moref = await lab.clone("web-101", address)
    vm = await lab.inventory.vm("web-101")
    assert vm is not None
    assert vm["guest"]["ipAddress"] == ""
    assert not await lab.serves(address)
    await lab.call("PUT", "/faults", {})
    await until(lambda: lab.serves(address))
    assert time.monotonic() - began >= BOOT_SECONDS

    async def tools() -> bool:
        vm = await lab.inventory.vm("web-101")
        return vm is not None and vm["guest"]["toolsRunningStatus"] == "guestToolsRunning"

    await until(tools)
    vm = await lab.inventory.vm("web-101")
    assert vm is not None
    assert (vm["guest"]["ipAddress"], vm["guest"]["hostName"]) == (address, "guest-name")
    await lab.end(moref)

    async def gone() -> bool:
        return not await lab.serves(address)

    await until(gone)
    assert await lab.guest("web-101") is None


async def test_an_address_that_is_taken_is_told(lab: Lab) -> None:
    moref = await lab.clone("web-102", lab.subnet.vms[0])

    async def told() -> bool:
        return (await lab.guest("web-102") or {}).get("phase") == "unbound"

    await until(told)
    guest = await lab.guest("web-102")
    assert guest is not None
    assert "in use" in guest["reason"]
    assert "web-1 " in (await lab.get(lab.subnet.vms[0], "/"))[1]
    await lab.end(moref)


# --- load ---


async def test_the_exporter_speaks_as_the_real_one(lab: Lab) -> None:
    found = await samples(lab, lab.subnet.vms[0])
    cpu = found["node_cpu_seconds_total"]
    assert {s.labels["cpu"] for s in cpu} == {"0", "1"}
    assert {"idle", "user", "system", "iowait", "steal"} <= {s.labels["mode"] for s in cpu}
    total = found["node_memory_MemTotal_bytes"][0].value
    assert total == 2048 * 2**20
    assert 0 < found["node_memory_MemAvailable_bytes"][0].value < total
    assert time.time() - 600 < found["node_boot_time_seconds"][0].value <= time.time()  # noqa: TID251


async def test_cpu_follows_the_requests_served(lab: Lab) -> None:
    address = lab.subnet.vms[0]
    quiet = await busy(lab, address, lambda: asyncio.sleep(0.5))
    assert quiet.seconds == pytest.approx(IDLE * quiet.of)
    answers: list[tuple[int, float]] = []

    async def users() -> None:
        answers.extend(await load(lab, address, rate=CAPACITY / 2, seconds=2))

    half = await busy(lab, address, users)
    served = sum(status == 200 for status, _ in answers)  # all, unless a stall let too many come at once
    assert served and half.seconds == pytest.approx(half.with_requests(served, CAPACITY, IDLE))

    async def shown() -> bool:  # of the last two seconds
        await load(lab, address, rate=CAPACITY / 2, seconds=1)
        guest = await lab.guest("web-1")
        assert guest is not None
        return bool(guest["cpu"] > 0.15)

    await until(shown)


async def test_overload_is_felt_and_counted(lab: Lab) -> None:
    address = lab.subnet.vms[1]
    before = (await lab.guest("web-2") or {})["served"]
    calm = await load(lab, address, rate=10, seconds=1)
    assert {status for status, _ in calm} == {200}
    few = CAPACITY / 5  # so that this process, on a slow machine too, makes far more requests than are served
    await lab.call("PUT", "/settings", {"capacities": {"web-2": few}})
    answers: list[tuple[int, float]] = []

    async def storm() -> None:
        answers.extend(await load(lab, address, rate=few * 5, seconds=1.5))

    full = await busy(lab, address, storm)
    await lab.call("PUT", "/settings", {"capacities": {}})
    served = [latency for status, latency in answers if status == 200]
    assert full.seconds == pytest.approx(full.with_requests(len(served), few, IDLE))
    statuses = [status for status, _ in answers]
    assert 503 in statuses
    # Who is taken last before the queue is full waits for all of it, less at most one request; and then it is served.
    assert max(served) > QUEUE_SECONDS
    assert (await lab.get(address, "/healthz"))[0] == 200
    _, stats = await lab.get(address, "/stats")
    assert f'"served": {before + len(calm) + len(served)}' in stats
    assert f'"refused": {statuses.count(503)}' in stats


async def test_capacity_can_be_set_while_it_runs(lab: Lab) -> None:
    address = lab.subnet.vms[0]
    await lab.call("PUT", "/settings", {"capacities": {"web-1": CAPACITY * 4}})
    light = await busy(lab, address, lambda: load(lab, address, rate=CAPACITY, seconds=1))
    assert light.seconds == pytest.approx(light.with_requests(50, CAPACITY * 4, IDLE))
    await lab.call("PUT", "/settings", {"capacities": {}})
    await lab.call("PUT", "/settings", {"colour": 1}, status=400)
    await lab.call("PUT", "/settings", {"capacity": 0}, status=400)


# --- faults ---


async def test_health_fails_while_users_are_served(lab: Lab) -> None:
    await lab.call("PUT", "/faults", {"healthFails": ["web-1"]})
    one, two = lab.subnet.vms
    assert (await lab.get(one, "/healthz"))[0] == 503
    assert (await lab.get(two, "/healthz"))[0] == 200
    assert (await lab.get(one, "/"))[0] == 200


async def test_a_hung_guest_takes_connections_and_answers_nothing(lab: Lab) -> None:
    await lab.call("PUT", "/faults", {"hang": ["web-1"]})
    for path, port in (("/", 8080), ("/healthz", 8080), ("/metrics", 9100)):
        with pytest.raises(TimeoutError):
            await lab.get(lab.subnet.vms[0], path, port, seconds=0.3)
    await lab.call("PUT", "/faults", {})
    assert (await lab.get(lab.subnet.vms[0], "/healthz"))[0] == 200


async def test_a_dead_guest_refuses_and_boots_again_when_healed(lab: Lab) -> None:
    address = lab.subnet.vms[0]
    await lab.call("PUT", "/faults", {"die": ["web-1"]})

    async def dead() -> bool:
        return not await lab.serves(address)

    await until(dead)

    async def tools_stopped() -> bool:
        vm = await lab.inventory.vm("web-1")
        return vm is not None and vm["guest"]["toolsRunningStatus"] == "guestToolsNotRunning"

    await until(tools_stopped)
    await lab.call("PUT", "/faults", {})
    await until(lambda: lab.serves(address))


async def test_a_slow_guest_is_slow(lab: Lab) -> None:
    await lab.call("PUT", "/faults", {"slow": {"web-*": 0.4}})
    start = time.monotonic()
    assert (await lab.get(lab.subnet.vms[0], "/healthz"))[0] == 200
    assert time.monotonic() - start >= 0.4


async def test_one_that_never_boots_shows_no_address(lab: Lab) -> None:
    await lab.call("PUT", "/faults", {"neverBoot": ["web-103"]})
    moref = await lab.clone("web-103", lab.subnet.address(103))
    other = await lab.clone("web-104", lab.subnet.address(104))
    await until(lambda: lab.serves(lab.subnet.address(104)))
    vm = await lab.inventory.vm("web-103")
    assert vm is not None
    assert (vm["powerState"], vm["guest"]["ipAddress"]) == ("poweredOn", "")
    assert not await lab.serves(lab.subnet.address(103))
    for one in (moref, other):
        await lab.end(one)


@pytest.mark.parametrize("faults", [{"explode": ["*"]}, {"hang": "web-1"}, {"slow": ["web-1"]}])
async def test_unknown_faults_are_refused(lab: Lab, faults: Json) -> None:
    assert "neverBoot" in (await lab.call("PUT", "/faults", faults, status=400))["known"]
