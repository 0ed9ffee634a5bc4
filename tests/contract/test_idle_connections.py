"""A connection on which no whole request comes is closed, on the gateway's and the health port: neither needs a login for that."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web

from lab.ports import hold_port
from vmscaler.entry import run


@pytest.mark.parametrize("sent", [b"", b"POST /v1/steps/claim HTTP/1.1\r\nHost: x\r\nX-Slow: "], ids=["nothing", "half a header"])
async def test_it_is_closed(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "IDLE", 0.2)
    port = hold_port("127.0.0.1")
    async with contextlib.AsyncExitStack() as stack:
        await run._serve(stack, web.Application(), "127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        async with asyncio.timeout(60):
            await reader.read()
        writer.close()
