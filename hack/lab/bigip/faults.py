"""What can be made to go wrong. `PUT /faults` sets the whole set; a fault is `true`, a bare value, or an object of

`value` what it needs (see KNOWN), `count` how many requests it strikes, `for_s` how many seconds it lasts,
`methods` and `path` (a part of the path) which requests it strikes. Without count and for_s it lasts until healed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import Json

KNOWN = {
    "http_503": "503 with the page 'Configuration Utility restarting...'",
    "unregistered_404": "404 'Public URI path not registered', for /mgmt/tm",
    "mcpd_500": "500 'The connection to mcpd has been lost, try again.', for /mgmt/tm",
    "async_task_503": "503 'There is an active asynchronous task executing.', for /mgmt/tm",
    "token_expired": "401 for a request with a token, which has then expired",
    "latency_s": "value: seconds before each answer",
    "hang": "no answer; the connection is cut when the fault is healed",
    "refuse_writes": "403 'Authorization failed', for writes below /mgmt/tm",
    "lost_answer": "a write below /mgmt/tm is done, then the connection is cut instead of an answer",
    "standby": "the device says that it is standby (traffic goes on)",
    "member_stuck": "value: member or list of members (full path, or ADDRESS:PORT) that the monitors never see up",
    "certificate": "value: {certificate, key}, PEM: another certificate for new connections; the open ones are cut",
    "restart": "for_s needed: connections are cut, tokens forgotten, then 503 as http_503; configuration and traffic stay",
}
_NEEDS_VALUE = {"latency_s", "member_stuck", "certificate"}


@dataclass
class Fault:
    """One fault in force; `until` in seconds of the loop's clock."""

    name: str
    value: Any = None
    count: int | None = None
    until: float | None = None
    methods: frozenset[str] = frozenset()
    path: str = ""


def parse(spec: object, now: float) -> dict[str, Fault]:
    """The set of a PUT. Raises ValueError with what is wrong and what is known."""
    if not isinstance(spec, dict):
        raise ValueError("an object of faults by name is needed")
    if unknown := sorted(set(spec) - set(KNOWN)):
        raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(KNOWN)}")
    return {name: _parse_one(name, given, now) for name, given in spec.items() if given not in (None, False)}


def _parse_one(name: str, given: Any, now: float) -> Fault:
    options = {"value", "count", "for_s", "methods", "path"}
    asked: Json = given if isinstance(given, dict) and set(given) <= options else {"value": given}
    value, count, lasts = asked.get("value"), asked.get("count"), asked.get("for_s")
    if name in _NEEDS_VALUE and (value is None or value is True):
        raise ValueError(f"{name} needs a value: {KNOWN[name]}")
    if name == "certificate" and not (isinstance(value, dict) and {"certificate", "key"} <= set(value)):
        raise ValueError(f"certificate: {KNOWN[name]}")
    if name == "latency_s" and not isinstance(value, (int, float)):
        raise ValueError("latency_s is a number of seconds")
    if count is not None and (not isinstance(count, int) or count < 1):
        raise ValueError(f"{name}: count is a number from 1")
    if lasts is not None and not isinstance(lasts, (int, float)):
        raise ValueError(f"{name}: for_s is a number of seconds")
    if name == "restart" and lasts is None:
        raise ValueError("restart needs for_s")
    until = None if lasts is None else now + lasts
    return Fault(name, value, count, until, frozenset(asked.get("methods") or ()), str(asked.get("path") or ""))


class Faults:
    """The faults in force."""

    def __init__(self) -> None:
        self._set: dict[str, Fault] = {}
        self._changed = asyncio.Event()
        self.listeners: list[Callable[[], None]] = []

    def replace(self, spec: object) -> None:
        """Put the set of a PUT in place. Raises ValueError, and then nothing changes."""
        parsed = parse(spec, asyncio.get_running_loop().time())
        self._set = parsed
        self._changed.set()
        self._changed = asyncio.Event()
        for listener in self.listeners:
            listener()

    def get(self, name: str) -> Fault | None:
        """The fault if it is in force, without using it up."""
        fault = self._set.get(name)
        if fault is None or fault.count == 0:
            return None
        if fault.until is not None and asyncio.get_running_loop().time() >= fault.until:
            return None
        return fault

    def strike(self, name: str, method: str, path: str) -> Fault | None:
        """The fault if it is in force for this request; uses up one of its count."""
        fault = self.get(name)
        if fault is None or (fault.methods and method not in fault.methods) or fault.path not in path:
            return None
        if fault.count is not None:
            fault.count -= 1
        return fault

    async def until_changed(self, fault: Fault) -> None:
        """Wait until the set is replaced, or the fault's time is over."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None if fault.until is None else max(0.0, fault.until - loop.time())):
                await self._changed.wait()
        except TimeoutError:
            return

    def stuck(self, member: str) -> bool:
        """Whether the monitors may not see this member (full path) up."""
        fault = self.get("member_stuck")
        if fault is None:
            return False
        wanted = [fault.value] if isinstance(fault.value, str) else list(fault.value)
        return member in wanted or member.rsplit("/", 1)[-1] in wanted

    def render(self) -> Json:
        """The faults in force, with what is left of them; a certificate's key is not shown."""
        shown: Json = {}
        loop = asyncio.get_running_loop()
        for name in self._set:
            if (fault := self.get(name)) is None:
                continue
            shown[name] = {
                **({"value": fault.value} if name != "certificate" and fault.value not in (None, True) else {}),
                **({"count": fault.count} if fault.count is not None else {}),
                **({"for_s": round(fault.until - loop.time(), 3)} if fault.until is not None else {}),
                **({"methods": sorted(fault.methods)} if fault.methods else {}),
                **({"path": fault.path} if fault.path else {}),
            }
        return shown
