"""The lab BIG-IP's fault switches, and its life as a part: what a client must survive can be made to happen."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.contract.bigip_bench import MEMBERS, PASSWORD, USER, Bigip, bench, eventually

from lab.pki import Authority
from lab.process import Part

POOL = "/mgmt/tm/ltm/pool/~Common~web"


@pytest.fixture
async def bigip(tmp_path: Path) -> AsyncIterator[Bigip]:
    async with bench(tmp_path) as running:
        await running.log_in()
        yield running


def new(name: str = "10.0.0.5:80", **more: Any) -> dict[str, Any]:
    return {"name": name, "partition": "Common", "address": name.rsplit(":", 1)[0], **more}


def config_error(status: int, message: str, api_error: int = 3) -> tuple[int, Any]:
    return status, {"code": status, "message": message, "errorStack": [], "apiError": api_error}


async def test_faults_strike_and_are_healed(bigip: Bigip) -> None:
    await bigip.faults(http_503={"count": 1})
    status, page = await bigip.raw("GET", POOL)
    assert status == 503 and "Configuration Utility restarting..." in page and page.startswith("<!DOCTYPE")
    assert (await bigip.raw("GET", POOL))[0] == 200
    await bigip.faults(unregistered_404=True)
    status, answer = await bigip.raw("GET", POOL)
    assert (status, answer["message"]) == (404, "Public URI path not registered")
    await bigip.faults(mcpd_500={"methods": ["POST"], "path": "/members"})
    assert (await bigip.raw("GET", MEMBERS))[0] == 200
    lost = "The connection to mcpd has been lost, try again."
    assert await bigip.raw("POST", MEMBERS, new()) == config_error(500, lost)
    await bigip.faults(async_task_503={"for_s": 30})
    busy = "There is an active asynchronous task executing."
    assert await bigip.raw("POST", MEMBERS, new()) == config_error(503, busy)
    await bigip.faults(refuse_writes=True)
    status, answer = await bigip.raw("POST", MEMBERS, new())
    assert status == 403 and answer["message"].startswith("Authorization failed: user=svc-scaler")
    await bigip.faults(token_expired={"count": 1})
    status, answer = await bigip.raw("GET", POOL)
    assert (status, answer["message"]) == (401, "X-F5-Auth-Token has expired.")
    assert (await bigip.raw("GET", POOL))[0] == 401
    await bigip.log_in()
    assert (await bigip.raw("GET", POOL))[0] == 200
    assert (await bigip.status())["nodes"] == {}


async def test_an_answer_can_be_late_or_lost(bigip: Bigip) -> None:
    await bigip.faults(latency_s=0.3)
    started = asyncio.get_running_loop().time()
    await bigip.ok("GET", POOL)
    assert asyncio.get_running_loop().time() - started >= 0.3
    await bigip.faults(lost_answer={"count": 1})
    with pytest.raises(aiohttp.ClientError):
        await bigip.raw("POST", MEMBERS, new())
    status = await bigip.status()
    assert list(status["pools"]["/Common/web"]["members"]) == ["/Common/10.0.0.5:80"]
    assert [(w["method"], w["path"], w["user"], w["status"]) for w in status["audit"]] == [("POST", MEMBERS, USER, 200)]
    await bigip.faults(hang=True)
    asked = asyncio.create_task(bigip.raw("POST", MEMBERS, new("10.0.0.6:80")))
    done, _ = await asyncio.wait({asked}, timeout=0.3)
    assert not done
    await bigip.faults()
    with pytest.raises(aiohttp.ClientError):
        await asked


async def test_a_restart_keeps_the_configuration_and_forgets_tokens(bigip: Bigip) -> None:
    await bigip.ok("POST", MEMBERS, new())
    await bigip.faults(restart={"for_s": 0.4})
    assert (await bigip.raw("GET", POOL))[0] == 503

    async def back() -> Any:
        status, answer = await bigip.raw("GET", POOL)
        return (status, answer) if status != 503 else None

    status, answer = await eventually(back, "the end of the restart")
    assert (status, answer["message"]) == (401, "X-F5-Auth-Token does not exist.")
    await bigip.log_in()
    assert len((await bigip.ok("GET", MEMBERS))["items"]) == 1


async def test_the_certificate_can_change(bigip: Bigip) -> None:
    other = Authority.wrong().issue("127.0.0.1")
    await bigip.faults(certificate={"value": {"certificate": other.certificate, "key": other.key}})
    with pytest.raises(aiohttp.ClientConnectorCertificateError) as raised:
        await bigip.raw("GET", POOL)
    assert isinstance(raised.value.certificate_error, ssl.SSLCertVerificationError)
    assert "key" not in str(await bigip.status())
    await bigip.faults()
    assert (await bigip.raw("GET", POOL))[0] == 200


async def test_unknown_faults_are_refused_with_the_known_ones(bigip: Bigip) -> None:
    async with bigip.session.put(bigip.record["control"] + "/faults", json={"htp_503": True}) as response:
        assert response.status == 400 and "http_503" in (await response.json())["known"]
    async with bigip.session.get(bigip.record["control"] + "/faults") as response:
        assert await response.json() == {}


async def test_as_a_part_it_serves_and_stops_with_its_stdin(tmp_path: Path) -> None:
    authority = Authority()
    issued = authority.issue("127.0.0.1")
    config = {
        "certificate": issued.certificate,
        "key": issued.key,
        "users": [{"name": USER, "password": PASSWORD}],
        "monitors": [{"name": "http_web", "path": "/healthz", "interval": 1, "timeout": 4}],
        "pools": [{"name": "web", "monitor": "http_web", "members": ["127.0.0.20:8080"]}],
        "virtualServers": [{"name": "vs-web", "destination": "127.0.0.1:0", "pool": "web"}],
    }
    part = Part("bigip", config, folder=tmp_path)
    record = await part.start()
    assert record["url"].startswith("https://127.0.0.1:") and record["virtualServers"]["/Common/vs-web"]["port"]
    async with aiohttp.ClientSession() as session, session.get(record["control"] + "/status") as response:
        status = await response.json()
    assert status["pools"]["/Common/web"]["members"]["/Common/127.0.0.20:8080"]["session"] == "monitor-enabled"
    await part.stop()
    assert not part.running and "Traceback" not in part.tail()
