"""The operator's life: gateway, health, work queue, resync, and kopf's watches, until SIGTERM or SIGINT. Called by entry/cli.py."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import datetime, timedelta

import kopf
import structlog
from aiohttp import web

from vmscaler.bootstrap import Assembly, Wrappers, assemble
from vmscaler.entry.gateway import make_gateway
from vmscaler.entry.handlers import make_registry, make_settings
from vmscaler.entry.health import Progress, make_health
from vmscaler.flows.resync import resync_forever
from vmscaler.settings import Settings

# Liveness: this many resync periods without one that ended, and no less than two minutes.
MISSED_RESYNCS = 5

log = structlog.get_logger()


async def run(settings: Settings, wrappers: Wrappers | None = None) -> None:
    """Be the operator. Raises OutsideError where the start is not possible."""
    async with contextlib.AsyncExitStack() as stack:
        parts = await stack.enter_async_context(assemble(settings, wrappers))
        progress = Progress(started_at=parts.clock.now(), holds_lease=lambda: parts.lease.remaining() > 0)
        limit = timedelta(seconds=max(120.0, MISSED_RESYNCS * settings.resync_seconds))
        health = make_health(progress, parts.metrics.registry, parts.clock.now, limit)
        await _serve(stack, health, settings.health_bind, settings.health_port)
        gateway = make_gateway(parts.context, parts.runner, asyncio.get_running_loop().time)
        await _serve(stack, gateway, settings.gateway_bind, settings.gateway_port, parts.certificate.context())

        def beat(now: datetime) -> None:
            progress.resynced_at = now
            parts.metrics.resync_at.set(now.timestamp())

        background = [
            asyncio.create_task(parts.lease.keep(), name="lease"),
            asyncio.create_task(parts.queue.run(), name="work-queue"),
            asyncio.create_task(resync_forever(parts.context, settings.resync_seconds, beat), name="resync"),
        ]
        stack.push_async_callback(_cancel, background)
        log.info("operating", namespace=settings.namespace, gateway=settings.gateway_url, resync_seconds=settings.resync_seconds)
        await _watch(parts)


async def _watch(parts: Assembly) -> None:
    """kopf's watches until a signal: kopf takes SIGTERM and SIGINT."""
    configuration = parts.api_client.configuration

    async def connection() -> kopf.ConnectionInfo:
        # Asked again at a 401: a pod's token is rotated by the kubelet.
        token = configuration.api_key.get("BearerToken") or configuration.api_key.get("authorization") or ""
        return kopf.ConnectionInfo(
            server=configuration.host,
            ca_path=configuration.ssl_ca_cert,
            token=token.removeprefix("Bearer ") or None,
            certificate_path=configuration.cert_file,
            private_key_path=configuration.key_file,
        )

    await kopf.operator(
        registry=make_registry(parts.queue.wake, connection),
        settings=make_settings(),
        clusterwide=True,
        standalone=True,
    )


async def _serve(
    stack: contextlib.AsyncExitStack, app: web.Application, host: str, port: int, ssl_context: ssl.SSLContext | None = None
) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port, ssl_context=ssl_context).start()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=10)
