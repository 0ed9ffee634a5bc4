"""deploy/operator.yaml against what the operator's settings and the image say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from vmscaler.settings import Settings, from_environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    with (ROOT / "deploy" / "operator.yaml").open() as file:
        return {document["kind"]: document for document in YAML(typ="safe").load_all(file)}


@pytest.fixture(scope="module")
def pod(documents: dict[str, Any]) -> Any:
    return documents["Deployment"]["spec"]["template"]["spec"]


def test_one_process_acts(documents: dict[str, Any], pod: Any) -> None:
    spec = documents["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert pod["terminationGracePeriodSeconds"] == 40


def test_the_environment_is_one_that_the_settings_take(pod: Any) -> None:
    given = {one["name"]: one.get("value", "vmscaler-system") for one in pod["containers"][0]["env"]}
    assert from_environment(given).gateway_url.startswith("https://")
    # Kubernetes' own variables for the Service `vmscaler-gateway` would be read as settings.
    assert pod["enableServiceLinks"] is False


def test_ports_are_the_settings_defaults(documents: dict[str, Any], pod: Any) -> None:
    container = pod["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    fields = Settings.model_fields
    assert ports == {"gateway": fields["gateway_port"].default, "health": fields["health_port"].default}
    assert [port["targetPort"] for port in documents["Service"]["spec"]["ports"]] == ["gateway"]
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "health"}
    assert documents["Service"]["spec"]["selector"].items() <= documents["Deployment"]["spec"]["template"]["metadata"]["labels"].items()


def test_it_fits_a_restricted_namespace(pod: Any) -> None:
    secured, container = pod["securityContext"], pod["containers"][0]["securityContext"]
    assert secured["runAsNonRoot"] is True and secured["runAsUser"] > 0
    assert secured["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    # The certificate's key passes through the temporary folder.
    assert pod["volumes"][0]["emptyDir"]["medium"] == "Memory"
    assert pod["containers"][0]["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]


def test_the_image_runs_as_the_same_user() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    assert "USER 65532:65532" in text and "--require-hashes -r requirements.lock" in text
