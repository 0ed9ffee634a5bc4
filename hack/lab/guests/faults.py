"""What can be made to go wrong in guests: the set behind the control port's PUT /faults.

Called by `lab.guests.guest`, which waits for changes; the names are in `lab.guests.__main__`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from fnmatch import fnmatchcase

from lab.control import BadRequest
from lab.process import Json

KNOWN = {
    "neverBoot": "globs of VM names: powered on, but nothing comes up and the tools never run",
    "healthFails": "globs: /healthz answers 503; users are served",
    "hang": "globs: connections are taken, no request is answered, metrics neither",
    "die": "globs: the guest crashes: its servers are gone, the tools stop; it boots again when healed",
    "slow": "an object of glob to seconds that every answer takes longer, /healthz too",
}


class GuestFaults:
    """The faults that are on, by VM name."""

    def __init__(self) -> None:
        self._globs: dict[str, list[str]] = {}
        self._slow: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def apply(self, wanted: Json) -> None:
        """Replace the set. Raises BadRequest for a value of the wrong kind."""
        globs, slow = {}, {}
        for name, value in wanted.items():
            if name == "slow":
                if not isinstance(value, dict) or not all(isinstance(s, int | float) for s in value.values()):
                    raise BadRequest("slow: an object of glob to seconds is needed")
                slow = {glob: float(seconds) for glob, seconds in value.items()}
            elif not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
                raise BadRequest(f"{name}: a list of globs is needed")
            else:
                globs[name] = value
        self._globs, self._slow = globs, slow
        self._changed.set()
        self._changed = asyncio.Event()

    def on(self, fault: str, vm: str) -> bool:
        """Whether the fault is on for this VM."""
        return any(fnmatchcase(vm, glob) for glob in self._globs.get(fault, []))

    def delay(self, vm: str) -> float:
        """Seconds that each answer of this VM takes longer."""
        return max((seconds for glob, seconds in self._slow.items() if fnmatchcase(vm, glob)), default=0.0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the set of faults makes the condition true."""
        while not condition():
            await self._changed.wait()
