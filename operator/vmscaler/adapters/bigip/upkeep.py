"""What has to follow writes: saving the configuration, and synchronising it to the group. Called by `client` within its turn to write.

Each write is a batch of one. It is followed by `save sys config`, so that a reboot does not undo it (the two writes of a drain excepted,
which the removal after them outlives), and by a config-sync where there is a failover group that does not synchronise by itself.
What failed, or whose write's answer was lost, stays owed: the next call that may write makes up for it. What an earlier process owed is
not known here, so `persist` does both once in any case.
"""

from __future__ import annotations

from vmscaler.adapters.bigip import shapes
from vmscaler.adapters.bigip.unit import Unit
from vmscaler.ports.bigip import SYSTEM
from vmscaler.ports.effects import Effects


class Upkeep:
    """Saves and synchronises what is owed, through the effects seam."""

    def __init__(self, effects: Effects, *, save_timeout: float) -> None:
        """`save_timeout` in seconds."""
        self._effects = effects
        self._save_timeout = save_timeout
        self._save = self._sync = False
        self._saved = self._synced = False  # by this process, ever

    def owe(self, *, save: bool = True) -> None:
        """A write is about to be tried; called before it, since its answer may be lost."""
        self._save = self._save or save
        self._sync = True

    @property
    def doubtful(self) -> bool:
        """Whether anything is owed, or might be by an earlier process."""
        return self._save or self._sync or not (self._saved and self._synced)

    async def persist(self, unit: Unit) -> None:
        """Until nothing is doubtful. Raises as `settle`."""
        self._save = self._save or not self._saved
        self._sync = self._sync or not self._synced
        await self.settle(unit)

    async def settle(self, unit: Unit) -> None:
        """Raises Retryable, Untrusted, Rejected(BigIpRefused), and what failed stays owed."""
        if self._save:
            body = {"command": "save"}
            await self._effects.write(
                SYSTEM,
                "config.save",
                unit.host,
                lambda: unit.call("POST", "/mgmt/tm/sys/config", "saving the configuration", body, timeout=self._save_timeout),
            )
            self._save, self._saved = False, True
        if self._sync:
            group = await _group(unit)
            if group is not None:
                run = {"command": "run", "utilCmdArgs": f"config-sync to-group {group}"}
                await self._effects.write(
                    SYSTEM, "config.sync", group, lambda: unit.call("POST", "/mgmt/tm/cm", f"the config-sync to {group}", run)
                )
            self._sync, self._synced = False, True


async def _group(unit: Unit) -> str | None:
    """The device group to synchronise to, if there is one."""
    what = f"the device group of {unit.host}"
    if shapes.read(shapes.standalone, await unit.get("/mgmt/tm/cm/sync-status", what), what):
        return None
    return shapes.read(shapes.group_to_sync, await unit.get("/mgmt/tm/cm/device-group", what), what)
