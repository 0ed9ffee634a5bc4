"""N policies are created: what the product costs, beside a kopf operator that does nothing but write one status field.

`python -m bench.reconcile [--count N] [--repeat N] [--splicing] [--json]`. A real API server and etcd with fsync; the product's whole
process with the outside systems in memory (`bench.vmscaler_faked`). Interleaved: one operator after the other, N new policies for each.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench.cluster import Stage, ready, stage, touched
from bench.operators import OperatorProcess, kopf_noop, usage, vmscaler
from bench.report import Report, arguments
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy

Done = Callable[[AutoscalingPolicy], bool]
BASE = "kopf no-op"
LONGEST = 600.0


async def until_done(scene: Stage, operator: OperatorProcess, count: int, done: Done) -> int:
    """Until `count` policies are done; how many list calls that took. Raises RuntimeError when the operator dies, TimeoutError."""
    looks = 0
    async with asyncio.timeout(LONGEST):
        while True:
            looks += 1
            found = await scene.policies()
            if len(found) == count and all(done(one) for one in found):
                return looks
            _ = operator.pid
            await asyncio.sleep(0.25)


async def measure(scene: Stage, operator: OperatorProcess, count: int, done: Done, report: Report, arm: str) -> None:
    """One repetition: a policy to warm up, then N, then all of them go."""
    async with operator:
        loop = asyncio.get_running_loop()
        await scene.create(count, 1)
        await until_done(scene, operator, 1, done)
        await scene.quiet()
        before, server = usage(operator.pid), scene.server()
        requests, began = await scene.requests(), loop.time()
        await scene.create(0, count)
        looks = await until_done(scene, operator, count + 1, done)
        wall = loop.time() - began
        await scene.quiet()
        after, asked = usage(operator.pid), await scene.requests() - requests
        sample = {
            "wall s": wall,
            "CPU s": after.cpu - before.cpu,
            "API server CPU s": scene.server().cpu - server.cpu,
            "writes per object": (asked.writes - count) / count,
            "reads per object": (asked.reads - looks) / count,
            "RSS MiB": after.rss,
            "RSS kB per object": (after.rss - before.rss) * 1024 / count,
        }
        began = loop.time()
        await scene.remove_all()
        await until_done(scene, operator, 0, done)
        report.add(arm, {**sample, "removal s": loop.time() - began})


async def run(options: argparse.Namespace) -> Report:
    """All repetitions."""
    report = Report("reconcile", base=BASE, ratios=("wall s", "CPU s", "API server CPU s", "writes per object", "RSS MiB"), options=options)
    with tempfile.TemporaryDirectory(prefix="vmscaler-bench-") as name:
        folder = Path(name)
        async with stage(folder) as scene:
            for _ in range(options.repeat):
                await measure(scene, kopf_noop(scene.plane.kubeconfig, folder), options.count, touched, report, BASE)
                for splicing in (False, True) if options.splicing else (False,):
                    product = vmscaler(scene.operator_kubeconfig, folder, pools=options.count + 1, resync_seconds=3600, splicing=splicing)
                    arm = "vmscaler, splicing" if splicing else "vmscaler"
                    await measure(scene, product, options.count, ready, report, arm)
    report.notes.append(f"{options.count} policies; requests as the API server counts them, without Leases and watches")
    return report


def main() -> int:
    """Run it."""
    parser = arguments(__doc__, count=(100, "policies"), repeat=(3, "repetitions"))
    parser.add_argument("--splicing", action="store_true", help="also with monitoring files of real bytes, spliced at each look")
    return asyncio.run(run(parser.parse_args())).finish()


if __name__ == "__main__":
    sys.exit(main())
