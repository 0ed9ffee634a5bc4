"""The product's kinds in the control plane, and clients of it, for the suites that need them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from tests.fakes.effects import DirectEffects

from lab.controlplane import Cluster, ControlPlane
from vmscaler.api.crd import KINDS
from vmscaler.api.iplease import IpLease, IpLeaseSpec, IpLeaseStatus, LeaseHolder
from vmscaler.api.meta import FINALIZER, GROUP, NameRef, ObjectMeta
from vmscaler.api.vmtemplate import VmTemplate, VmTemplateSpec, VmTemplateStatus
from vmscaler.ports.errors import Retryable
from vmscaler.ports.kube import Kube

ROOT = Path(__file__).resolve().parents[2]
PATH = "/DC0/vm/templates/tmpl-web"
"""Of the templates that `Bench` makes."""
T = TypeVar("T")


_applied: set[str] = set()


async def apply_crds(cluster: ControlPlane) -> None:
    """Apply crds/ and wait until they are served; once for each cluster of a run."""
    if cluster.server in _applied:
        return
    await cluster.apply(ROOT / "crds")
    names = [f"crd/{kind.PLURAL}.{GROUP}" for kind in KINDS]
    await cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names, timeout=90)
    await served(cluster, GROUP, len(KINDS))
    _applied.add(cluster.server)


async def served(cluster: Cluster, group: str, kinds: int) -> None:
    """Wait until kubectl finds this many kinds in the group: the API server lists them a moment after they are Established, one by one,
    and kubectl keeps what it discovered before."""

    async def listed() -> bool:
        shown = await cluster.kubectl("api-resources", "--cached=false", f"--api-group={group}", "-o", "name")
        return len(shown.split()) >= kinds

    await eventually(listed, f"{kinds} kinds of {group} are served")


async def eventually(check: Callable[[], Awaitable[bool] | bool], what: str, seconds: float = 90.0) -> None:
    """Wait for a condition. kube-controller-manager takes up to 30 s for new kinds, and ours a few; a busy machine has its time."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                answer = check()
                if answer if isinstance(answer, bool) else await answer:
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"not within {seconds} s: {what}")


class RealClock:
    """Implements vmscaler.ports.clock.Clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def lease(site: str, last: int = 7, *, labels: dict[str, str] | None = None, finalizer: bool = False) -> IpLease:
    """A lease of the site for 192.0.2.<last>."""
    address = f"192.0.2.{last}"
    meta = ObjectMeta(name=f"{site}.front.{address}", labels=labels or {}, finalizers=[FINALIZER] if finalizer else [])
    holder = LeaseHolder(namespace="acme", name="web-1", uid="0b1c")
    spec = IpLeaseSpec(site_ref=NameRef(name=site), network="front", address=address, holder=holder)
    return IpLease(metadata=meta, spec=spec, status=IpLeaseStatus())


class Recording(DirectEffects):
    """DirectEffects that can refuse, as the lease's seam does."""

    refuse = False

    async def write(self, system: str, operation: str, target: str, call: Callable[[], Awaitable[T]]) -> T:
        if self.refuse:
            raise Retryable(system, "NoLease", "not the one that acts")
        return await super().write(system, operation, target, call)


@dataclass
class Bench:
    kube: Kube
    effects: Recording
    namespace: str
    count_of: Callable[[str], Awaitable[int]]
    """How often an Event with this reason was recorded."""

    @property
    def site(self) -> str:
        """Leases are cluster-scoped: a site of the test's own."""
        return self.namespace

    def template(self, name: str = "web", namespace: str | None = None) -> VmTemplate:
        meta = ObjectMeta(name=name, namespace=namespace or self.namespace)
        return VmTemplate(metadata=meta, spec=VmTemplateSpec(inventory_path=PATH), status=VmTemplateStatus())
