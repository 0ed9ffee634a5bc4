"""What takes minutes on a new machine, once, and where it can be seen: the Go parts and the monitoring host's programs.

Called by the demo and `up` before a data centre is started in the background, which then finds all of it in the cache.
"""

from __future__ import annotations

import asyncio
import sys

from lab import controlplane, vcenter
from lab.gobuild import build
from lab.gobuild_progress import PlainLines
from lab.process import PartError
from lab.programs import find_sshd, monitoring_programs, say


async def prepare(*, plain: bool, own_cluster: bool = True) -> None:
    """Build and fetch what is missing; silent when nothing is. Raises GoError, PartError."""
    await asyncio.gather(_build(plain=plain, own_cluster=own_cluster), _fetch())


async def _build(*, plain: bool, own_cluster: bool) -> None:
    # One after the other: the Go tool uses every core by itself, and two bars on one screen overwrite each other.
    if own_cluster:
        await controlplane.binary(PlainLines("controlplane", sys.stderr) if plain else None)
    await build(vcenter.SOURCE, name="vcenter", progress=PlainLines("vcenter", sys.stderr) if plain else None)


async def _fetch() -> None:
    await monitoring_programs()
    try:
        await find_sshd()
    except PartError as error:
        say(f"{error}: the lab's stand-in serves instead")
