"""ports.monitoring.AlertmanagerApi and PrometheusApi: fakes and real clients against the lab; then what only a network can do."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from tests.contract.monitoring_bench import Monitoring, eventually
from tests.fakes.monitoring_api import FakeAlertmanagerApi, FakePrometheusApi, alert

from lab.pki import Authority
from lab.ports import hold_port
from vmscaler.adapters.alertmanager import AlertmanagerClient
from vmscaler.adapters.monitoring_http import Endpoint
from vmscaler.adapters.prometheus import PrometheusClient
from vmscaler.ports.errors import Rejected, Retryable, Untrusted
from vmscaler.ports.monitoring import AlertmanagerApi, FiringAlert, PrometheusApi

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]

WATCHDOG = {"alertname": "Watchdog"}


@dataclass
class Bench:
    """Both ports; the alert Watchdog fires, the rule group `platform` is loaded, the job acme-web has two targets."""

    alertmanager: AlertmanagerApi
    prometheus: PrometheusApi


class Suite:
    """What every implementation does."""

    async def test_about_is_a_version(self, bench: Bench) -> None:
        assert (await bench.alertmanager.about())[:2] == "0."
        assert (await bench.prometheus.about())[0] in "23"

    async def test_a_firing_alert_is_found_by_its_labels(self, bench: Bench) -> None:
        async def looks() -> list[FiringAlert]:
            by_name, by_both = [await bench.alertmanager.firing(labels) for labels in (WATCHDOG, {**WATCHDOG, "severity": "none"})]
            return by_name if by_name == by_both else []

        [found] = await eventually(looks, "Watchdog fires, and is found by one label and by both")
        assert found.labels["alertname"] == "Watchdog"
        assert found.starts_at.utcoffset() is not None
        assert not found.suppressed

    @pytest.mark.parametrize(
        "matchers", [{"alertname": "Watchdo."}, {"alertname": 'x"} or {'}, {**WATCHDOG, "vmscaler_policy": "acme/web"}]
    )
    async def test_other_labels_find_nothing(self, bench: Bench, matchers: Mapping[str, str]) -> None:
        assert await bench.alertmanager.firing(matchers) == []

    async def test_an_expression_has_a_value_or_none(self, bench: Bench) -> None:
        async def scraped() -> bool:
            return await bench.prometheus.finds('avg(up{job="acme-web",instance=~"127.+"} + 1)')

        await eventually(scraped, "a scrape")
        assert not await bench.prometheus.finds('avg(up{job="no-such-job"})')


class TestFakes(Suite):
    @pytest.fixture
    def bench(self) -> Bench:
        return Bench(
            FakeAlertmanagerApi([alert({"alertname": "Watchdog", "severity": "none"})]),
            FakePrometheusApi(silent="no-such-job"),
        )


class TestClients(Suite):
    @pytest_asyncio.fixture(loop_scope="session")
    async def bench(self, lab_monitoring: Monitoring) -> AsyncIterator[Bench]:
        alertmanager = AlertmanagerClient([Endpoint("am-1", lab_monitoring.alertmanager)])
        prometheus = PrometheusClient([Endpoint("prom-1", lab_monitoring.prometheus)])
        yield Bench(alertmanager, prometheus)
        await alertmanager.close()
        await prometheus.close()


@contextlib.asynccontextmanager
async def serving(answers: Mapping[str, Any], authority: Authority | None = None) -> AsyncIterator[str]:
    """A server that answers GETs of these paths with this JSON (a str as it is, an int as a status)."""

    async def answer(request: web.Request) -> web.Response:
        value = answers.get(request.path, 404)
        if isinstance(value, int):
            return web.Response(status=value, headers={"Location": "http://127.0.0.1:9/"})
        return web.Response(text=value) if isinstance(value, str) else web.json_response(value)

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    context = None
    if authority is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.TemporaryDirectory() as folder:
            context.load_cert_chain(*authority.issue("127.0.0.1").write(Path(folder), "server"))
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"http{'s' if authority else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def wire(fingerprint: str, state: str = "active", starts: str = "2025-01-01T00:00:00.000Z", **labels: str) -> dict[str, Any]:
    return {"labels": labels, "annotations": {}, "startsAt": starts, "fingerprint": fingerprint, "status": {"state": state}}


@contextlib.asynccontextmanager
async def pair(*answers: Any) -> AsyncIterator[AlertmanagerClient]:
    async with contextlib.AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving({"/api/v2/alerts": one})) for one in answers]
        client = AlertmanagerClient([Endpoint(f"am-{number}", url) for number, url in enumerate(urls)], timeout=60)
        stack.push_async_callback(client.close)
        yield client


async def test_an_alert_that_fires_on_any_fires_and_is_told_once() -> None:
    late = wire("f1", "suppressed", "2025-01-01T00:05:00.000Z", alertname="A")
    async with pair([wire("f1", alertname="A")], [late, wire("f2", "suppressed", alertname="A"), wire("f3", alertname="B")]) as client:
        found = await client.firing({"alertname": "A"})
    assert [(one.fingerprint, one.suppressed) for one in found] == [("f1", False), ("f2", True)]
    assert found[0].starts_at == datetime.fromisoformat("2025-01-01T00:00:00Z")


@pytest.mark.parametrize("broken", [500, 302, "no json", "[" * 100_000, {"data": []}, [{"labels": {}}], [None]])
async def test_one_that_talks_nonsense_is_not_believed_and_the_other_is(broken: Any) -> None:
    async with pair(broken, [wire("f1", alertname="A")]) as client:
        assert len(await client.firing({"alertname": "A"})) == 1
    async with pair(broken) as client:
        with pytest.raises(Retryable) as failed:
            await client.firing({"alertname": "A"})
        assert failed.value.reason == "UnexpectedAnswer"


async def test_a_certificate_of_another_authority_is_untrusted() -> None:
    authority = Authority()
    async with serving({"/api/v1/status/buildinfo": {"data": {"version": "2.42.0"}}}, authority) as url:
        for ca, refused in ((authority.pem, None), (Authority().pem, Untrusted), (None, Rejected)):
            client = PrometheusClient([Endpoint("prom-1", url, ca)], timeout=60)
            if refused is None:
                assert await client.about() == "2.42.0"
            else:
                # Without a CA the machine's own trust would decide, which is nobody's decision.
                with pytest.raises(refused, match="caBundle"):
                    await client.about()
            await client.close()


async def test_nobody_there_is_retryable() -> None:
    client = PrometheusClient([Endpoint("prom-1", f"http://127.0.0.1:{hold_port('127.0.0.1')}")], timeout=60)
    with pytest.raises(Retryable) as failed:
        await client.finds("up")
    assert failed.value.reason == "Unreachable"
    await client.close()
