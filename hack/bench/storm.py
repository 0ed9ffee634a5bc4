"""The client of `bench.claims`, a process of its own so that its CPU is not the gateway's: `python -m bench.storm`.

stdin: {url, token, job, generation, first, count, together}. stdout: {seconds, answers {what was said: how often}, slowest (s)}.
Each claim is of another build, as Jenkins' are; every answer must be final.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import aiohttp


async def storm(order: dict[str, Any]) -> dict[str, Any]:
    """Send them, `together` at a time."""
    answers: Counter[str] = Counter()
    numbers = iter(range(order["first"], order["first"] + order["count"]))
    slowest = 0.0
    headers = {"Authorization": f"Bearer {order['token']}"}
    connector = aiohttp.TCPConnector(limit=order["together"])
    async with aiohttp.ClientSession(headers=headers, connector=connector) as http:

        async def worker() -> None:
            nonlocal slowest
            for number in numbers:
                body = {"job": order["job"], "generation": order["generation"], "build": number, "hook": {"am_status": "firing"}}
                began = time.monotonic()
                async with http.post(order["url"], json=body) as answer:
                    said = await answer.json()
                    answers[f"{answer.status} {said.get('state', '')} {said.get('reason', '')}".strip()] += 1
                slowest = max(slowest, time.monotonic() - began)

        began = time.monotonic()
        await asyncio.gather(*(worker() for _ in range(order["together"])))
        return {"seconds": time.monotonic() - began, "answers": dict(answers), "slowest": slowest}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(storm(json.load(sys.stdin)))))
