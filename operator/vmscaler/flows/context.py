"""What every flow is given by bootstrap: the ports, the clock, and a way to wake another object's reconcile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vmscaler.api.meta import Resource
from vmscaler.api.site import Site
from vmscaler.decide.job import JobTemplates
from vmscaler.flows.fences import Fences
from vmscaler.ports.clock import Clock
from vmscaler.ports.kube import Kube
from vmscaler.ports.probe import Probe
from vmscaler.ports.systems import Systems, SystemsOf


@dataclass(frozen=True)
class GatewayAddress:
    """The gateway as the build agents reach it, and the CA (PEM) that they verify it with."""

    url: str
    ca: str


@dataclass
class Context:
    """Handed to every flow."""

    kube: Kube
    systems_of: SystemsOf
    clock: Clock
    probe: Probe
    gateway: GatewayAddress
    templates: JobTemplates
    new_token: Callable[[], str]
    """A fresh secret: at least 256 bits of randomness, URL-safe."""
    poll: float = 2.0
    """Seconds between looks while something is waited for."""
    started_at: datetime | None = None
    decided: Callable[[str, bool, str], None] = field(default=lambda policy, accepted, reason: None)
    """decided(policy key, accepted, reason): told of each answer to a claim."""
    wake: Callable[[str, str | None, str], None] = field(default=lambda kind, namespace, name: None)
    """wake(kind, namespace, name): have this object reconciled soon."""
    copied_at: dict[str, datetime] = field(default_factory=dict)
    """By policy UID: when its credentials were last copied on the mere suspicion that they are wrong."""
    refused: dict[str, str] = field(default_factory=dict)
    """By policy UID: the generation of a job that Jenkins refused to make."""
    fences: Fences = field(default_factory=Fences)
    """Held by whoever looks at an instance and then acts on it."""

    async def systems(self, site: Site) -> Systems:
        """The clients of the site's systems."""
        return await self.systems_of.of(site)

    def wake_object(self, obj: Resource[Any, Any]) -> None:
        """Have the object reconciled soon."""
        self.wake(obj.KIND, obj.metadata.namespace, obj.metadata.name)
