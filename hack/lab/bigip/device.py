"""The device as a whole: the configuration, who may change it and how, and what follows from a change.

`lab.bigip.rest` asks it; `lab.bigip.control` looks into it. Every write goes through `write` or a transaction: a copy of
the store is changed, and put in place only when all of it has succeeded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from . import members, monitors, nodes, pools, stats, system, virtuals
from .balancer import Balancer
from .config import Settings
from .errors import Json, config_error, not_registered
from .faults import Faults
from .names import BadNameError
from .prober import Prober
from .routing import Call, Router
from .tokens import Tokens
from .transactions import Command, Transactions


class Device:
    """Configuration, faults, monitors and traffic of one BIG-IP. Make it inside a running event loop."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        """`clock` gives seconds since the epoch, for tokens."""
        self.settings = settings
        self.faults = Faults()
        self.system = system.System(settings.hostname, settings.device_group, settings.peer)
        self.store = settings.store
        self.system.synced = self.system.saved = self.store.generation
        self.tokens = Tokens(settings.users, clock, settings.token_timeout)
        self.transactions = Transactions(time.monotonic, self._apply, settings.version, int(clock()))
        self.balancer = Balancer()
        self.prober = Prober(self.faults.stuck, self.balancer.went_down)
        self._router = Router()
        for part in (pools, members, nodes, monitors, virtuals, stats):
            part.add_routes(self._router)
        system.add_routes(self._router, self.system)

    async def start(self) -> None:
        """Begin to probe and to listen; a virtual server that asked for port 0 has its port in the store afterwards."""
        self.prober.reconcile(None, self.store)
        self.balancer.reconcile(self.store)
        await self.balancer.settle()
        for path, listener in self.balancer.listeners.items():
            virtual = self.store.virtuals[path]
            virtual.destination = virtual.destination.rpartition(":")[0] + f":{listener.port}"

    async def close(self) -> None:
        """Stop."""
        await self.prober.close()
        await self.balancer.close()

    def read(self, path: tuple[str, ...], query: dict[str, str]) -> Json | None:
        """A GET. Raises ApiError."""
        self.system.standby = self.faults.get("standby") is not None
        return self._run("GET", path, self._call(query, {}))

    def write(self, method: str, path: tuple[str, ...], query: dict[str, str], body: Json) -> Json | None:
        """Any other method, at once. Raises ApiError; what `members.AppliedError` carries is raised after the change."""
        call = replace(self._call(query, body), store=self.store.copy())
        try:
            answer = self._run(method, path, call)
        except members.AppliedError as applied:
            self._put_in_place(call)
            raise applied.error from applied
        self._put_in_place(call)
        return answer

    def _apply(self, commands: list[Command], commit: bool) -> None:
        call = replace(self._call({}, {}), store=self.store.copy())
        for command in commands:
            try:
                self._run(command.method, command.path, replace(call, body=command.body))
            except members.AppliedError:
                continue
        if commit:
            self._put_in_place(call)

    def _call(self, query: dict[str, str], body: Json) -> Call:
        return Call(self.store, self.settings.version, query, body, self.settings.trailing_space)

    def _run(self, method: str, path: tuple[str, ...], call: Call) -> Json | None:
        found = self._router.find(method, path)
        if found is None:
            raise not_registered()
        handler, arguments = found
        try:
            return handler(call, *arguments)
        except BadNameError as error:
            raise config_error(400, f"01070734:3: Configuration error: {error}") from error

    def _put_in_place(self, call: Call) -> None:
        if call.store.generation == self.store.generation:
            return
        before, self.store = self.store, call.store
        self.prober.reconcile(before, self.store)
        self.balancer.reconcile(self.store)
