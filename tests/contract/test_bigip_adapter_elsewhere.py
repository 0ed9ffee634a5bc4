"""The BIG-IP adapter where something else answers at the address: nothing of it is believed, followed or kept, and it gets no secret."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog
from aiohttp import web
from tests.contract.bigip_adapter_bench import Gate, raised
from tests.contract.bigip_bench import PASSWORD, USER

from lab.pki import Authority
from vmscaler.adapters.bigip import BigIpClient
from vmscaler.adapters.bigip import wire as wire_module
from vmscaler.ports.errors import NotFound, Retryable

WEB = "/Common/web"
NAME = "10.9.0.5:80"


@contextlib.asynccontextmanager
async def other_server(folder: Path, answer: Callable[[web.Request], web.Response]) -> AsyncIterator[tuple[BigIpClient, list[str]]]:
    """A server with a good certificate that lets one log in and then gives its own answers; and the paths that it was asked for."""
    authority = Authority()
    issued = authority.issue("127.0.0.1")
    pem = folder / "server.pem"
    pem.write_text(issued.certificate + issued.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        if request.path.endswith("/login"):
            return web.json_response({"token": {"token": "SAMPLETOKENSAMPLETOKEN1234", "timeout": 1200}})
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        ca = authority.write(folder / "other-ca.pem").read_text()
        client = BigIpClient([f"https://127.0.0.1:{runner.addresses[0][1]}"], USER, PASSWORD, "tmos", ca, Gate())
        try:
            yield client, asked
        finally:
            await client.close()
    finally:
        await runner.cleanup()


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    def redirect(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with other_server(tmp_path, redirect) as (client, asked):
        error = await raised(client.pool(WEB))
        assert type(error) is Retryable and error.reason == "Redirected" and "/elsewhere" in error.message
        assert "GET /elsewhere" not in asked


@pytest.mark.parametrize("text", ["<html>hello</html>", "[]", "{}", '{"items": 3}', ""])
async def test_what_cannot_be_read_is_no_answer(tmp_path: Path, text: str) -> None:
    async with other_server(tmp_path, lambda _: web.Response(text=text)) as (client, _asked):
        for call in (
            client.about(),
            client.pool(WEB),
            client.virtual_servers(WEB),
            client.nodes_by_address(),
            client.member(WEB, NAME),
            client.add_member(WEB, "10.9.0.5", 80),
        ):
            error = await raised(call)
            assert type(error) is Retryable and error.reason == "UnexpectedAnswer"


async def test_a_huge_answer_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_module, "LARGEST", 1 << 16)
    async with other_server(tmp_path, lambda _: web.Response(text=" " * (1 << 20))) as (client, _asked):
        error = await raised(client.pool(WEB))
        assert error.reason == "UnexpectedAnswer" and "more than" in error.message


async def test_no_secret_is_told_when_a_token_cannot_be_given_back(tmp_path: Path) -> None:
    def break_off(request: web.Request) -> web.Response:
        if request.method == "DELETE":
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=404, text='{"message": "01020036:3: not found"}')

    with structlog.testing.capture_logs() as logs:
        async with other_server(tmp_path, break_off) as (client, asked):
            with pytest.raises(NotFound):
                await client.pool(WEB)
            await client.close()
            assert asked[-1].startswith("DELETE /mgmt/shared/authz/tokens/")
    assert [entry["reason"] for entry in logs] == ["ConnectionLost"]
    assert "SAMPLETOKEN" not in str(logs) and PASSWORD not in str(logs)
