"""The lab's cluster, seen by kubectl: what a real one does for clients."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from tests.contract.kube_bench import eventually, served

from lab.controlplane import SOURCE, Cluster, ControlPlane, kubernetes_version
from lab.kubectl import KubectlError

pytestmark = pytest.mark.lab


async def gone(cluster: Cluster, *what: str) -> bool:
    return await cluster.kubectl("get", *what, "--ignore-not-found", "-o", "name") == ""


def config_map(namespace: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, **metadata}}


def crd(group: str) -> dict[str, Any]:
    rules = [
        {"rule": "isIP(self.address) && ip.isCanonical(self.address)", "message": "write the address canonically"},
        {"rule": "cidr(self.subnet).containsIP(self.address)", "message": "the address lies outside the subnet"},
    ]
    strings = {name: {"type": "string", "maxLength": 64} for name in ("address", "subnet")}
    spec = {"type": "object", "required": ["address", "subnet"], "properties": strings, "x-kubernetes-validations": rules}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def thing(group: str, namespace: str, name: str, address: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{group}/v1",
        "kind": "Thing",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"address": address, "subnet": "192.0.2.0/24"},
    }


@pytest.fixture
async def namespace(control_plane: ControlPlane) -> AsyncIterator[str]:
    name = f"cp-{uuid.uuid4().hex[:8]}"
    await control_plane.kubectl("create", "namespace", name)
    yield name
    await control_plane.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def doomed_namespace(control_plane: ControlPlane) -> str:
    """Deleted before the first test and looked for in the last: the controller grants each namespace 5 s of grace."""
    name = f"cp-doomed-{uuid.uuid4().hex[:8]}"
    await control_plane.kubectl("create", "namespace", name)
    await control_plane.apply_objects(config_map(name, "inside"))
    await control_plane.kubectl("delete", "namespace", name, "--wait=false")
    return name


async def test_the_version_is_stamped(control_plane: ControlPlane) -> None:
    wanted = kubernetes_version(await asyncio.to_thread((SOURCE / "go.mod").read_text))
    server = json.loads(await control_plane.kubectl("version", "-o", "json"))["serverVersion"]
    assert server["gitVersion"] == wanted == control_plane.version
    assert f"v{server['major']}.{server['minor']}." in wanted


async def test_cel_knows_addresses_and_a_new_kind_is_collected(control_plane: ControlPlane, namespace: str) -> None:
    group = f"{namespace}.example.com"
    await control_plane.apply_objects(crd(group))
    try:
        await control_plane.kubectl("wait", "--for=condition=Established", f"crd/things.{group}", "--timeout=90s", timeout=120)
        await served(control_plane, group, 1)
        await control_plane.apply_objects(thing(group, namespace, "good", "192.0.2.7"))
        for address, message in (("198.51.100.7", "outside the subnet"), ("::ffff:c000:207", "canonically")):
            with pytest.raises(KubectlError, match=message):
                await control_plane.apply_objects(thing(group, namespace, "bad", address))
        owner = (await control_plane.get(f"things.{group}", "good", "-n", namespace))["metadata"]
        reference = {"apiVersion": f"{group}/v1", "kind": "Thing", "name": "good", "uid": owner["uid"]}
        await control_plane.apply_objects(
            thing(group, namespace, "owned", "192.0.2.8", ownerReferences=[reference]),
            config_map(namespace, "owned", ownerReferences=[reference]),
        )
        await control_plane.kubectl("delete", f"things.{group}", "good", "-n", namespace)
        for kind in (f"things.{group}", "configmap"):
            await eventually(
                lambda kind=kind: gone(control_plane, kind, "owned", "-n", namespace),  # type: ignore[misc]
                f"the owned {kind} is collected",
            )
    finally:
        await control_plane.kubectl("delete", "crd", f"things.{group}", "--wait=false")


async def test_deleting_in_the_foreground_ends(control_plane: ControlPlane, namespace: str) -> None:
    await control_plane.apply_objects(config_map(namespace, "owner"))
    uid = (await control_plane.get("configmap", "owner", "-n", namespace))["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "blockOwnerDeletion": True}
    await control_plane.apply_objects(config_map(namespace, "owned", ownerReferences=[reference]))
    # Argo CD's way to prune. Without a collector this hangs for ever.
    await control_plane.kubectl("delete", "configmap", "owner", "-n", namespace, "--cascade=foreground", "--timeout=90s", timeout=120)
    # Before it, unless the collector had not seen it yet when it looked for what to delete first.
    await eventually(lambda: gone(control_plane, "configmap", "owned", "-n", namespace), "the owned one is collected")


async def test_aggregated_roles_follow_their_parts(control_plane: ControlPlane, namespace: str) -> None:
    assert (await control_plane.get("clusterrole", "edit"))["rules"]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": namespace, "labels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}},
        "rules": [{"apiGroups": [f"{namespace}.example.com"], "resources": ["things"], "verbs": ["get"]}],
    }
    await control_plane.apply_objects(role)

    async def aggregated() -> bool:
        return f"{namespace}.example.com" in json.dumps((await control_plane.get("clusterrole", "edit"))["rules"])

    await eventually(aggregated, "edit has the new rule")
    await control_plane.kubectl("delete", "clusterrole", namespace)


async def test_control_port(control_plane: ControlPlane) -> None:
    control = control_plane.part.record["control"]
    async with aiohttp.ClientSession(control) as session:
        async with session.get("/status") as answer:
            assert (await answer.json())["pid"] == control_plane.part.pid
        async with session.put("/faults", json={}) as answer:
            assert answer.status == 200
        async with session.put("/faults", json={"slow": 1}) as answer:
            assert (answer.status, (await answer.json())["known"]) == (400, [])


async def test_a_namespace_goes_with_what_is_in_it(control_plane: ControlPlane, doomed_namespace: str) -> None:
    await control_plane.kubectl("wait", "--for=delete", f"namespace/{doomed_namespace}", "--timeout=90s", timeout=120)
    assert await gone(control_plane, "namespace", doomed_namespace)
    assert await gone(control_plane, "configmap", "inside", "-n", doomed_namespace)
