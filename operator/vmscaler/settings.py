"""The one reader of the environment. Every setting is listed in docs/settings.md; a test says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "VMSCALER_"


class SettingsError(ValueError):
    """A setting is wrong or missing; the message names the variable."""


class Settings(BaseModel):
    """From VMSCALER_* variables: the field's name in capitals."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kubeconfig: Path | None = Field(default=None, description="A kubeconfig file; without it the pod's own service account is used.")
    kubernetes_service_host: str = Field(default="kubernetes.default.svc", description="API server, inside a pod.")
    kubernetes_service_port: int = Field(default=443, description="Its port.")
    namespace: str = Field(default="vmscaler-system", description="The operator's namespace: its Secrets and its Lease live there.")
    gateway_url: str = Field(
        pattern=r"^https://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/\-]*)?$",
        description="The gateway as the build agents reach it, https://host:port.",
    )
    gateway_bind: str = Field(default="0.0.0.0", description="Address that the gateway listens on.")  # noqa: S104 - a pod serves its pod address
    gateway_port: int = Field(default=8443, ge=0, le=65535, description="Port that the gateway listens on.")
    gateway_secret: str = Field(default="vmscaler-gateway-tls", description="Secret with ca.crt, tls.crt, tls.key; made if absent.")
    health_bind: str = Field(default="0.0.0.0", description="Address of /healthz, /readyz and /metrics.")  # noqa: S104
    health_port: int = Field(default=8080, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics.")
    jenkins_dir: Path | None = Field(
        default=None, description="Folder of Jenkinsfile.autoscale and job-template.xml; without it, the installation's own."
    )
    resync_seconds: float = Field(default=60.0, gt=0, allow_inf_nan=False, description="Period of the resync.")
    poll_seconds: float = Field(default=2.0, gt=0, allow_inf_nan=False, description="Pause between looks while something is waited for.")
    lease_seconds: int = Field(default=15, ge=1, description="Duration of the operator's Lease, whole seconds.")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")
    log_format: str = Field(default="json", pattern="^(json|text)$", description="json, or text for people.")


def from_environment(environ: Mapping[str, str] | None = None) -> Settings:
    """Read VMSCALER_*. Raises SettingsError that names what is wrong, unknown or missing."""
    source = os.environ if environ is None else environ
    given = {key.removeprefix(PREFIX).lower(): value for key, value in source.items() if key.startswith(PREFIX)}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        said = "; ".join(_said(str(one["loc"][0]), one["type"], one["msg"]) for one in error.errors())
        raise SettingsError(f"{said}. docs/settings.md lists the settings") from error


def _said(field: str, kind: str, message: str) -> str:
    """One thing that is wrong; never the value, which may be somebody's secret in the wrong place."""
    variable = PREFIX + field.upper()
    if kind == "extra_forbidden":
        return f"{variable} is no setting"
    meaning = (Settings.model_fields[field].description or "").rstrip(".")
    return f"{variable} is not set ({meaning})" if kind == "missing" else f"{variable}: {message} ({meaning})"
