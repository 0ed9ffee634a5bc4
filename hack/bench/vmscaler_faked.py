"""The product's whole process, with nothing but the outside systems in memory: `python -m bench.vmscaler_faked`.

VMSCALER_* are the product's settings. BENCH_POOLS: how many pools there are; BENCH_SPLICING=1: see `bench.outside`. Watch, work queue,
reconcilers, client, Lease, gateway, logs are the product's own; the fakes go in through the seam that bootstrap has for it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from bench.outside import outside
from lab.process import die_with_parent
from vmscaler import settings
from vmscaler.bootstrap import Wrappers
from vmscaler.entry.logs import configure_logs
from vmscaler.entry.run import run
from vmscaler.ports.effects import Effects
from vmscaler.ports.systems import Systems


def main() -> None:
    """Run until stopped."""
    die_with_parent()
    chosen = settings.from_environment()
    configure_logs(chosen.log_level, chosen.log_format)
    kept: dict[str, Any] = {}

    def effects(inner: Effects) -> Effects:
        kept["effects"] = inner
        return inner

    def systems(_: Systems) -> Systems:
        if "systems" not in kept:
            pools, splicing = int(os.environ["BENCH_POOLS"]), os.environ.get("BENCH_SPLICING") == "1"
            kept["systems"] = outside(kept["effects"], pools=pools, splicing=splicing)
        made: Systems = kept["systems"]
        return made

    asyncio.run(run(chosen, Wrappers(effects=effects, systems=systems)))


if __name__ == "__main__":
    main()
