"""The gateway's and the health port: a connection on which no whole request comes is closed, which needs no login; a port that cannot be had."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import web

from lab.ports import hold_port
from vmscaler.entry import run
from vmscaler.ports.errors import Rejected


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


async def test_a_port_that_another_has_is_told_with_the_settings_that_choose_it() -> None:
    async with contextlib.AsyncExitStack() as stack, await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(Rejected, match=rf"127\.0\.0\.1 port {port} \(address already in use\): VMSCALER_GATEWAY_BIND") as refused:
            await run._serve(stack, web.Application(), "127.0.0.1", port)
        assert refused.value.reason == "AddressNotUsable"
        with pytest.raises(Rejected, match=r"192\.0\.2\.1"):
            await run._serve(stack, web.Application(), "192.0.2.1", port)
