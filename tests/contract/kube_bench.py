"""The product's kinds in the control plane, and clients of it, for the suites that need them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from lab.controlplane import ControlPlane
from vmscaler.api.crd import KINDS
from vmscaler.api.iplease import IpLease, IpLeaseSpec, IpLeaseStatus, LeaseHolder
from vmscaler.api.meta import FINALIZER, GROUP, NameRef, ObjectMeta

ROOT = Path(__file__).resolve().parents[2]


_applied: set[str] = set()


async def apply_crds(cluster: ControlPlane) -> None:
    """Apply crds/ and wait until they are served; once for each cluster of a run."""
    if cluster.server in _applied:
        return
    await cluster.apply(ROOT / "crds")
    names = [f"crd/{kind.PLURAL}.{GROUP}" for kind in KINDS]
    await cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    # kubectl keeps what it discovered before the kinds were there.
    shown = await cluster.kubectl("api-resources", "--cached=false", f"--api-group={GROUP}", "-o", "name")
    assert len(shown.split()) == len(KINDS), shown
    _applied.add(cluster.server)


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
