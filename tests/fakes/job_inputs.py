"""What a sample policy's Jenkins job is made from, with the repository's own templates."""

from __future__ import annotations

from pathlib import Path

from vmscaler.api.autoscalingpolicy import Timeouts
from vmscaler.decide import job, pipeline

JENKINS = Path(__file__).resolve().parents[2] / "jenkins"
UID = "0f8e9c1a-1111-4222-8333-444455556666"
PEM = "-----BEGIN CERTIFICATE-----\nc2FtcGxlIG9ubHksIG5vdCBhIGNlcnRpZmljYXRl\n-----END CERTIFICATE-----\n"

VALUES = pipeline.PipelineValues(
    step_command="/usr/local/bin/vmscaler-step",
    gateway_url="https://vmscaler-gateway.example.org:8443",
    gateway_ca_pem=PEM,
    job_generation="sample-generation-1",
    step_credential=f"vmscaler-step-{UID}",
    agent_label="",
    limits=pipeline.stage_limits(Timeouts()),
)
INPUTS = job.JobInputs(
    namespace="acme",
    policy="web",
    policy_uid=UID,
    display_name="Acme web shop",
    hook_credential=f"vmscaler-hook-{UID}",
    values=VALUES,
    job_template=(JENKINS / "job-template.xml").read_text(),
    pipeline_template=(JENKINS / "Jenkinsfile.autoscale").read_text(),
)
