"""The control port: plain HTTP on loopback (hack/lab/README.md, "What a part is")."""

from __future__ import annotations

import json
import ssl
from collections import Counter

from aiohttp import web

from .device import Device
from .errors import Json
from .faults import KNOWN
from .model import session_of, state_of
from .rest import Audit


class Control:
    """`GET /status`, `GET /faults`, `PUT /faults`."""

    def __init__(self, device: Device, audit: Audit) -> None:
        self._device = device
        self._audit = audit

    def app(self) -> web.Application:
        """The application to serve."""
        app = web.Application()
        app.router.add_get("/status", self._get_status)
        app.router.add_get("/faults", self._get_faults)
        app.router.add_put("/faults", self._put_faults)
        return app

    async def _get_status(self, _: web.Request) -> web.Response:
        return web.json_response(self.status())

    async def _get_faults(self, _: web.Request) -> web.Response:
        return web.json_response(self._device.faults.render())

    async def _put_faults(self, request: web.Request) -> web.Response:
        try:
            self._device.faults.replace(json.loads(await request.read()))
        except (ValueError, ssl.SSLError) as error:
            if isinstance(error, ssl.SSLError):  # known only when the certificate is used
                self._device.faults.replace({})
            return web.json_response({"error": str(error), "known": KNOWN}, status=400)
        return web.json_response(self._device.faults.render())

    def status(self) -> Json:
        """Everything a test or a person wants to see at once."""
        device, store = self._device, self._device.store
        return {
            "hostname": device.settings.hostname,
            "version": device.settings.version,
            "pools": {path: self._pool(path) for path in store.pools},
            "nodes": {path: {"address": node.address, "session": node.session} for path, node in store.nodes.items()},
            "virtualServers": self._virtual_servers(),
            "tokens": Counter(token.user for token in device.tokens),
            "logins": self._audit.logins,
            "requests": self._audit.requests,
            "busy": self._audit.busy,
            "mostBusy": self._audit.most_busy,
            "generation": store.generation,
            "saved": device.system.saved == store.generation,
            "saves": device.system.saves,
            "syncs": device.system.syncs,
            "syncStatus": device.system.sync_status(store.generation),
            "faults": device.faults.render(),
            "audit": list(self._audit.writes),
        }

    def _pool(self, path: str) -> Json:
        store = self._device.store
        pool = store.pools[path]
        return {
            "monitor": pool.monitor,
            "serviceDownAction": pool.service_down_action,
            "members": {
                member.path: {
                    "address": store.nodes[member.node].address,
                    "port": member.port,
                    "session": session_of(pool, member),
                    "state": state_of(pool, member),
                    "health": str(member.live.health),
                    "curConns": len(member.live.connections),
                    "totConns": member.live.total,
                    "maxConns": member.live.most,
                }
                for member in pool.members.values()
            },
        }

    def _virtual_servers(self) -> Json:
        shown: Json = {}
        for path, virtual in self._device.store.virtuals.items():
            listener = self._device.balancer.listeners.get(path)
            shown[path] = {
                "destination": virtual.destination,
                "pool": virtual.pool,
                "listening": listener is not None and listener.server is not None,
                "error": "" if listener is None else listener.error,
                "curConns": 0 if listener is None else len(listener.clients),
                "totConns": 0 if listener is None else listener.total,
                "refused": 0 if listener is None else listener.refused,
            }
        return shown
