"""What of the lab's monitoring host must not depend on who is quicker: notifications are numbered as they are listed, what hangs stands."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp

from lab.monitoring.child import Child
from lab.monitoring.sink import Sink


async def test_a_notification_that_arrives_slowly_is_told_to_who_has_read_the_next_one() -> None:
    sink = Sink()
    async with sink.serve("127.0.0.1") as url, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        begun, rest = asyncio.Event(), asyncio.Event()

        async def slow() -> object:
            async def body() -> object:
                yield b'{"slow":'
                begun.set()
                await rest.wait()
                yield b" true}"

            async with session.post(f"{url}/ops", data=body()) as answer:
                return answer.status

        sending = asyncio.create_task(slow())
        await begun.wait()
        async with session.post(f"{url}/ops", json={"slow": False}) as answer:
            assert answer.status == 200
        [first] = sink.since(0)
        rest.set()
        assert await sending == 200
        [second] = sink.since(first["number"])
    assert [first["body"], second["body"]] == [{"slow": False}, {"slow": True}]


async def test_what_hangs_stands_with_all_its_threads(tmp_path: Path) -> None:
    """On a busy machine the signal takes effect when one of its threads gets a processor; another may answer until then."""
    busy = "import threading, time\ndef turn():\n while True: pass\nfor _ in range(8): threading.Thread(target=turn).start()"

    def states() -> list[str]:
        return [(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in Path(f"/proc/{child.pid}/task").iterdir()]

    async def starts() -> bool:
        return child.pid is not None and len(states()) == 9

    child = Child("busy", tmp_path / "busy.log", starts)
    try:
        await child.start([sys.executable, "-c", busy])
        for _ in range(3):
            await child.hang()
            assert states() == 9 * ["T"]
            child.resume()
    finally:
        await child.stop()
