"""One scale-out in the embedded data centre: the product's, hop by hop, beside a plain script (`bench.by_hand`) in the same run.

`python -m bench.loop [--repeat N] [--json]`. An alert is posted to Alertmanager, and the loop does the rest: route, Jenkins' job, its
pipeline, claim, address, clone, boot, health, pool. `between` is what is in none of clone, boot, health and pool: stages of the build that start,
the step client, the operator's own writes. Both sides look each half second; neither is charged for the other's clean-up.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
from tests.e2e.bench import Bench

from bench.by_hand import Place, scale_out, undo
from bench.report import Report, Sample, arguments
from lab.datacentre import WEB, DataCentre

SCRIPT = "script by hand"
POLICY = "looped"
PAST_POOL = ("scrape-target",)
PARTS = {"clone": ("vm-creation",), "boot": ("boot",), "health": ("health",), "pool": ("f5-pool-add",)}


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _took(actions: list[dict[str, Any]], *names: str) -> float:
    return sum(_at(one["finishedAt"]) - _at(one["startedAt"]) for one in actions if one["name"] in names)


def gaps(claimed: float, actions: list[dict[str, Any]]) -> list[tuple[str, float]]:
    """What `between` is made of: before each action that began later than all before it had ended, seconds."""
    found, ended = [], claimed
    for one in sorted(actions, key=lambda action: _at(action["startedAt"])):
        if one["name"] in PAST_POOL:
            continue
        found.append((one["name"], max(0.0, _at(one["startedAt"]) - ended)))
        ended = max(ended, _at(one["finishedAt"]))
    return found


async def product(bench: Bench, number: int, seen: dict[str, list[float]]) -> Sample:
    """An alert, and what came of it; `seen` gathers the gaps before the actions."""
    alerted = time.time()  # noqa: TID251 - compared with the systems' own wall-clock times
    await bench.alert(POLICY)
    event = await bench.event_over(POLICY, number, deadline=120)
    status = event["status"]
    if status["phase"] != "Succeeded":
        raise RuntimeError(f"{event['metadata']['name']}: {status}")
    await bench.alert(POLICY, firing=False)
    build = event["spec"]["build"]
    url = f"{bench.dc.parts['jenkins'].record['url'].rstrip('/')}/job/{build['job']}/{build['number']}/api/json"
    async with bench.http.get(url, headers=bench.dc.jenkins_login(), ssl=bench.dc.client_context()) as answer:
        built = (await answer.json())["timestamp"] / 1000
    actions = status["actions"]
    served = max(_at(one["finishedAt"]) for one in actions if one["name"] == "f5-pool-add")
    claimed = _at(status["startedAt"])
    for name, seconds in gaps(claimed, actions):
        seen.setdefault(name, []).append(seconds)
    sample = {part: _took(actions, *names) for part, names in PARTS.items()}
    whole = served - claimed
    return {
        "alert to build s": built - alerted,
        "build to claim s": claimed - built,
        **_shown(sample, whole),
    }


def _shown(parts: Sample, whole: float) -> Sample:
    between = max(0.0, whole - sum(parts[part] for part in PARTS))
    return {
        **{f"{part} s": parts[part] for part in PARTS},
        "between s": between,
        "whole s": whole,
        "between/whole": between / whole,
    }


async def clean(bench: Bench) -> None:
    """The instance goes by the product's own path."""
    await bench.dc.cluster.kubectl("delete", "vmi", "--all", "-n", "acme", "--wait=false")

    async def gone() -> bool:
        return not await bench.list("vmi")

    await bench.until("the instance is gone", gone, 90)


def place(dc: DataCentre, passwords: dict[str, dict[str, str]]) -> Place:
    """Where the script finds things."""
    ca = dc.ca.write(dc.folder / "by-hand-ca.pem")
    vcenter, bigip = passwords["vcenter-credentials"], passwords["bigip-credentials"]
    return Place(
        vcenter_url=dc.parts["vcenter"].record["url"],
        vcenter_user=vcenter["username"],
        vcenter_password=vcenter["password"],
        bigip_url=dc.parts["bigip"].record["url"].rstrip("/"),
        bigip_user=bigip["username"],
        bigip_password=bigip["password"],
        ca_pem=dc.ca.pem,
        ca_file=str(ca),
        template="/DC0/vm/templates/tmpl-web",
        folder="/DC0/vm/vmscaler/acme",
        resource_pool="/DC0/host/C0/Resources",
        pool="/Common/pool-web",
        port=WEB,
        health_path="/healthz",
        prefix_mask="255.255.255.0",
    )


async def run(options: argparse.Namespace) -> Report:
    """Interleaved."""
    ratios = ("clone s", "boot s", "health s", "pool s", "whole s")
    report = Report("loop", base=SCRIPT, ratios=ratios, options=options)
    seen: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="vmscaler-bench-") as name:
        dc = DataCentre(Path(name), boot_seconds=float(options.boot), fsync=True)
        try:
            await dc.start()
            await dc.start_operator()
            await dc.apply_site()
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
                bench = Bench(dc, http)
                await bench.policy(POLICY, 100, 109, scaling={"maxInstances": 10, "cooldownPeriod": "1s"})
                await bench.ready(POLICY)
                assert dc.run is not None
                where = place(dc, dc.run.users)
                for number in range(1, options.repeat + 1):
                    vm, address = f"by-hand-{number}", dc.subnet.address(110 + number)
                    parts = await asyncio.to_thread(scale_out, where, vm, address)
                    report.add(SCRIPT, _shown(parts, parts["whole"]))
                    await asyncio.to_thread(undo, where, vm, address)
                    report.add("vmscaler", await product(bench, number, seen))
                    await clean(bench)
        finally:
            await dc.stop()
    report.notes.append(f"guests boot in {options.boot} s, the monitor looks each second, the script starts where the claim is")
    waits = ", ".join(f"{statistics.median(each):.2f} before {name}" for name, each in seen.items())
    report.notes.append(f"`between`, seconds: {waits}; the rest is the address itself")
    return report


def main() -> int:
    """Run it."""
    parser = arguments(__doc__, repeat=(3, "repetitions"), boot=(2, "seconds that a guest takes to boot"))
    return asyncio.run(run(parser.parse_args())).finish()


if __name__ == "__main__":
    sys.exit(main())
