"""The lab BIG-IP's fault switches, and its life as a part: what a client must survive can be made to happen."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.contract.bigip_bench import MEMBERS, PASSWORD, POOL, USER, Bigip, config_error, eventually, new

from lab.pki import Authority
from lab.process import Part


async def test_faults_strike_and_are_healed(lab_bigip: Bigip) -> None:
    await lab_bigip.faults(http_503={"count": 1})
    status, page = await lab_bigip.raw("GET", POOL)
    assert status == 503 and "Configuration Utility restarting..." in page and page.startswith("<!DOCTYPE")
    assert (await lab_bigip.raw("GET", POOL))[0] == 200
    await lab_bigip.faults(unregistered_404=True)
    status, answer = await lab_bigip.raw("GET", POOL)
    assert (status, answer["message"]) == (404, "Public URI path not registered")
    await lab_bigip.faults(mcpd_500={"methods": ["POST"], "path": "/members"})
    assert (await lab_bigip.raw("GET", MEMBERS))[0] == 200
    lost = "The connection to mcpd has been lost, try again."
    assert await lab_bigip.raw("POST", MEMBERS, new()) == config_error(500, lost)
    await lab_bigip.faults(async_task_503={"for_s": 30})
    busy = "There is an active asynchronous task executing."
    assert await lab_bigip.raw("POST", MEMBERS, new()) == config_error(503, busy)
    await lab_bigip.faults(refuse_writes=True)
    status, answer = await lab_bigip.raw("POST", MEMBERS, new())
    assert status == 403 and answer["message"].startswith("Authorization failed: user=svc-scaler")
    await lab_bigip.faults(token_expired={"count": 1})
    status, answer = await lab_bigip.raw("GET", POOL)
    assert (status, answer["message"]) == (401, "X-F5-Auth-Token has expired.")
    assert (await lab_bigip.raw("GET", POOL))[0] == 401
    await lab_bigip.log_in()
    assert (await lab_bigip.raw("GET", POOL))[0] == 200
    assert (await lab_bigip.status())["nodes"] == {}


async def test_an_answer_can_be_late_or_lost(lab_bigip: Bigip) -> None:
    await lab_bigip.faults(latency_s=0.3)
    started = asyncio.get_running_loop().time()
    await lab_bigip.ok("GET", POOL)
    assert asyncio.get_running_loop().time() - started >= 0.3
    await lab_bigip.faults(lost_answer={"count": 1})
    with pytest.raises(aiohttp.ClientError):
        await lab_bigip.raw("POST", MEMBERS, new())
    status = await lab_bigip.status()
    assert list(status["pools"]["/Common/web"]["members"]) == ["/Common/10.0.0.5:80"]
    assert [(w["method"], w["path"], w["user"], w["status"]) for w in status["audit"]] == [("POST", MEMBERS, USER, 200)]
    await lab_bigip.faults(hang=True)
    await hangs_until_healed(lab_bigip, new("10.0.0.6:80"))


async def arrived(bigip: Bigip) -> None:
    """Until a request is at the device."""

    async def busy() -> bool:
        return bool((await bigip.status())["busy"])

    await eventually(busy, "the request at the device")


async def hangs_until_healed(bigip: Bigip, member: dict[str, Any]) -> None:
    """Under the fault `hang`: the request arrives, is not answered, and is cut off when all is healed."""
    asked = asyncio.create_task(bigip.raw("POST", MEMBERS, member))
    await arrived(bigip)
    done, _ = await asyncio.wait({asked}, timeout=0.3)
    assert not done
    await bigip.faults()
    with pytest.raises(aiohttp.ClientError):
        await asked


async def test_a_restart_keeps_the_configuration_and_forgets_tokens(lab_bigip: Bigip) -> None:
    await lab_bigip.ok("POST", MEMBERS, new())
    await lab_bigip.faults(restart={"for_s": 600})
    assert (await lab_bigip.raw("GET", POOL))[0] == 503
    await lab_bigip.faults(restart={"for_s": 0.2})

    async def back() -> Any:
        status, answer = await lab_bigip.raw("GET", POOL)
        return (status, answer) if status != 503 else None

    status, answer = await eventually(back, "the end of the restart")
    assert (status, answer["message"]) == (401, "X-F5-Auth-Token does not exist.")
    await lab_bigip.log_in()
    assert len((await lab_bigip.ok("GET", MEMBERS))["items"]) == 1


async def test_the_certificate_can_change(lab_bigip: Bigip) -> None:
    other = Authority.wrong().issue("127.0.0.1")
    await lab_bigip.faults(certificate={"value": {"certificate": other.certificate, "key": other.key}})
    with pytest.raises(aiohttp.ClientConnectorCertificateError) as raised:
        await lab_bigip.raw("GET", POOL)
    assert isinstance(raised.value.certificate_error, ssl.SSLCertVerificationError)
    assert "key" not in str(await lab_bigip.status())
    await lab_bigip.faults()
    assert (await lab_bigip.raw("GET", POOL))[0] == 200


async def test_a_handshake_that_is_under_way_while_the_certificate_changes_is_of_no_use(lab_bigip: Bigip) -> None:
    other = Authority.wrong().issue("127.0.0.1")
    host, _, port = lab_bigip.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=str(lab_bigip.ca)).wrap_bio(received, to_send, server_hostname=host)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    writer.write(to_send.read())
    received.write(await reader.read(65536))  # the certificate of before, which the client trusts
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            received.write(await reader.read(65536))
    before = (await lab_bigip.status())["requests"]
    await lab_bigip.faults(certificate={"value": {"certificate": other.certificate, "key": other.key}})
    client.write(f"GET {POOL} HTTP/1.1\r\nHost: {host}\r\nX-F5-Auth-Token: {lab_bigip.token}\r\n\r\n".encode())
    writer.write(to_send.read())
    with contextlib.suppress(OSError):
        received.write(await reader.read(65536))
    with pytest.raises((ssl.SSLWantReadError, ssl.SSLEOFError)):
        client.read()
    assert (await lab_bigip.status())["requests"] == before
    writer.close()


async def test_the_end_of_an_earlier_certificate_cuts_nothing_of_the_next(lab_bigip: Bigip) -> None:
    first, second = lab_bigip.authority.issue("127.0.0.1"), lab_bigip.authority.issue("127.0.0.1")
    await lab_bigip.faults(certificate={"value": {"certificate": first.certificate, "key": first.key}, "for_s": 0.05})
    await lab_bigip.faults(certificate={"value": {"certificate": second.certificate, "key": second.key}}, hang=True)
    await hangs_until_healed(lab_bigip, new())


async def test_unknown_faults_are_refused_with_the_known_ones(lab_bigip: Bigip) -> None:
    async with lab_bigip.session.put(lab_bigip.record["control"] + "/faults", json={"htp_503": True}) as response:
        assert response.status == 400 and "http_503" in (await response.json())["known"]
    async with lab_bigip.session.get(lab_bigip.record["control"] + "/faults") as response:
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
