"""What only the real adapter can get wrong: trust, redirects, the environment, time-outs, what it says of secrets, other servers' answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from tests.contract.jenkins_bench import API_TOKEN, PASSWORD, LabJenkins, lab_jenkins
from tests.contract.jenkins_stranger import Handler, Server, answering
from tests.fakes.effects import DirectEffects
from tests.fakes.job_inputs import INPUTS

from lab.pki import Authority
from vmscaler.adapters.jenkins import JenkinsClient, load_templates
from vmscaler.adapters.jenkins.session import PinnedSession
from vmscaler.adapters.tls import pinned_context
from vmscaler.decide import job
from vmscaler.ports.errors import Closed, OutsideError, Rejected, Retryable, Untrusted


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LabJenkins]:
    async with lab_jenkins(tmp_path_factory.mktemp("jenkins")) as running:
        yield running


async def test_another_ca_is_untrusted_and_gets_no_login(lab: LabJenkins) -> None:
    client = lab.client(ca=Authority.wrong().pem)
    with pytest.raises(Untrusted, match=r"not from spec\.jenkins\.caBundle") as caught:
        await client.about()
    assert caught.value.reason == "CertificateNotTrusted"
    await client.close()


async def test_another_host_name_is_untrusted(lab: LabJenkins) -> None:
    client = lab.client(url=lab.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(Untrusted):
        await client.about()
    await client.close()


def test_https_needs_a_usable_ca() -> None:
    for ca, reason in ((None, "CaMissing"), ("", "CaMissing"), ("no PEM", "CaNotUsable")):
        with pytest.raises(Rejected) as caught:
            JenkinsClient("https://127.0.0.1", "operator", API_TOKEN, DirectEffects(), ca=ca)
        assert caught.value.reason == reason


async def test_the_pinned_ca_stays_the_only_one(lab: LabJenkins) -> None:
    context = pinned_context(lab.authority.pem, "jenkins", "caBundle")
    with PinnedSession(lab.url, context, 2) as session:
        assert (await asyncio.to_thread(session.get, lab.url + "whoAmI/api/json", timeout=60)).status_code == 200
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1  # requests adds certifi's public CAs if it is let


async def test_the_environment_changes_nothing(lab: LabJenkins, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHONHTTPSVERIFY", "0")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    monkeypatch.setenv("JENKINS_API_EXTRA_HEADERS", "Authorization: Basic sample")
    good, bad = lab.client(), lab.client(ca=Authority.wrong().pem)
    assert await good.about()
    with pytest.raises(Untrusted):
        await bad.about()
    await good.close()
    await bad.close()


async def test_a_password_is_told_to_be_an_api_token(lab: LabJenkins) -> None:
    client = lab.client(token=PASSWORD)
    assert await client.about()  # a password can read
    with pytest.raises(Untrusted, match="must be an API token") as caught:
        await client.create_job("autoscale-x", job.job_config(INPUTS))
    assert caught.value.reason == "LoginRefused"
    await client.close()


async def test_an_unknown_login_is_untrusted(lab: LabJenkins) -> None:
    client = lab.client(token="sample-wrong-token")
    with pytest.raises(Untrusted) as caught:
        await client.about()
    assert caught.value.reason == "LoginRefused"
    await client.close()


async def test_a_refused_login_is_not_hammered(lab: LabJenkins) -> None:
    """With a directory behind it, Jenkins tries a wrong token as a password: the account would be locked within a minute."""
    for rest, times, asked in ((3600, 5, 1), (0.1, 2, 2)):
        client, sent = lab.client(token="sample-wrong-token", login_rest=rest), []
        send = client._send
        client._send = lambda *args, sent=sent, send=send, **more: (sent.append(args), send(*args, **more))[1]  # type: ignore[method-assign]
        for _ in range(times):
            with pytest.raises(Untrusted) as caught:
                await client.about()
            assert caught.value.reason == "LoginRefused" and caught.value.after > 0
            await asyncio.sleep(rest if rest < 1 else 0)
        assert len(sent) == asked
        await client.close()


async def test_calls_side_by_side_share_few_connections(lab: LabJenkins) -> None:
    client = lab.client(threads=3)
    assert len(set(await asyncio.gather(*(client.about() for _ in range(20))))) == 1
    await client.close()


async def test_a_server_that_hangs_is_timed_out() -> None:
    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    for handler, times in ((hang, {"timeout": 0.2, "deadline": 3600}), (drip, {"timeout": 3600, "deadline": 0.3})):
        async with Server(handler) as server:
            client = server.client(**times)
            async with asyncio.timeout(60):
                with pytest.raises(Retryable) as caught:
                    await client.about()
            assert caught.value.reason == "TimedOut"
            await client.close()


async def test_a_redirect_is_never_followed() -> None:
    async with Server(answering(200, "{}")) as elsewhere, Server(answering(302, Location=elsewhere.url)) as server:
        client = server.client()
        for call in (client.about, lambda: client.job("x"), lambda: client.update_job("x", "<a/>"), lambda: client.delete_job("x")):
            with pytest.raises(Retryable) as caught:
                await call()
            assert caught.value.reason == "Redirected"
        with pytest.raises(Retryable):
            await client.dry_run_hook("sample-token")
        assert elsewhere.requests == []
        await client.close()


@pytest.mark.parametrize(
    ("handler", "error", "reason"),
    [
        (answering(404, "no such site"), Retryable, "UnexpectedAnswer"),  # a proxy's 404 proves nothing
        (answering(200, "<html>a captive portal</html>"), Retryable, "UnexpectedAnswer"),
        (answering(200, '{"jobs": 7}'), Retryable, "UnexpectedAnswer"),
        (answering(200, "[" * 100_000), Retryable, "UnexpectedAnswer"),
        (answering(502, "bad gateway"), Retryable, "ServerError"),
        (answering(429), Retryable, "ServerError"),
        (answering(503, "Jenkins is getting ready to work"), Retryable, "JenkinsStarting"),
        (answering(403, "operator is missing the Job/Read permission"), Untrusted, "PermissionDenied"),
        (answering(418, "tea", X_Error="\x85\u202eteapot"), Rejected, "RefusedByJenkins"),
    ],
    ids=["404", "html", "json", "nested", "502", "429", "503", "403", "418"],
)
async def test_odd_answers_are_never_an_absence(handler: Handler, error: type[OutsideError], reason: str) -> None:
    async with Server(handler) as server:
        client = server.client()
        for call in (
            lambda: client.job("x"),
            lambda: client.build("x", 1),
            lambda: client.has_credential("x"),
            lambda: client.delete_job("x"),
        ):
            with pytest.raises(error) as caught:
                await call()
            assert caught.value.reason == reason
            assert caught.value.message.isprintable()
        await client.close()


async def test_a_plugin_that_knows_no_dry_run_is_told() -> None:
    answer = '{"jobs": {"autoscale-acme-web": {"triggered": true, "id": 7, "url": "queue/item/7/"}}, "message": "Triggered jobs."}'
    async with Server(answering(200, answer)) as server:
        client = server.client()
        with pytest.raises(Rejected) as caught:
            await client.dry_run_hook("sample-token")
        assert caught.value.reason == "DryRunNotSupported"
        await client.close()


async def test_tokens_travel_in_headers_only_and_each_where_it_belongs() -> None:
    async with Server(answering(500, "oops", Set_Cookie="JSESSIONID=sample-session; Path=/")) as server:
        client = server.client()
        for call in (client.about, lambda: client.put_secret_text("x", "sample-secret", "d"), lambda: client.dry_run_hook("sample-hook")):
            with pytest.raises(Retryable) as caught:
                await call()
            for secret in (API_TOKEN, "sample-secret", "sample-hook"):
                assert secret not in f"{caught.value}{caught.value.args}"
        for _, path, headers in server.requests:
            assert "sample" not in path
            hook = path.startswith("/generic-webhook-trigger")
            assert headers["Authorization"].startswith("Bearer sample-hook" if hook else "Basic ")
            assert "Cookie" not in headers
        await client.close()


def test_templates_are_found_in_the_checkout_and_asked_for_elsewhere(tmp_path: Path) -> None:
    templates = load_templates()
    assert (templates.config, templates.pipeline) == (INPUTS.job_template, INPUTS.pipeline_template)
    with pytest.raises(FileNotFoundError, match="VMSCALER_JENKINS_DIR"):
        load_templates(tmp_path)


async def test_a_call_that_waits_while_the_client_is_closed_is_told() -> None:
    """Not cancelled: that would look as if its caller had been."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        asked.set()
        await go.wait()
        return web.json_response({"id": "operator"}, headers={"X-Jenkins": "2.492.1"})

    async with Server(slow) as server:
        client = server.client(threads=1)
        running = asyncio.create_task(client.about())
        await asked.wait()
        waiting = asyncio.create_task(client.about())
        await asyncio.sleep(0)
        await client.close()
        go.set()
        await running
        with pytest.raises(Closed, match="its Site or Secret has changed"):
            await waiting
        with pytest.raises(Closed):
            await client.about()
        assert len(server.requests) == 1
