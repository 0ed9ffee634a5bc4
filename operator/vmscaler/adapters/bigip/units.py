"""Which unit to talk to: writes go to the active one, found anew before each; so do reads, found at most every few seconds.

Monitors and connections are the active unit's own, so a standby unit's figures would be wrong. A single unit that says that it is
standby is not written to either: the other one's next synchronisation would undo it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from vmscaler.adapters.bigip import shapes
from vmscaler.adapters.bigip.unit import Unit
from vmscaler.ports.bigip import SYSTEM
from vmscaler.ports.errors import OutsideError, Retryable, Untrusted

_BELIEVED_SECONDS = 5.0


class Units:
    """One unit, or a pair."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = list(units)
        self._active: Unit | None = None
        self._seen_at = float("-inf")

    @property
    def all(self) -> tuple[Unit, ...]:
        """Every unit, the active one first as far as it is known."""
        return tuple(sorted(self._units, key=lambda unit: unit is not self._active))

    async def active(self) -> Unit:
        """The unit that says of itself that it is active, asked now. Raises Retryable(NoActiveUnit | ...), Untrusted."""
        errors: list[OutsideError] = []
        seen: list[str] = []
        for unit in self.all:
            try:
                answer = await unit.get("/mgmt/tm/cm/device", f"the state of {unit.host}")
                state = shapes.read(shapes.failover_state, answer, f"the state of {unit.host}")
            except OutsideError as error:
                errors.append(error)
                continue
            if state == "active":
                self._active, self._seen_at = unit, asyncio.get_running_loop().time()
                return unit
            seen.append(f"{unit.host} is {state}")
        self._active = None
        if errors:  # an untrusted unit is the one that somebody must mend
            raise next((error for error in errors if isinstance(error, Untrusted)), errors[0])
        hint = "wait for the failover" if len(self._units) > 1 else "name the other unit in spec.bigip.urls too"
        raise Retryable(SYSTEM, "NoActiveUnit", f"{' and '.join(seen)}, and writes go to the active unit only: {hint}")

    async def to_read(self) -> Unit:
        """The unit to read from. Raises as `active`; a single unit is not asked."""
        if len(self._units) == 1:
            return self._units[0]
        if self._active is not None and asyncio.get_running_loop().time() < self._seen_at + _BELIEVED_SECONDS:
            return self._active
        return await self.active()

    def doubt(self) -> None:
        """A read has failed: ask again who is active before the next one."""
        self._seen_at = float("-inf")
