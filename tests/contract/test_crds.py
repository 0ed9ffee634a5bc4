"""crds/ and deploy/samples on a real API server: samples, explain, short names, and what `kubectl get` shows."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from tests.contract.crd_samples import SPECS, manifest
from tests.contract.kube_bench import ROOT

from lab.controlplane import ControlPlane
from vmscaler.api.crd import KINDS
from vmscaler.decide.names import event_name, instance_name, lease_name

WIDTH = 120
NAMESPACE = "acme-get"  # as long as customers' names are
LABEL = "vmscaler.test/columns=yes"
UID = "5b0f3a52-8c1d-4a6e-9f00-0123456789ab"


async def test_samples_pass_a_server_dry_run(cluster: ControlPlane) -> None:
    # Namespaces first: a dry run does not make them for what comes next.
    await cluster.apply(ROOT / "deploy", ROOT / "deploy" / "samples" / "namespace.yaml")
    shown = await cluster.kubectl("apply", "--dry-run=server", "--server-side", "-f", str(ROOT / "deploy" / "samples"))
    for name in (
        "site.vmscaler.io/default",
        "vmtemplate.vmscaler.io/tmpl-web",
        "autoscalingpolicy.vmscaler.io/web",
        "secret/monitoring-ssh",
    ):
        assert f"{name} serverside-applied (server dry run)" in shown


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
async def test_explain(cluster: ControlPlane, kind: Any) -> None:
    shown = await cluster.kubectl("explain", f"{kind.SHORT}.spec", "--recursive")
    assert f"KIND:       {kind.KIND}" in shown and "-required-" in shown
    assert (kind.__doc__ or "").split("\n")[0].split(":")[0][:40] in (await cluster.kubectl("explain", kind.SHORT)).replace("\n    ", " ")
    status = await cluster.kubectl("explain", f"{kind.SHORT}.status")
    assert "FIELDS:" in status


async def test_explain_tells_bounds_and_defaults(cluster: ControlPlane) -> None:
    shown = await cluster.kubectl("explain", "asp.spec.monitoring.cpuThreshold")
    assert "Percent of CPU in use" in shown
    assert "Active\n    Observe" in await cluster.kubectl("explain", "asp.spec.mode")


async def test_the_category_lists_all_kinds(cluster: ControlPlane) -> None:
    shown = await cluster.kubectl("api-resources", "--categories=vmscaler", "-o", "name")
    assert sorted(shown.split()) == sorted(f"{kind.PLURAL}.vmscaler.io" for kind in KINDS)


def _objects() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(object, status): a busy hour at a customer's."""
    first, second = (event_name("web", UID, sequence) for sequence in (1, 2))
    instance = instance_name(second, 1)

    def ready(status: str, reason: str) -> dict[str, Any]:
        return {"type": "Ready", "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}

    def named(kind: str, name: str, **spec: Any) -> dict[str, Any]:
        obj = manifest(kind, {**copy.deepcopy(SPECS[kind]), **spec}, NAMESPACE, labels=dict([LABEL.split("=")]))
        obj["metadata"]["name"] = name
        return obj

    leases = [
        (address, phase, {"siteRef": {"name": "get-sample"}, "address": address})
        for address, phase in (("192.0.2.100", "Leased"), ("192.0.2.101", "Quarantined"))
    ]
    return [
        (named("Site", "get-sample"), {"conditions": [ready("True", "AllSystemsReachable")], "policies": 12, "instances": 17}),
        (
            named("VmTemplate", "tmpl-web"),
            {"conditions": [ready("True", "Adopted")], "cpus": 2, "memoryMiB": 2048, "diskGiB": 20},
        ),
        (named("VmTemplate", "tmpl-gone"), {"conditions": [ready("False", "TemplateNotFound")]}),
        (
            named("AutoscalingPolicy", "web"),
            {"conditions": [ready("True", "Provisioned")], "instances": {"baseline": 2, "ours": 1, "total": 3}},
        ),
        (
            named("AutoscalingPolicy", "shop", mode="Observe"),
            {"conditions": [ready("Unknown", "AlertmanagerUnreachable")], "instances": {"baseline": 12, "ours": 0, "total": 12}},
        ),
        (
            named("VmInstance", instance),
            {"phase": "InService", "address": "192.0.2.100", "member": {"started": True, "pool": "/Common/pool-web"}},
        ),
        *(
            (
                {**named("IpLease", lease_name("get-sample", "frontend", address), **spec)},
                {"phase": phase, **({"releaseAt": "2026-01-01T00:10:00Z"} if phase == "Quarantined" else {})},
            )
            for address, phase, spec in leases
        ),
        (
            named("ScaleOutEvent", first),
            {"phase": "Failed", "stage": "rollback", "reason": "HealthCheckFailed", "duration": "12m03s"},
        ),
        (named("ScaleOutEvent", second), {"phase": "RollingBack", "stage": "allocate", "reason": "", "duration": None}),
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def busy(cluster: ControlPlane) -> AsyncIterator[ControlPlane]:
    """Objects of each kind with a status, found by a label, because others may use the cluster too."""
    await cluster.apply_objects({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    objects = _objects()
    await cluster.apply_objects(*(obj for obj, _ in objects))
    for obj, status in objects:
        name = f"{obj['kind'].lower()}/{obj['metadata']['name']}"
        patch = {"status": {key: value for key, value in status.items() if value is not None}}
        await cluster.kubectl("patch", "-n", NAMESPACE, name, "--subresource=status", "--type=merge", "-p", json.dumps(patch))
    yield cluster
    await cluster.kubectl("delete", "site,ipl", "-l", LABEL, "--wait=false")
    await cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize(
    ("name", "what"),
    [("get-all", "site,vmt,asp,vmi,ipl,soe"), *((f"get-{kind}", kind) for kind in ("site", "vmt", "asp", "vmi", "ipl", "soe"))],
)
async def test_columns_fit(busy: ControlPlane, golden: Callable[[str, str], None], name: str, what: str) -> None:
    shown = await busy.kubectl("get", what, "-A", "-l", LABEL)
    text = "\n".join(re.sub(r"\d+[smh](\d+s)?$", "<age>", line.rstrip()) for line in shown.splitlines()) + "\n"
    golden(f"kubectl/{name}.txt", text)
    assert max(len(line) for line in text.splitlines()) <= WIDTH
