"""What the Kubernetes adapter makes of an API server in trouble: a small HTTPS server that answers as told."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.contract.kube_bench import lease
from tests.fakes.effects import DirectEffects

from lab.pki import Authority
from vmscaler.adapters.clock import SystemClock
from vmscaler.adapters.kube import KubeClient, from_kubeconfig, in_cluster
from vmscaler.api.iplease import IpLease
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable, Untrusted

TOKEN = "sample-token-of-the-operator"
NAME = "s.front.192.0.2.7"


@dataclass
class Server:
    """`answer`: (status, body, headers) for every request; None hangs."""

    url: str
    authority: Authority
    answer: tuple[int, Any, dict[str, str]] | None = (200, {}, {})
    seen: list[web.Request] = field(default_factory=list)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(tmp_path, "server")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    made = Server("", authority)

    async def handle(request: web.Request) -> web.Response:
        made.seen.append(request)
        if made.answer is None:
            await asyncio.sleep(60)
            return web.Response()
        status, body, headers = made.answer
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type="application/json", headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    made.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def kubeconfig(path: Path, server: str, ca: str) -> Path:
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(ca.encode()).decode()}
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(whole))
    return path


@pytest.fixture
async def kube(server: Server, tmp_path: Path) -> AsyncIterator[KubeClient]:
    client = await from_kubeconfig(kubeconfig(tmp_path / "config", server.url, server.authority.pem))
    yield KubeClient(client, "vmscaler-system", DirectEffects(), SystemClock(), timeout=60)
    await client.close()


def status(code: int, reason: str, message: str, *causes: str) -> Any:
    details = {"causes": [{"reason": cause} for cause in causes]}
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message, "details": details}


RBAC = 'ipleases.vmscaler.io is forbidden: User "system:serviceaccount:a:b" cannot list resource "ipleases" in API group "vmscaler.io"'


@pytest.mark.parametrize(
    ("code", "body", "error", "reason"),
    [
        (401, status(401, "Unauthorized", "Unauthorized"), Untrusted, "Unauthorized"),
        (403, status(403, "Forbidden", RBAC), Untrusted, "Forbidden"),
        (403, status(403, "Forbidden", "exceeded quota: few-leases"), Rejected, "Forbidden"),
        (403, status(403, "Forbidden", "is being terminated", "NamespaceTerminating"), Rejected, "NamespaceTerminating"),
        (404, status(404, "NotFound", "not found"), NotFound, "NotFound"),
        (409, status(409, "AlreadyExists", "exists"), Conflict, "AlreadyExists"),
        (409, status(409, "Conflict", "modified"), Conflict, "Conflict"),
        (400, status(400, "BadRequest", "no"), Rejected, "BadRequest"),
        (413, "too large", Rejected, "Http413"),
        (422, status(422, "Invalid", "spec.x: write y"), Rejected, "Invalid"),
        (429, status(429, "TooManyRequests", "slow down"), Retryable, "TooManyRequests"),
        (500, "<html>oops</html>", Retryable, "Http500"),
        (503, status(503, "ServiceUnavailable", "starting"), Retryable, "ServiceUnavailable"),
        (504, status(504, "Timeout", "etcd"), Retryable, "Timeout"),
        (302, "", Retryable, "OddAnswer"),
        (200, "<html>a proxy</html>", Retryable, "OddAnswer"),
        (200, "[]", Retryable, "OddAnswer"),
    ],
)
async def test_classes(server: Server, kube: KubeClient, code: int, body: Any, error: type[OutsideError], reason: str) -> None:
    server.answer = (code, body, {})
    with pytest.raises(OutsideError) as raised:
        await kube.create(lease("s"))
    assert type(raised.value) is error
    assert raised.value.reason == reason
    assert raised.value.system == "kubernetes" and "POST /apis/vmscaler.io" in raised.value.message
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize(
    ("header", "after"), [({"Retry-After": "7"}, 7.0), ({"Retry-After": "86400"}, 300.0), ({"Retry-After": "soon"}, 5.0), ({}, 5.0)]
)
async def test_retry_after(server: Server, kube: KubeClient, header: dict[str, str], after: float) -> None:
    server.answer = (429, status(429, "TooManyRequests", "slow down"), header)
    with pytest.raises(Retryable) as raised:
        await kube.get(IpLease, NAME)
    assert raised.value.after == after


async def test_an_expired_list_is_begun_again_but_not_for_ever(server: Server, kube: KubeClient) -> None:
    server.answer = (410, status(410, "Expired", "too old resource version"), {})
    with pytest.raises(Retryable):
        await kube.list_objects(IpLease)
    assert len(server.seen) == 3


async def test_silence_is_bounded(server: Server, tmp_path: Path) -> None:
    server.answer = None
    client = await from_kubeconfig(kubeconfig(tmp_path / "config", server.url, server.authority.pem))
    with pytest.raises(Retryable) as raised:
        await KubeClient(client, "vmscaler-system", DirectEffects(), SystemClock(), timeout=0.5).get(IpLease, NAME)
    assert raised.value.reason == "TimedOut"
    await client.close()


async def test_nobody_there(server: Server, tmp_path: Path) -> None:
    client = await from_kubeconfig(kubeconfig(tmp_path / "dead", "https://127.0.0.1:1", server.authority.pem))
    with pytest.raises(Retryable) as raised:
        await KubeClient(client, "vmscaler-system", DirectEffects(), SystemClock()).get(IpLease, NAME)
    assert raised.value.reason == "Unreachable" and type(raised.value) is Retryable
    await client.close()


async def test_another_ca_gets_nothing(server: Server, tmp_path: Path) -> None:
    client = await from_kubeconfig(kubeconfig(tmp_path / "wrong", server.url, Authority.wrong().pem))
    with pytest.raises(Untrusted) as raised:
        await KubeClient(client, "vmscaler-system", DirectEffects(), SystemClock()).get(IpLease, NAME)
    assert raised.value.reason == "CertificateRefused" and server.seen == []
    await client.close()


async def test_in_cluster(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Token and CA come from files; the environment's proxy is not asked."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    token, ca = tmp_path / "token", server.authority.write(tmp_path / "ca.crt")
    token.write_text(TOKEN)
    server.answer = (200, {"items": []}, {})
    client = in_cluster("127.0.0.1", int(server.url.rpartition(":")[2]), token_file=str(token), ca_file=str(ca))
    assert await KubeClient(client, "vmscaler-system", DirectEffects(), SystemClock()).list_objects(IpLease) == []
    assert server.seen[0].headers["Authorization"].split()[1] == TOKEN
    await client.close()


async def test_a_kubeconfig_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match=r"there is no kubeconfig file .*absent") as raised:
        await from_kubeconfig(tmp_path / "absent")
    assert raised.value.reason == "KubeconfigInvalid"
    with pytest.raises(Rejected, match=r"no pod with a mounted ServiceAccount \(.*[^.]\): .*VMSCALER_KUBECONFIG"):
        in_cluster("127.0.0.1", 443, token_file=str(tmp_path / "absent"), ca_file=str(tmp_path / "absent"))


async def test_a_binary_secret_is_told_without_its_bytes(server: Server, kube: KubeClient) -> None:
    server.answer = (200, {"metadata": {"name": "s"}, "data": {"password": base64.b64encode(b"\xff\xfesecret").decode()}}, {})
    with pytest.raises(Rejected) as raised:
        await kube.get_secret("s")
    assert raised.value.reason == "SecretNotText" and "secret\\" not in str(raised.value) and raised.value.__cause__ is None


async def test_a_label_cannot_smuggle_another(kube: KubeClient) -> None:
    with pytest.raises(ValueError, match="cannot be a label"):
        await kube.list_objects(IpLease, labels={"a": "b,c=d"})
