"""`python -m lab.bigip --config FILE`: see `lab.bigip` for the configuration and the ready record."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from lab.process import Json, Serving, serve_part

from .config import load
from .control import Control
from .device import Device
from .faults import Fault
from .rest import Rest
from .tls import Certificates

log = logging.getLogger("lab.bigip")


async def main(config: Json, serving: Serving) -> None:
    """Serve until stopped."""
    settings = load(config)
    device = Device(settings, time.time)  # noqa: TID251  the one clock of this part; tokens get it handed in
    certificates = Certificates(settings.certificate, settings.key)
    rest = Rest(device)
    control = Control(device, rest.audit)
    app = rest.app()
    app.middlewares.append(_certified(certificates))
    api = web.AppRunner(app, access_log=None, keepalive_timeout=120, shutdown_timeout=0.5)
    loopback = web.AppRunner(control.app(), access_log=None, shutdown_timeout=0.5)
    _follow_faults(device, api, certificates)
    await device.start()
    try:
        port = await _serve(api, settings.address, settings.port, certificates.context)
        control_port = await _serve(loopback, settings.address, settings.control_port, None)
        serving.ready(
            {
                "url": f"https://{settings.address}:{port}",
                "control": f"http://{settings.address}:{control_port}",
                "virtualServers": {
                    path: {"address": listener.address, "port": listener.port} for path, listener in device.balancer.listeners.items()
                },
            }
        )
        await serving.until_stopped()
    finally:
        device.faults.replace({})
        _cut(api)  # an idle client would not answer a polite end of TLS for half a minute
        await api.cleanup()
        await loopback.cleanup()
        await device.close()


def _cut(runner: web.AppRunner) -> None:
    for connection in runner.server.connections if runner.server is not None else []:
        if connection.transport is not None:
            connection.transport.abort()


def _certified(certificates: Certificates) -> Middleware:
    @web.middleware
    async def certified(request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        if transport is not None and certificates.shown_to(transport.get_extra_info("ssl_object")):
            return await handler(request)
        if transport is not None:
            transport.abort()
        return web.Response(status=500)

    return certified


async def _serve(runner: web.AppRunner, address: str, port: int, tls: ssl.SSLContext | None) -> int:
    await runner.setup()
    site = web.TCPSite(runner, address, port, ssl_context=tls)
    await site.start()
    bound: int = runner.addresses[0][1]
    return bound


def _follow_faults(device: Device, api: web.AppRunner, certificates: Certificates) -> None:
    """`certificate` and `restart` act on the server itself: at each change of the faults, and when their time is over."""
    restarted: Fault | None = None

    def follow() -> None:
        nonlocal restarted
        certificate, restart = device.faults.get("certificate"), device.faults.get("restart")
        if certificate is not None:
            if certificates.use(certificate.value["certificate"], certificate.value["key"]):
                _cut(api)
            if certificate.until is not None:
                asyncio.get_running_loop().call_at(certificate.until + 0.01, follow)
        elif certificates.restore():
            _cut(api)
        if restart is not None and restart is not restarted:
            restarted = restart
            log.info("restarting")
            device.tokens.forget_all()
            _cut(api)

    device.faults.listeners.append(follow)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    serve_part(main)
