"""The coordination.k8s.io Lease that lets one operator process act.

Made by bootstrap; the Effects seam (adapters/effects.py) asks `remaining()` before each write.

    lock = LeaseLock(api_client, namespace, "vmscaler-operator", identity, clock, on_lost=stop)
    await lock.acquire()        # waits until it is ours, then renews in the background
    lock.remaining()            # seconds for which nobody else can have it
    await lock.release()        # the next one need not wait

Expiry is counted as client-go's leaderelection does: on this process's own monotonic clock, from the moment at which it saw the
record change (another's lease) or began to write it (ours). The times inside the record are for people; clocks of two hosts are
never compared. `remaining()` counts from before our write was sent, a watcher from after it saw it: so ours ends first.
Renewals do not pass the Effects seam, which asks the lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from kubernetes.aio.client import ApiClient

from vmscaler.adapters.kube.rest import Rest, segment
from vmscaler.api.meta import Json
from vmscaler.decide.heartbeat import Heartbeat
from vmscaler.ports.clock import Clock
from vmscaler.ports.errors import Conflict, NotFound, OutsideError

_log = structlog.get_logger()


async def heartbeat(api_client: ApiClient, namespace: str, name: str) -> Heartbeat:
    """The Lease as somebody sees it who only looks. Raises NotFound and what `Rest.call` raises."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{segment(namespace)}/leases/{segment(name)}"
    spec = (await Rest(api_client).call("GET", path)).get("spec") or {}
    renewed: datetime | None = None
    with contextlib.suppress(ValueError):
        renewed = datetime.fromisoformat(str(spec.get("renewTime")))
    return Heartbeat(str(spec.get("holderIdentity") or ""), renewed, timedelta(seconds=int(spec.get("leaseDurationSeconds") or 0)))


class LeaseLock:
    """Held by this process or not. `on_lost(reason)` is called once, when it was held and cannot be relied upon any more."""

    def __init__(
        self,
        api_client: ApiClient,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        *,
        on_lost: Callable[[str], None],
        duration: float = 15.0,
        renew_every: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`identity` must be this process's alone (a restarted one is another). `duration` and `renew_every`: seconds;
        renewed every sixth of the duration; given up as lost when two thirds passed without a renewal, so that calls that
        are under way end before anybody else begins.
        """
        if int(duration) != duration or duration < 1:
            raise ValueError("a Lease counts in whole seconds")
        self._rest = Rest(api_client)
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{segment(namespace)}/leases"
        self._path = f"{self._collection}/{segment(name)}"
        self._name, self._identity, self._clock, self._on_lost = name, identity, clock, on_lost
        self._duration = duration
        self._give_up = duration * 2 / 3
        self._every = renew_every or duration / 6
        self._monotonic = monotonic
        self._held_from: float | None = None
        self._seen: Json = {}
        self._seen_at = 0.0
        self._version: str | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._written: asyncio.Task[Json] | None = None
        self._answered = False

    @property
    def held(self) -> bool:
        """Whether this process may act now."""
        return self.remaining() > 0

    def remaining(self) -> float:
        """Seconds for which nobody else can hold it; 0 when it is not ours."""
        if self._held_from is None:
            return 0.0
        return max(0.0, self._held_from + self._duration - self._monotonic())

    async def acquire(self) -> None:
        """Wait until it is ours and keep it renewed from then on. Trouble with the API server is waited out."""
        if self._renewal is not None:
            raise RuntimeError("a lease is acquired once")
        while True:
            try:
                if await self._try():
                    break
            except OutsideError as error:
                _log.warning("lease not read or written", lease=self._name, error=str(error))
            await self._clock.sleep(self._every)
        _log.info("lease acquired", lease=self._name, identity=self._identity)
        self._renewal = asyncio.create_task(self._renew(), name="lease")

    async def release(self) -> None:
        """Stop renewing and give it up, so that the next process need not wait. Never raises for outside trouble."""
        if self._renewal is not None:
            self._renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewal
        if self._written is None:
            return
        self._held_from = None
        await asyncio.wait({self._written})
        with contextlib.suppress(OutsideError):
            if not self._answered:
                self._observe(await self._rest.call("GET", self._path, timeout=self._limit()))
            if self._seen.get("holderIdentity") == self._identity:
                await self._put({**self._seen, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()})

    async def _renew(self) -> None:
        while True:
            await self._clock.sleep(self._every)
            reason = "it was not renewed in time"
            try:
                if not await self._try():
                    reason = f"{self._seen.get('holderIdentity') or 'somebody'} has it"
                    return self._lose(reason)
            except OutsideError as error:
                _log.warning("lease not renewed", lease=self._name, error=str(error), remaining=round(self.remaining(), 1))
                reason = str(error)
            if self.remaining() <= self._duration - self._give_up:
                return self._lose(reason)

    def _lose(self, reason: str) -> None:
        self._held_from = None
        _log.error("lease lost", lease=self._name, identity=self._identity, reason=reason)
        self._on_lost(reason)

    async def _try(self) -> bool:
        """One attempt to take or renew it. False: somebody else has it, or was faster."""
        try:
            if self._version is None or self._seen.get("holderIdentity") != self._identity:
                self._observe(await self._rest.call("GET", self._path, timeout=self._limit()))
        except NotFound:
            return await self._create()
        holder = self._seen.get("holderIdentity")
        if holder and holder != self._identity and self._monotonic() < self._seen_at + self._others_duration():
            return False
        try:
            return await self._take()
        except (Conflict, NotFound):
            # Somebody wrote it: look who has it. It may be ours all the same (an answer that was lost, or an annotation).
            self._version = None
            with contextlib.suppress(NotFound):
                self._observe(await self._rest.call("GET", self._path, timeout=self._limit()))
            return self._seen.get("holderIdentity") == self._identity and self._version is not None and await self._take()

    async def _take(self) -> bool:
        mine = self._seen.get("holderIdentity") == self._identity
        now = self._now()
        transitions = int(self._seen.get("leaseTransitions") or 0)
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._duration),
            "acquireTime": self._seen.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": transitions if mine else transitions + 1,
        }
        began = self._monotonic()
        await self._put(spec)
        self._held_from = began
        return True

    async def _create(self) -> bool:
        now = self._now()
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._duration),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        began = self._monotonic()
        try:
            await self._write("POST", self._collection, self._body(spec))
        except Conflict:
            return False
        self._held_from = began
        return True

    async def _put(self, spec: Json) -> None:
        body = self._body(spec)
        body["metadata"]["resourceVersion"] = self._version
        await self._write("PUT", self._path, body)

    async def _write(self, method: str, path: str, body: Json) -> None:
        """Where who asks is cancelled, it comes to its end all the same: `release` must know who has the Lease then."""
        self._answered = False
        self._written = asyncio.create_task(self._rest.call(method, path, body=body, timeout=self._limit()))
        self._written.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._observe(await asyncio.shield(self._written))
        self._answered = True

    def _body(self, spec: Json) -> dict[str, Any]:
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self._name}, "spec": spec}

    def _observe(self, lease: Json) -> None:
        spec = lease.get("spec") or {}
        if spec != self._seen or self._version is None:
            # Any change of the record restarts the wait: somebody is alive.
            if spec != self._seen:
                self._seen_at = self._monotonic()
            self._seen = spec
        self._version = lease["metadata"]["resourceVersion"]

    def _others_duration(self) -> float:
        # The longer of the two: a holder with longer patience than ours may still act.
        return max(float(self._seen.get("leaseDurationSeconds") or 0), self._duration)

    def _limit(self) -> float:
        return max(1.0, self._duration / 3)

    def _now(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
