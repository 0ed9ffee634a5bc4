"""The operator's life: gateway, health, work queue, resync, and kopf's watches, until SIGTERM or SIGINT. Called by entry/cli.py."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import threading
from datetime import datetime, timedelta

import kopf
import structlog
from aiohttp import web

from vmscaler.bootstrap import Assembly, Wrappers, assemble
from vmscaler.entry.gateway import make_gateway
from vmscaler.entry.handlers import make_registry, make_settings
from vmscaler.entry.health import Progress, make_health
from vmscaler.flows.resync import resync_forever
from vmscaler.ports.errors import Rejected
from vmscaler.settings import Settings

# Liveness: this many resync periods without one that ended, and no less than two minutes.
MISSED_RESYNCS = 5

# Seconds for which a connection may stand with no whole request on it (the library's default is an hour): whoever reaches the port could
# else take all file descriptors, and with them the operator's way to the API server.
IDLE = 30.0

log = structlog.get_logger()


async def run(settings: Settings, wrappers: Wrappers | None = None) -> None:
    """Be the operator until SIGTERM or SIGINT, also where one comes while it starts. Raises OutsideError where the start is not possible."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    # From the first moment on: before that it dies with the Lease in its hand, and as a container's process 1, for which the kernel drops a
    # signal without a handler, not at all.
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stopped.set)
    ended = asyncio.create_task(stopped.wait(), name="signal")
    operating = asyncio.create_task(_operate(settings, wrappers), name="operate")
    try:
        await asyncio.wait({operating, ended}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        operating.cancel()
        await asyncio.wait({operating})
    if not operating.cancelled():
        operating.result()


async def _operate(settings: Settings, wrappers: Wrappers | None) -> None:
    """Until it is cancelled. Raises OutsideError where the start is not possible, and what ended a part of it."""
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
            asyncio.create_task(parts.queue.run(), name="work-queue"),
            asyncio.create_task(resync_forever(parts.context, settings.resync_seconds, beat), name="resync"),
            asyncio.create_task(_watch(parts), name="watch"),
        ]
        stack.push_async_callback(_cancel, background)
        log.info("operating", namespace=settings.namespace, gateway=settings.gateway_url, resync_seconds=settings.resync_seconds)
        done, _ = await asyncio.wait(background, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
            raise RuntimeError(f"{task.get_name()} ended")


async def _watch(parts: Assembly) -> None:
    """kopf's watches, until cancelled. They live in a thread with a loop of its own: kopf cancels every task of its loop when it ends,
    and a busy reconcile never delays a watch. Raises what ends kopf (a watch that failed for good: facts of kopf, Stream errors)."""
    loop, stop = asyncio.get_running_loop(), threading.Event()
    configuration = parts.api_client.configuration

    def wake(kind: str, namespace: str | None, name: str) -> None:
        loop.call_soon_threadsafe(parts.queue.wake, kind, namespace, name)

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

    async def operate() -> None:
        registry, chosen = make_registry(wake, connection), make_settings()
        try:
            await kopf.operator(registry=registry, settings=chosen, clusterwide=True, standalone=True, stop_flag=stop)
        finally:
            # kopf waits for the flag in a thread, and its loop does not close before that thread ends: a kopf that ended by itself would never be missed.
            stop.set()

    watching = loop.run_in_executor(None, lambda: asyncio.run(operate()))
    try:
        await asyncio.shield(watching)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([watching], timeout=10)
        raise


async def _serve(
    stack: contextlib.AsyncExitStack, app: web.Application, host: str, port: int, ssl_context: ssl.SSLContext | None = None
) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0, keepalive_timeout=IDLE)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    try:
        await web.TCPSite(runner, host, port, ssl_context=ssl_context).start()
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
        said = f"cannot listen on {host} port {port} ({why}): VMSCALER_GATEWAY_BIND and _PORT, VMSCALER_HEALTH_BIND and _PORT say where"
        raise Rejected("vmscaler", "AddressNotUsable", said) from error


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=10)
