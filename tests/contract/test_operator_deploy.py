"""deploy/operator.yaml passes a server dry run on a real API server."""

from __future__ import annotations

from tests.contract.kube_bench import ROOT

from lab.controlplane import ControlPlane


async def test_the_operator_s_manifests_pass_a_server_dry_run(control_plane: ControlPlane) -> None:
    await control_plane.apply(ROOT / "deploy" / "namespace.yaml", ROOT / "deploy" / "rbac.yaml")
    manifest = str(ROOT / "deploy" / "operator.yaml")
    shown = await control_plane.kubectl("apply", "--dry-run=server", "--server-side", "--validate=strict", "-f", manifest)
    for name in ("deployment.apps/vmscaler-operator", "service/vmscaler-gateway"):
        assert f"{name} serverside-applied (server dry run)" in shown
