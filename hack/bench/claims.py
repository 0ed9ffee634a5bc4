"""A storm of hooks that are refused: claims per second through the gateway's own claim path, and what they write.

`python -m bench.claims [--count N] [--together N] [--repeat N] [--json]`. The outside is the tests' fakes, in memory; the gateway, the
step runner, the flow and the decision are the product's, over HTTP on loopback (no TLS, in either arm). The base is an aiohttp handler
that reads the same body and answers: the floor of any gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from tests.fakes.world import World

from bench.report import Report, arguments
from vmscaler.api.autoscalingpolicy import BuildRef, Cause
from vmscaler.api.meta import NameRef, ObjectMeta
from vmscaler.api.scaleevent import ScaleEventSpec, ScaleEventStatus, ScaleOutEvent
from vmscaler.decide.instance import BUILD, POLICY_UID
from vmscaler.decide.retention import KEPT_PER_POLICY
from vmscaler.entry.gateway import make_gateway
from vmscaler.entry.logs import configure_logs
from vmscaler.flows.tokens import ensure_tokens


async def _not_firing(world: World) -> None:
    world.fires(False)


async def _at_maximum(world: World) -> None:
    world.fires()

    def lower(spec: dict[str, Any]) -> None:
        spec["scaling"] |= {"minInstances": 2, "maxInstances": 2}

    await world.edit(lower)


async def _history(world: World) -> None:
    """A policy with as many past events as are kept."""
    ref = await world.ref()
    for number in range(1, KEPT_PER_POLICY + 1):
        spec = ScaleEventSpec(
            policy_ref=ref,
            site_ref=NameRef(name="default"),
            sequence=number,
            from_instances=2,
            to_instances=3,
            cause=Cause(),
            build=BuildRef(job="autoscale-acme-web", generation="past", number=number, url=""),
            instances=[f"past-{number}-1"],
        )
        meta = ObjectMeta(name=f"past-{number}", namespace="acme", labels={POLICY_UID: ref.uid, BUILD: str(number)})
        await world.kube.create(ScaleOutEvent(metadata=meta, spec=spec, status=ScaleEventStatus()))
    world.fires(False)


ARMS: dict[str, tuple[str, Callable[[World], Awaitable[None]]]] = {
    "refused: no alert fires": ("AlertNotFiring", _not_firing),
    "refused: at the maximum": ("AtMaximum", _at_maximum),
    "the same, 100 past events": ("AlertNotFiring", _history),
}


async def _storm(url: str, order: dict[str, Any]) -> dict[str, Any]:
    environment = {key: os.environ[key] for key in ("PATH", "PYTHONPATH", "HOME", "LANG") if key in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.storm", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment
    )
    out, _ = await process.communicate(json.dumps({**order, "url": url}).encode())
    answer: dict[str, Any] = json.loads(out)
    return answer


async def _served(app: web.Application, order: dict[str, Any], report: Report, arm: str, writes: Callable[[], int], expected: str) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        before, began = writes(), time.process_time()
        answer = await _storm(f"http://127.0.0.1:{port}/v1/steps/claim", order)
        cpu = time.process_time() - began
    finally:
        await runner.cleanup()
    count = order["count"]
    report.must(answer["answers"] == {expected: count}, f"{arm}: answered {answer['answers']}, not {expected} each time")
    report.add(
        arm,
        {
            "claims/s": count / answer["seconds"],
            "CPU ms per claim": 1000 * cpu / count,
            "slowest s": answer["slowest"],
            "writes": writes() - before,
        },
    )


async def _floor(order: dict[str, Any], report: Report) -> None:
    async def answer(request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response({"state": "refused", "reason": "Floor", "message": f"build {asked['build']}"})

    app = web.Application()
    app.router.add_post("/v1/steps/claim", answer)
    await _served(app, order, report, "floor: reads and answers", lambda: 0, "200 refused Floor")


async def _product(arm: str, options: argparse.Namespace, report: Report) -> None:
    reason, prepare = ARMS[arm]
    world = await World.make()
    operator = await world.start()
    try:

        async def ready() -> bool:
            return (await world.condition("Ready"))[0] == "True" and operator.queue.depth == 0

        await world.until("the policy is Ready", ready)
        await prepare(world)
        await asyncio.sleep(0)  # the watch's wake-ups are in the queue now
        await world.until("the change is seen", ready)
        ref, build = await world.ref(), await world.build_ref(1)
        tokens = await ensure_tokens(operator.ctx, ref)
        app = make_gateway(operator.ctx, operator.runner, asyncio.get_running_loop().time)
        order = {
            "token": tokens.step,
            "job": build.job,
            "generation": build.generation,
            "first": 1,
            "count": options.count,
            "together": options.together,
        }
        await _served(app, order, report, arm, lambda: len(world.effects.calls), f"200 refused {reason}")
    finally:
        await world.stop()


async def run(options: argparse.Namespace) -> Report:
    """All arms, interleaved."""
    report = Report("claims", base="floor: reads and answers", ratios=("CPU ms per claim",), options=options)
    order = {"token": "sample", "job": "sample", "generation": "g", "first": 1, "count": options.count, "together": options.together}
    for _ in range(options.repeat):
        await _floor(order, report)
        for arm in ARMS:
            await _product(arm, options, report)
    report.notes.append(f"{options.count} claims of as many builds, {options.together} at a time; writes: all systems together")
    return report


def main() -> int:
    """Run it."""
    parser = arguments(__doc__, count=(500, "claims"), together=(16, "claims under way at once"), repeat=(3, "repetitions"))
    configure_logs("error", "json")
    return asyncio.run(run(parser.parse_args())).finish()


if __name__ == "__main__":
    sys.exit(main())
