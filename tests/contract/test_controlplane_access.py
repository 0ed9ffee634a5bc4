"""Who may do what on the lab's cluster: accounts, strangers, certificates, and where its secrets are."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import stat
from pathlib import Path

import aiohttp
import psutil
import pytest
from tests.contract.kube_api import temporary_namespace
from tests.contract.kube_bench import eventually

from lab.controlplane import ControlPlane, existing_cluster
from lab.kubectl import KubectlError, kubectl

pytestmark = pytest.mark.lab


async def test_a_service_account_may_do_what_its_role_says(control_plane: ControlPlane, tmp_path: Path) -> None:
    async with temporary_namespace(control_plane, "access") as namespace:
        await control_plane.kubectl("create", "serviceaccount", "reader", "-n", namespace)
        await control_plane.kubectl("create", "role", "reader", "-n", namespace, "--verb=get,list", "--resource=configmaps")
        await control_plane.kubectl(
            "create", "rolebinding", "reader", "-n", namespace, "--role=reader", f"--serviceaccount={namespace}:reader"
        )
        target = await control_plane.account_kubeconfig(namespace, "reader", tmp_path / "reader.kubeconfig")
        assert stat.S_IMODE(os.stat(target).st_mode) == 0o600  # noqa: PTH116 - pathlib's would block too
        who = json.loads(await kubectl(target, "auth", "whoami", "-o", "json"))["status"]["userInfo"]
        assert who["username"] == f"system:serviceaccount:{namespace}:reader"

        async def allowed() -> bool:
            try:
                await kubectl(target, "get", "configmaps")
            except KubectlError:
                return False
            return True

        await eventually(allowed, "the API server knows the new binding")
        for refused in (("get", "secrets"), ("create", "configmap", "x"), ("get", "configmaps", "-n", "kube-system")):
            with pytest.raises(KubectlError, match=r"(?i)forbidden"):
                await kubectl(target, *refused)
        with pytest.raises(KubectlError, match="not found"):
            await control_plane.account_kubeconfig(namespace, "nobody", tmp_path / "nobody.kubeconfig")


async def test_strangers_are_refused(control_plane: ControlPlane) -> None:
    trust = ssl.create_default_context(cadata=control_plane.ca)
    trust.verify_flags |= ssl.VERIFY_X509_STRICT  # the default since Python 3.13
    async with aiohttp.ClientSession(control_plane.server, connector=aiohttp.TCPConnector(ssl=trust)) as session:
        for headers, status in (({}, 403), ({"Authorization": "Bearer no-such-token"}, 401)):
            async with session.get("/api/v1/secrets", headers=headers) as answer:
                assert answer.status == status


async def test_the_certificate_is_checked(control_plane: ControlPlane, tmp_path: Path) -> None:
    config = json.loads(await control_plane.kubectl("config", "view", "--raw", "-o", "json"))
    del config["clusters"][0]["cluster"]["certificate-authority-data"]
    path = tmp_path / "no-ca.kubeconfig"
    await asyncio.to_thread(path.write_text, json.dumps(config))
    with pytest.raises(KubectlError, match="certificate"):
        await kubectl(path, "get", "namespaces")


async def test_another_cluster_is_used_only_when_file_and_context_are_named(
    control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    with pytest.raises(FileNotFoundError):
        await kubectl(tmp_path / "missing", "get", "namespaces")
    with pytest.raises(ValueError, match="name the context"):
        await existing_cluster(control_plane.kubeconfig, "", tmp_path)
    with pytest.raises(KubectlError, match="nowhere"):
        await existing_cluster(control_plane.kubeconfig, "nowhere", tmp_path)
    context = (await control_plane.kubectl("config", "current-context")).strip()
    cluster = await existing_cluster(control_plane.kubeconfig, context, tmp_path)
    assert (cluster.server, cluster.ca) == (control_plane.server, control_plane.ca)
    assert "default" in await cluster.kubectl("get", "namespaces")


async def test_the_token_is_a_secret_kept_in_private_files(control_plane: ControlPlane) -> None:
    token = control_plane.part.record["adminToken"]
    command = " ".join(psutil.Process(control_plane.part.pid).cmdline())
    log = await asyncio.to_thread(control_plane.part.log.read_text)
    assert token not in command
    assert token not in log
    assert base64.b64encode(token.encode()).decode() not in log
    data = Path(control_plane.part.record["data"])
    for path in [data, *(data / "identity").iterdir(), control_plane.kubeconfig]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
