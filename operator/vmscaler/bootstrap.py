"""The one place that joins ports to adapters: settings in, a ready Assembly out. Called by entry/run.py and entry/cli.py.

    settings -> API server -> Lease -> certificate -> systems -> flows' context, work queue, step runner

It accepts wrappers round the effects seam and the systems, so that fault injection lives outside the product. On loss of the Lease the
process ends at once: somebody else may act.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from vmscaler.adapters.clock import SystemClock
from vmscaler.adapters.effects import LeasedEffects
from vmscaler.adapters.gateway_certificate import GatewayCertificate, ensure_certificate
from vmscaler.adapters.jenkins.templates import load_templates
from vmscaler.adapters.kube import KubeClient, LeaseLock, from_kubeconfig, heartbeat, in_cluster
from vmscaler.adapters.metrics import Metrics
from vmscaler.adapters.network.probe import NetworkProbe
from vmscaler.adapters.systems import SiteSystems
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.iplease import IpLease
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.decide.heartbeat import Heartbeat
from vmscaler.flows.context import Context, GatewayAddress
from vmscaler.flows.instance import reconcile_instance
from vmscaler.flows.lease import reconcile_lease
from vmscaler.flows.policy import reconcile_policy
from vmscaler.flows.runner import StepRunner
from vmscaler.flows.settle import settle
from vmscaler.flows.site import reconcile_site
from vmscaler.flows.template import reconcile_template
from vmscaler.flows.workqueue import Reconcile, WorkQueue
from vmscaler.ports.clock import Clock
from vmscaler.ports.effects import Effects
from vmscaler.ports.kube import Kube
from vmscaler.ports.systems import Systems
from vmscaler.settings import Settings

LEASE = "vmscaler-operator"
LOST_LEASE_EXIT = 3

log = structlog.get_logger()


@dataclass(frozen=True)
class Wrappers:
    """What may be put round the product's seams from outside (hack/lab): the identity by default."""

    effects: Callable[[Effects], Effects] = lambda effects: effects
    systems: Callable[[Systems], Systems] = lambda systems: systems


@dataclass(frozen=True)
class Assembly:
    """Everything joined; entry/run.py makes it live."""

    api_client: Any
    lease: LeaseLock
    metrics: Metrics
    clock: Clock
    certificate: GatewayCertificate
    context: Context
    queue: WorkQueue
    runner: StepRunner


@contextlib.asynccontextmanager
async def assemble(settings: Settings, wrappers: Wrappers | None = None) -> AsyncIterator[Assembly]:
    """Take the Lease (waiting for it) and join all parts; on leaving, steps stop, clients log out and the Lease is released.

    Raises OutsideError where the start is not possible.
    """
    wrappers = wrappers or Wrappers()
    clock, metrics = SystemClock(), Metrics()
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(api_client(settings))
        lease = LeaseLock(client, settings.namespace, LEASE, _identity(), clock, on_lost=_end_at_once, duration=settings.lease_seconds)
        log.info("waiting for the Lease", namespace=settings.namespace, name=LEASE)
        stack.push_async_callback(lease.release)
        await lease.acquire()
        metrics.lease_held.set(1)
        effects = wrappers.effects(LeasedEffects(lease.remaining, metrics))
        kube = KubeClient(client, settings.namespace, effects, clock)
        systems = SiteSystems(kube, effects, wrappers.systems)
        stack.push_async_callback(systems.close)
        certificate = await ensure_certificate(kube, settings.gateway_secret, settings.gateway_url, clock.now())
        ctx = Context(
            kube=kube,
            systems_of=systems,
            clock=clock,
            probe=NetworkProbe(),
            gateway=GatewayAddress(settings.gateway_url, certificate.ca),
            templates=load_templates(settings.jenkins_dir),
            new_token=partial(secrets.token_urlsafe, 32),
            poll=settings.poll_seconds,
            started_at=clock.now(),
        )
        queue = WorkQueue(reconcilers(ctx), observe=_observer(metrics))
        ctx.wake = queue.wake
        ctx.decided = _decided(metrics)
        metrics.queue_depth.set_function(lambda: queue.depth)
        runner = StepRunner(ctx, over=lambda step, state: metrics.steps.labels(step, state).inc())
        stack.push_async_callback(runner.stop)
        yield Assembly(client, lease, metrics, clock, certificate, ctx, queue, runner)


def reconcilers(ctx: Context) -> dict[str, Reconcile]:
    """kind -> reconcile(namespace, name)."""
    return {
        Site.KIND: lambda namespace, name: reconcile_site(ctx, name),
        VmTemplate.KIND: lambda namespace, name: reconcile_template(ctx, namespace or "", name),
        AutoscalingPolicy.KIND: lambda namespace, name: reconcile_policy(ctx, namespace or "", name),
        ScaleOutEvent.KIND: lambda namespace, name: settle(ctx, namespace or "", name),
        VmInstance.KIND: lambda namespace, name: reconcile_instance(ctx, namespace or "", name),
        IpLease.KIND: lambda namespace, name: reconcile_lease(ctx, name),
    }


@contextlib.asynccontextmanager
async def api_client(settings: Settings) -> AsyncIterator[Any]:
    """The client of the API server: from the kubeconfig that the settings name, else the pod's own. Raises Rejected."""
    if settings.kubeconfig is not None:
        client = await from_kubeconfig(settings.kubeconfig)
    else:
        client = in_cluster(settings.kubernetes_service_host, settings.kubernetes_service_port)
    try:
        yield client
    finally:
        await client.close()


@dataclass(frozen=True)
class Reader:
    """What the commands that only read are given; `heartbeat` takes the operator's namespace, and raises OutsideError."""

    kube: Kube
    clock: Clock
    heartbeat: Callable[[str], Awaitable[Heartbeat]]


@contextlib.asynccontextmanager
async def reader(kubeconfig: Path, context: str | None) -> AsyncIterator[Reader]:
    """For the commands that only read: no Lease, and a seam that refuses every write. Raises Rejected(KubeconfigInvalid)."""
    client = await from_kubeconfig(kubeconfig, context)
    try:
        clock = SystemClock()
        kube = KubeClient(client, "", LeasedEffects(lambda: 0.0, Metrics()), clock)
        yield Reader(kube, clock, lambda namespace: heartbeat(client, namespace, LEASE))
    finally:
        await client.close()


def _decided(metrics: Metrics) -> Callable[[str, bool, str], None]:
    def decided(policy: str, accepted: bool, reason: str) -> None:
        namespace, _, name = policy.partition("/")
        metrics.decisions.labels(namespace, name, str(accepted).lower(), reason).inc()

    return decided


def _observer(metrics: Metrics) -> Callable[[str, str, float], None]:
    def observe(kind: str, outcome: str, seconds: float) -> None:
        metrics.reconciles.labels(kind, outcome).inc()
        metrics.reconcile_seconds.labels(kind).observe(seconds)

    return observe


def _identity() -> str:
    """Unique for each process, so that no two ever take each other's Lease for their own."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def _end_at_once(reason: str) -> None:
    """The Lease is lost: another process may act now, so this one ends without waiting for anything."""
    log.error("the operator's Lease is lost: ending at once", reason=reason)
    os._exit(LOST_LEASE_EXIT)
