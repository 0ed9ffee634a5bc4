"""The Lease that lets one process act: on the real API server, with clocks that the test moves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from kubernetes.aio.client import ApiClient
from tests.contract.kube_api import temporary_namespace

from lab.controlplane import ControlPlane
from vmscaler.adapters.kube import LeaseLock, from_kubeconfig, heartbeat
from vmscaler.decide.heartbeat import Heartbeat
from vmscaler.ports.errors import NotFound

DURATION = 15


class Hand:
    """A clock that stands still until the test moves it; sleepers wake when their time has come."""

    def __init__(self, *, ahead: timedelta = timedelta()) -> None:
        self._elapsed = 1000.0
        self._start = datetime(2026, 1, 1, tzinfo=UTC) + ahead
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, future))
        await future

    def move(self, seconds: float) -> None:
        self._elapsed += seconds
        due = [sleeper for sleeper in self._sleepers if sleeper[0] <= self._elapsed]
        self._sleepers = [sleeper for sleeper in self._sleepers if sleeper not in due]
        for _, future in due:
            if not future.done():
                future.set_result(None)

    @property
    def asleep(self) -> bool:
        return any(not future.done() for _, future in self._sleepers)


@dataclass
class Process:
    """One operator process: its own clock, its own lock."""

    lock: LeaseLock
    clock: Hand
    lost: list[str] = field(default_factory=list)

    async def settled(self) -> None:
        """Until it waits again (or has ended)."""
        await until(lambda: self.clock.asleep or bool(self.lost))

    async def step(self, seconds: float) -> None:
        """Let time pass in steps below the renewal's, as real time would."""
        while seconds > 0 and not self.lost:
            self.clock.move(min(seconds, DURATION / 6))
            seconds -= DURATION / 6
            await self.settled()


async def until(condition: Callable[[], bool], deadline: float = 60.0) -> None:
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 - the condition is the product's state, which rings no bell
            await asyncio.sleep(0.005)


@dataclass
class Bench:
    cluster: ControlPlane
    client: ApiClient
    namespace: str
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    processes: list[Process] = field(default_factory=list)

    def process(self, name: str, *, ahead: timedelta = timedelta()) -> Process:
        clock = Hand(ahead=ahead)
        lost: list[str] = []
        lock = LeaseLock(
            self.client, self.namespace, "vmscaler-operator", name, clock, on_lost=lost.append, duration=DURATION, monotonic=clock.monotonic
        )
        made = Process(lock, clock, lost)
        self.processes.append(made)
        return made

    def waits(self, process: Process) -> asyncio.Task[None]:
        task = asyncio.create_task(process.lock.acquire())
        self.tasks.append(task)
        return task

    async def spec(self) -> dict[str, object]:
        found = await self.cluster.get("lease", "vmscaler-operator", "-n", self.namespace)
        return dict(found["spec"])

    async def patch(self, body: object) -> None:
        await self.cluster.kubectl("patch", "lease", "vmscaler-operator", "-n", self.namespace, "--type=merge", "-p", json.dumps(body))


@pytest.fixture
async def bench(control_plane: ControlPlane) -> AsyncIterator[Bench]:
    client = await from_kubeconfig(control_plane.kubeconfig)
    async with temporary_namespace(control_plane, "lease") as namespace:
        made = Bench(control_plane, client, namespace)
        yield made
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
        for process in made.processes:
            await process.lock.release()
        await client.close()


async def test_the_first_has_it_and_keeps_it(bench: Bench) -> None:
    first = bench.process("first")
    assert first.lock.remaining() == 0
    await first.lock.acquire()
    assert first.lock.remaining() == DURATION and first.lock.held
    await first.settled()
    await first.step(DURATION * 3)
    assert first.lock.remaining() > DURATION * 2 / 3 and not first.lost
    spec = await bench.spec()
    assert (spec["holderIdentity"], spec["leaseTransitions"], spec["leaseDurationSeconds"]) == ("first", 0, DURATION)


async def test_time_that_is_not_renewed_runs_out(bench: Bench) -> None:
    first = bench.process("first")
    await first.lock.acquire()
    first.clock._elapsed += 6  # no renewal: nobody was woken
    assert first.lock.remaining() == DURATION - 6
    first.clock._elapsed += 600
    assert first.lock.remaining() == 0 and not first.lock.held


@pytest.mark.parametrize("ahead", [timedelta(hours=-3), timedelta(hours=3)])
async def test_the_next_waits_the_whole_time_by_its_own_clock(bench: Bench, ahead: timedelta) -> None:
    first, second = bench.process("first"), bench.process("second", ahead=ahead)
    await first.lock.acquire()
    taking = bench.waits(second)
    await second.settled()
    await second.step(DURATION - 0.5)
    assert not taking.done()
    await second.step(DURATION / 6)
    await taking
    assert second.lock.held
    spec = await bench.spec()
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 1)
    # The first wakes up late and finds out.
    await first.settled()
    await first.step(DURATION / 6)
    await until(lambda: bool(first.lost))
    assert "second has it" in first.lost[0] and not first.lock.held and len(first.lost) == 1


async def test_a_renewal_starts_the_wait_anew(bench: Bench) -> None:
    first, second = bench.process("first"), bench.process("second")
    await first.lock.acquire()
    taking = bench.waits(second)
    await second.settled()
    await first.settled()
    for _ in range(4):
        await second.step(DURATION / 2)
        await first.step(DURATION / 6)
    assert not taking.done() and first.lock.held


async def test_what_is_given_up_is_taken_at_once(bench: Bench) -> None:
    first, second = bench.process("first"), bench.process("second")
    await first.lock.acquire()
    taking = bench.waits(second)
    await second.settled()
    await first.lock.release()
    assert first.lock.remaining() == 0 and not first.lost
    await second.step(DURATION / 6)
    await taking
    assert second.lock.held


async def test_who_only_looks_sees_who_lives(bench: Bench) -> None:
    with pytest.raises(NotFound):
        await heartbeat(bench.client, bench.namespace, "vmscaler-operator")
    first = bench.process("first")
    await first.lock.acquire()
    await first.settled()
    assert await heartbeat(bench.client, bench.namespace, "vmscaler-operator") == Heartbeat(
        "first", first.clock.now(), timedelta(seconds=DURATION)
    )
    await first.lock.release()
    seen = await heartbeat(bench.client, bench.namespace, "vmscaler-operator")
    assert (seen.holder, seen.runs(first.clock.now())) == ("", False)
    await bench.patch({"spec": {"renewTime": None}})
    assert (await heartbeat(bench.client, bench.namespace, "vmscaler-operator")).renewed is None


async def test_of_many_one_has_it(bench: Bench) -> None:
    processes = [bench.process(f"p{number}") for number in range(6)]
    tasks = [bench.waits(process) for process in processes]
    for process, task in zip(processes, tasks, strict=True):
        await until(lambda process=process, task=task: process.clock.asleep or task.done())  # type: ignore[misc]
    assert sum(process.lock.held for process in processes) == 1


async def test_somebody_s_note_on_it_is_no_loss(bench: Bench) -> None:
    first = bench.process("first")
    await first.lock.acquire()
    await first.settled()
    await bench.patch({"metadata": {"annotations": {"note": "hands off"}}})
    await first.step(DURATION)
    assert first.lock.held and not first.lost


async def test_a_robbed_lease_is_lost_at_once(bench: Bench) -> None:
    first = bench.process("first")
    await first.lock.acquire()
    await first.settled()
    await bench.patch({"spec": {"holderIdentity": "robber"}})
    await first.step(DURATION / 6)
    await until(lambda: bool(first.lost))
    assert "robber has it" in first.lost[0] and first.lock.remaining() == 0


async def test_a_deleted_lease_is_put_back_unless_another_was_faster(bench: Bench) -> None:
    first, second = bench.process("first"), bench.process("second")
    await first.lock.acquire()
    await first.settled()
    await bench.cluster.kubectl("delete", "lease", "vmscaler-operator", "-n", bench.namespace)
    await first.step(DURATION / 6)
    assert first.lock.held and (await bench.spec())["holderIdentity"] == "first"
    await bench.cluster.kubectl("delete", "lease", "vmscaler-operator", "-n", bench.namespace)
    await second.lock.acquire()
    await first.step(DURATION / 6)
    await until(lambda: bool(first.lost))
    assert second.lock.held and not first.lock.held


async def test_an_api_server_that_is_gone_ends_it_before_others_may_begin(bench: Bench) -> None:
    first = bench.process("first")
    await first.lock.acquire()
    await first.settled()
    bench.client.configuration.host = "https://127.0.0.1:1"
    await first.step(DURATION * 2 / 3 - 0.5)
    assert first.lock.held and not first.lost
    await first.step(DURATION / 6)
    await until(lambda: bool(first.lost))
    assert first.clock.monotonic() - 1000 < DURATION
    assert not first.lock.held


def test_a_lease_counts_whole_seconds() -> None:
    with pytest.raises(ValueError, match="whole seconds"):
        LeaseLock(None, "a", "b", "c", Hand(), on_lost=print, duration=1.5)
