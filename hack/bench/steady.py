"""Nothing changes: what an operator does with N policies while everything is as it should be.

`python -m bench.steady [--count N] [--seconds N] [--resync N] [--repeat N] [--json]`. The exit status is 1 where the product writes
anything to the API server besides its Lease. The resync's period is short here (10 s; the product's default is 60 s), so that the window holds a few.
The base watches the same objects and never looks at them again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from bench.cluster import Stage, ready, stage, touched
from bench.operators import OperatorProcess, kopf_noop, usage, vmscaler
from bench.reconcile import BASE, Done, until_done
from bench.report import Report, arguments


async def measure(scene: Stage, operator: OperatorProcess, options: argparse.Namespace, done: Done, report: Report, arm: str) -> None:
    """One window."""
    count, seconds = options.count, options.seconds
    async with operator:
        await scene.create(0, count)
        await until_done(scene, operator, count, done)
        # What the last writes woke is done when a whole resync's reads are over.
        await asyncio.sleep(options.resync)
        before, server, requests = usage(operator.pid), scene.server(), await scene.requests()
        await asyncio.sleep(seconds)
        after, asked = usage(operator.pid), await scene.requests() - requests
        sample = {
            "writes": float(asked.writes),
            "Lease writes": float(asked.leases),
            "reads per object and minute": asked.reads / count * 60 / seconds,
            "CPU s per minute": (after.cpu - before.cpu) * 60 / seconds,
            "API server CPU s per minute": (scene.server().cpu - server.cpu) * 60 / seconds,
            "RSS MiB": after.rss,
        }
        report.add(arm, sample)
        report.must(asked.writes == 0, f"{arm}: {asked.writes} writes in {seconds} s in which nothing changed")
        await scene.remove_all()
        await until_done(scene, operator, 0, done)


async def run(options: argparse.Namespace) -> Report:
    """All windows."""
    report = Report("steady", base=BASE, ratios=("API server CPU s per minute", "RSS MiB"), options=options)
    with tempfile.TemporaryDirectory(prefix="vmscaler-bench-") as name:
        folder = Path(name)
        async with stage(folder) as scene:
            for _ in range(options.repeat):
                await measure(scene, kopf_noop(scene.plane.kubeconfig, folder), options, touched, report, BASE)
                product = vmscaler(scene.operator_kubeconfig, folder, pools=options.count, resync_seconds=options.resync)
                await measure(scene, product, options, ready, report, "vmscaler")
    report.notes.append(
        f"{options.count} policies, {options.seconds} s, resync each {options.resync} s; Leases: API server's and controllers' too"
    )
    return report


def main() -> int:
    """Run it."""
    parser = arguments(
        __doc__, count=(100, "policies"), seconds=(30, "the window"), resync=(10, "seconds between resyncs"), repeat=(1, "repetitions")
    )
    return asyncio.run(run(parser.parse_args())).finish()


if __name__ == "__main__":
    sys.exit(main())
