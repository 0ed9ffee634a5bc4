"""A right resource that cannot be met yet is not Ready, says why and what to do, and becomes Ready by itself when that is mended.

Nobody touches the policy: its generation stays 1.
"""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
from tests.e2e.bench import Bench

from lab import resources
from lab.pki import Authority
from lab.process import Json

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(900)]

NEIGHBOUR = "initech"
BARE_POOL = "/Common/pool-bare"


async def says(bench: Bench, kind: str, name: str, type_: str, status: str, reason: str, words: str = "", namespace: str = "acme") -> None:
    """Wait for this condition, with these words in its message. Where it is not True, Ready is not True either."""

    async def look() -> Any:
        found = await bench.get(kind, name, namespace)
        conditions = {c["type"]: c for c in (found or {}).get("status", {}).get("conditions", [])}
        condition = conditions.get(type_)
        seen.append(condition)
        if condition is None or (condition["status"], condition["reason"]) != (status, reason) or words not in condition["message"]:
            return None
        return conditions["Ready"]

    seen: list[Any] = []
    try:
        ready = await bench.until(f"{kind} {name}: {type_} {status} {reason} {words!r}", look)
    except AssertionError as error:
        raise AssertionError(f"{seen[-1]}\n{error}") from None
    assert (ready["status"] == "True") <= (status == "True"), ready


async def mended(bench: Bench, name: str, namespace: str = "acme") -> None:
    """The policy is Ready, as it was applied."""
    await says(bench, "asp", name, "Ready", "True", "AllReady", namespace=namespace)
    policy = await bench.get("asp", name, namespace)
    assert policy is not None
    assert policy["metadata"]["generation"] == 1, "the policy was touched"


async def gone(bench: Bench, *policies: str, namespace: str = "acme") -> None:
    """Delete the policies, with all that is wired for them."""
    await bench.dc.cluster.kubectl("delete", "asp", *policies, "-n", namespace, "--ignore-not-found", "--timeout=180s")


def site_of(bench: Bench) -> Json:
    """The Site as it was applied, to be changed and applied again."""
    assert bench.dc.run is not None
    return copy.deepcopy(resources.site(bench.dc.run))


async def template(bench: Bench, name: str, path: str, namespace: str = "acme") -> None:
    """Apply a VmTemplate of this inventory path."""
    document = resources.template()
    document["metadata"] |= {"name": name, "namespace": namespace}
    document["spec"]["inventoryPath"] = path
    await bench.dc.cluster.apply_objects(document)


async def icontrol(bench: Bench, method: str, path: str, body: Json) -> None:
    """What a person does at the BIG-IP, over iControl REST."""
    user = bench.dc.run.users["bigip-credentials"] if bench.dc.run else {}
    login = {"username": user["username"], "password": user["password"], "loginProviderName": "tmos"}
    url, tls = bench.dc.parts["bigip"].record["url"], bench.dc.client_context()
    async with bench.http.post(f"{url}/mgmt/shared/authn/login", json=login, ssl=tls) as answer:
        token = (await answer.json())["token"]["token"]
    async with bench.http.request(method, url + path, json=body, headers={"X-F5-Auth-Token": token}, ssl=tls) as answer:
        assert answer.status == 200, await answer.text()


async def _a_template_that_comes_later(bench: Bench, site: Json) -> None:
    policy = ("asp", "h-template", "TemplateResolved", "False")
    await bench.policy("h-template", 113, 113, templateRef={"name": "tmpl-later"})
    await says(bench, *policy, "TemplateNotFound", "create it, or correct spec.templateRef")
    await says(bench, "asp", "h-template", "JobReady", "Unknown", "NotResolved")

    await template(bench, "tmpl-later", "/DC0/vm/acme/web-1")
    await says(bench, "vmt", "tmpl-later", "Ready", "False", "NotPermitted", "add it to folders in its spec.tenants")
    await says(bench, *policy, "TemplateNotReady", "add it to folders in its spec.tenants")
    site["spec"]["tenants"][0]["folders"].append("/DC0/vm/acme")
    await bench.dc.cluster.apply_objects(site)
    await says(bench, "vmt", "tmpl-later", "Ready", "False", "NotATemplate", "convert it in vCenter, or name another")

    await template(bench, "tmpl-later", "/DC0/vm/templates/tmpl-wrong")
    await says(bench, "vmt", "tmpl-later", "Ready", "False", "TemplateNotFound", "correct spec.inventoryPath")
    await says(bench, *policy, "TemplateNotReady", "correct spec.inventoryPath")
    await template(bench, "tmpl-later", "/DC0/vm/templates/tmpl-web")
    await says(bench, "vmt", "tmpl-later", "Ready", "True", "Adopted")
    await mended(bench, "h-template")


async def _a_pool_that_comes_later(bench: Bench) -> None:
    policy = ("asp", "h-pool", "PoolResolved", "False")
    await bench.policy("h-pool", 114, 114, f5={"poolName": BARE_POOL, "memberPort": 8080, "vip": None})
    await says(bench, *policy, "PoolNotFound", "create it, or correct spec.f5.poolName")
    await icontrol(bench, "POST", "/mgmt/tm/ltm/pool", {"name": "pool-bare"})
    await says(bench, *policy, "PoolWithoutMonitor", "give it one")
    await icontrol(bench, "PATCH", "/mgmt/tm/ltm/pool/~Common~pool-bare", {"monitor": "/Common/http_web"})
    await mended(bench, "h-pool")


async def _a_namespace_that_is_granted_later(bench: Bench, site: Json) -> None:
    net = bench.dc.subnet
    await template(bench, "tmpl-web", "/DC0/vm/templates/tmpl-web", NEIGHBOUR)
    await bench.policy("h-grant", 115, 115, namespace=NEIGHBOUR)
    for kind, name, type_ in (("vmt", "tmpl-web", "Ready"), ("asp", "h-grant", "Granted")):
        await says(bench, kind, name, type_, "False", "NamespaceNotGranted", f"spec.tenants with namespaces: [{NEIGHBOUR}]", NEIGHBOUR)
    grant: Json = {"namespaces": [NEIGHBOUR], "pools": ["/Common/pool-web"], "folders": ["/DC0/vm/templates"]}
    grant["networks"] = [{"name": "frontend", "ranges": [net.address(96) + "/27"]}]
    site["spec"]["tenants"].append(grant)
    await bench.dc.cluster.apply_objects(site)
    await says(bench, "asp", "h-grant", "Granted", "False", "FolderNotGranted", "add its folder to folders in Site 'default'", NEIGHBOUR)
    grant["folders"].append(f"/DC0/vm/vmscaler/{NEIGHBOUR}")
    await bench.dc.cluster.apply_objects(site)
    await mended(bench, "h-grant", NEIGHBOUR)


async def test_what_a_policy_names_comes_later(bench: Bench) -> None:
    site = site_of(bench)
    site["spec"]["tenants"][0]["pools"].append(BARE_POOL)
    await bench.dc.cluster.apply_objects(site)
    await bench.dc.cluster.apply_objects({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NEIGHBOUR}})
    try:
        await asyncio.gather(
            _a_template_that_comes_later(bench, site),
            _a_pool_that_comes_later(bench),
            _a_namespace_that_is_granted_later(bench, site),
        )
    finally:
        await asyncio.gather(gone(bench, "h-template", "h-pool"), gone(bench, "h-grant", namespace=NEIGHBOUR))
        await bench.dc.cluster.kubectl("delete", "vmt", "tmpl-later", "-n", "acme", "--ignore-not-found")
        await bench.dc.cluster.kubectl("delete", "vmt", "--all", "-n", NEIGHBOUR)
        await bench.dc.apply_site()


async def _talked(bench: Bench) -> tuple[int, int]:
    """How many requests the vCenter and the BIG-IP have taken."""
    vcenter = await bench.dc.control("vcenter", "GET", "/status")
    return sum(vcenter["calls"].values()), (await bench.bigip())["requests"]


async def test_systems_that_are_down_or_show_another_identity(bench: Bench) -> None:
    dc, wrong = bench.dc, Authority.wrong().issue("127.0.0.1", "localhost")
    right = dc.ca.issue("127.0.0.1", "localhost")
    await bench.policy("h-old", 116, 116)
    await mended(bench, "h-old")
    site = site_of(bench)
    try:
        await asyncio.gather(
            dc.control("vcenter", "PUT", "/certificate", {"certificate": wrong.certificate, "privateKey": wrong.key}),
            dc.faults("bigip", {"certificate": {"value": {"certificate": wrong.certificate, "key": wrong.key}}}),
            dc.faults("jenkins", {"down": True}),
            dc.faults("monitoring", {"sshd": "hostKeyChanged"}),
        )
        where = ("site", "default")
        await says(bench, *where, "VCenterReady", "Unknown", "CertificateNotTrusted", "spec.vcenter.caBundle")
        await says(bench, *where, "BigIpReady", "Unknown", "CertificateNotTrusted", "spec.bigip.caBundle")
        before = await _talked(bench)  # what was on its way when the certificates changed is over
        await bench.policy("h-new", 117, 117)
        await says(bench, *where, "JenkinsReady", "Unknown", "Unreachable", "cannot be reached")
        await says(bench, *where, "MonitoringHostsReady", "Unknown", "HostKeyChanged", "ssh-keyscan")
        await says(bench, *where, "PrometheusReady", "True", "LoggedIn")
        await says(bench, "vmt", "tmpl-web", "Ready", "Unknown", "CertificateNotTrusted", "spec.vcenter.caBundle")
        for policy in ("h-old", "h-new"):
            await says(bench, "asp", policy, "TemplateResolved", "Unknown", "TemplateUnseen", "spec.vcenter.caBundle")
            await says(bench, "asp", policy, "PoolResolved", "Unknown", "CertificateNotTrusted", "spec.bigip.caBundle")
        await says(bench, "asp", "h-new", "JobReady", "Unknown", "NotResolved")
        await says(bench, "asp", "h-old", "JobReady", "Unknown", "Unreachable", "cannot be reached")
        await says(bench, "asp", "h-old", "TargetsReady", "Unknown", "HostKeyChanged", "ssh-keyscan")
        assert await _talked(bench) == before, "something was sent to a system that showed another certificate"

        # One system after the other: each heals for itself.
        await dc.control("vcenter", "PUT", "/certificate", {"certificate": right.certificate, "privateKey": right.key})
        await dc.faults("bigip", {})
        await says(bench, "asp", "h-old", "PoolResolved", "True", "Found")
        await says(bench, "asp", "h-new", "TemplateResolved", "True", "Found")
        await says(bench, "asp", "h-new", "JobReady", "Unknown", "Unreachable", "cannot be reached")
        await dc.faults("jenkins", {})
        await says(bench, "asp", "h-new", "RouteReady", "Unknown", "HostKeyChanged", "ssh-keyscan")
        # The host was made anew: its new key goes into the Site.
        keys = (await dc.control("monitoring", "GET", "/status"))["sshd"]["hostKeys"]
        for hosts in (site["spec"]["prometheus"]["hosts"], site["spec"]["alertmanager"]["hosts"]):
            hosts[0]["ssh"]["hostKeys"] = keys
        await dc.cluster.apply_objects(site)
        await asyncio.gather(mended(bench, "h-old"), mended(bench, "h-new"))
        await says(bench, *where, "Ready", "True", "AllReady")
    finally:
        await dc.control("vcenter", "PUT", "/certificate", {"certificate": right.certificate, "privateKey": right.key})
        await asyncio.gather(*(dc.faults(part, {}) for part in ("bigip", "jenkins", "monitoring")))
        await dc.apply_site()
        await gone(bench, "h-old", "h-new")


async def test_a_secret_that_is_missing_incomplete_or_wrong(bench: Bench) -> None:
    dc = bench.dc
    assert dc.run is not None
    whole = next(s for s in resources.secrets(dc.run) if s["metadata"]["name"] == "jenkins-credentials")
    await dc.cluster.kubectl("delete", "secret", "jenkins-credentials", "-n", "vmscaler-system")
    try:
        await bench.policy("h-secret", 118, 118)
        missing = "create it with username, token"
        await says(bench, "asp", "h-secret", "Granted", "False", "SecretNotFound", missing)
        await says(bench, "site", "default", "JenkinsReady", "False", "SecretNotFound", missing)
        half = copy.deepcopy(whole)
        del half["data"]["token"]
        await dc.cluster.apply_objects(half)
        await says(bench, "site", "default", "JenkinsReady", "False", "SecretIncomplete", "lacks token: add it")
        wrong = copy.deepcopy(whole)
        wrong["data"]["token"] = wrong["data"]["username"]
        await dc.cluster.apply_objects(wrong)
        await says(bench, "site", "default", "JenkinsReady", "Unknown", "LoginRefused", "token")
        await says(bench, "asp", "h-secret", "JobReady", "Unknown", "LoginRefused", "token")
    finally:
        await dc.cluster.apply_objects(whole)
    await mended(bench, "h-secret")
    await says(bench, "site", "default", "Ready", "True", "AllReady")
    assert whole["data"]["token"] not in json.dumps(await bench.dc.cluster.get("events", "-A"))
    await gone(bench, "h-secret")
