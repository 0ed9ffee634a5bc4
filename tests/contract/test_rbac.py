"""deploy/: what the operator's account and tenants may do, asked of the real API server."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from tests.contract.kube_api import KubeApi
from tests.contract.kube_bench import ROOT, apply_crds

from lab.controlplane import ControlPlane
from lab.kubectl import KubectlError

OPERATOR = "system:serviceaccount:vmscaler-system:vmscaler-operator"
OWN, OTHER = "vmscaler-system", "acme"
ALL = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
GROUP = "vmscaler.io"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(control_plane: ControlPlane) -> ControlPlane:
    await apply_crds(control_plane)
    await control_plane.apply(ROOT / "deploy", ROOT / "deploy" / "samples" / "namespace.yaml")
    api_group = "rbac.authorization.k8s.io"
    for role in ("view", "edit"):
        binding = {
            "apiVersion": f"{api_group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"rbac-test-{role}", "namespace": OTHER},
            "roleRef": {"apiGroup": api_group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": api_group, "kind": "User", "name": f"{role}er"}],
        }
        await control_plane.apply_objects(binding)
    await becomes(control_plane, {"patch"}, OPERATOR, f"{GROUP}|sites/status", None)
    return control_plane


async def verbs(cluster: ControlPlane, user: str, resource: str, namespace: str | None, name: str = "") -> set[str]:
    async with KubeApi(cluster) as api:
        answers = await asyncio.gather(*(api.may(user, verb, resource, namespace, name) for verb in ALL))
    return {verb for verb, allowed in zip(ALL, answers, strict=True) if allowed}


async def becomes(cluster: ControlPlane, allowed: set[str], user: str, resource: str, namespace: str | None, name: str = "") -> None:
    """The API server's authorizer learns of roles and bindings a moment after they are made, and so does what fills `edit` and `view`."""
    clock = asyncio.get_running_loop()
    deadline = clock.time() + 90
    while (found := await verbs(cluster, user, resource, namespace, name)) != allowed and clock.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    assert found == allowed


@pytest.mark.parametrize(
    ("resource", "namespace", "allowed"),
    [
        (f"{GROUP}|sites", None, {"get", "list", "watch", "patch"}),
        (f"{GROUP}|sites/status", None, {"patch"}),
        (f"{GROUP}|autoscalingpolicies", OTHER, {"get", "list", "watch", "patch"}),
        (f"{GROUP}|autoscalingpolicies/status", OTHER, {"patch"}),
        (f"{GROUP}|vminstances", OTHER, {"get", "list", "watch", "create", "patch", "delete"}),
        (f"{GROUP}|ipleases", None, {"get", "list", "watch", "create", "patch", "delete"}),
        (f"{GROUP}|scaleoutevents/status", OTHER, {"patch"}),
        (f"{GROUP}|scaleinevents", OTHER, set()),
        ("events", OTHER, {"get", "create", "patch"}),
        ("secrets", OWN, {"get", "list", "create", "delete"}),
        ("secrets", OTHER, set()),
        ("secrets", None, set()),
        ("configmaps", OWN, set()),
        ("pods", OWN, set()),
        ("namespaces", None, set()),
        ("apiextensions.k8s.io|customresourcedefinitions", None, set()),
        ("rbac.authorization.k8s.io|clusterroles", None, set()),
        ("coordination.k8s.io|leases", OTHER, set()),
        ("coordination.k8s.io|leases", OWN, {"create"}),
    ],
)
async def test_the_operator(cluster: ControlPlane, resource: str, namespace: str | None, allowed: set[str]) -> None:
    await becomes(cluster, allowed, OPERATOR, resource, namespace)


async def test_the_operator_s_own_lease(cluster: ControlPlane) -> None:
    await becomes(cluster, {"get", "create", "update"}, OPERATOR, "coordination.k8s.io|leases", OWN, "vmscaler-operator")


@pytest.mark.parametrize(
    ("user", "resource", "allowed"),
    [
        ("editer", f"{GROUP}|autoscalingpolicies", set(ALL)),
        ("editer", f"{GROUP}|vmtemplates", set(ALL)),
        ("editer", f"{GROUP}|autoscalingpolicies/status", set()),
        ("editer", f"{GROUP}|vminstances", {"get", "list", "watch"}),
        ("editer", f"{GROUP}|scaleoutevents", {"get", "list", "watch"}),
        ("viewer", f"{GROUP}|autoscalingpolicies", {"get", "list", "watch"}),
        ("viewer", f"{GROUP}|vminstances", {"get", "list", "watch"}),
        ("editer", f"{GROUP}|sites", set()),
        ("editer", f"{GROUP}|ipleases", set()),
    ],
)
async def test_tenants(cluster: ControlPlane, user: str, resource: str, allowed: set[str]) -> None:
    await becomes(cluster, allowed, user, resource, OTHER)
    assert await verbs(cluster, user, resource, "kube-system") == set()


async def test_kubectl_says_so_too(cluster: ControlPlane) -> None:
    assert (await cluster.kubectl("auth", "can-i", "patch", "sites/status", f"--as={OPERATOR}")).strip() == "yes"
    with pytest.raises(KubectlError):
        await cluster.kubectl("auth", "can-i", "get", "secrets", "-n", OTHER, f"--as={OPERATOR}")
