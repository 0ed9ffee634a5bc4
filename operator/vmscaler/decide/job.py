"""A policy's Jenkins job as text: the template of jenkins/job-template.xml with four fields set.

Called by flows/provision.py, which has it compared (`job_fields.differs`) with what Jenkins has, and sent where that differs. The
description says whose job it is and carries a hash of our content, since no field of Jenkins' API does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from vmscaler.decide import job_fields, pipeline, xmltext
from vmscaler.decide.job_fields import differs, job_hash, managed_fields
from vmscaler.decide.pipeline import PipelineValues, StageLimits, stage_limits

__all__ = [
    "JobInputs",
    "JobOwner",
    "JobTemplates",
    "PipelineValues",
    "StageLimits",
    "differs",
    "job_config",
    "job_hash",
    "managed_fields",
    "owner",
    "stage_limits",
]

_CREDENTIAL = re.compile(r"[A-Za-z0-9._\-]{1,128}")
# Jenkins shows descriptions through a markup formatter that an administrator chose: no character of HTML, Groovy or a format goes in.
_UNSAFE = re.compile(r"[^\w .,:()+/\-]")
_OWNER = re.compile(r"Managed by vmscaler for (?P<namespace>[a-z0-9-]+)/(?P<policy>[a-z0-9.-]+) (?:.*)uid=(?P<uid>[A-Za-z0-9-]+) ")


@dataclass(frozen=True)
class JobTemplates:
    """The texts that a job is made of: jenkins/job-template.xml and jenkins/Jenkinsfile.autoscale."""

    config: str
    pipeline: str


@dataclass(frozen=True)
class JobInputs:
    """What a job is made from: the policy, its credentials' ids, the pipeline's values, the two templates' texts."""

    namespace: str
    policy: str
    policy_uid: str
    display_name: str
    hook_credential: str
    values: PipelineValues
    job_template: str
    pipeline_template: str
    disabled: bool = False


@dataclass(frozen=True)
class JobOwner:
    """Whose job it is, by its description."""

    namespace: str
    policy: str
    uid: str


def job_config(inputs: JobInputs) -> str:
    """config.xml for the policy. Raises ValueError for a value that may not stand there or a template that is not ours."""
    if not _CREDENTIAL.fullmatch(inputs.hook_credential):
        # An empty id would leave the hook without a token; facts/jenkins.md "The token in credentials".
        raise ValueError(f"{inputs.hook_credential!r} is not usable as a credential's id")
    root = xmltext.parse(inputs.job_template)
    xmltext.only(root, f"{job_fields.GENERIC_TRIGGER}/tokenCredentialId").text = inputs.hook_credential
    xmltext.only(root, f"{job_fields.GENERIC_TRIGGER}/token").text = None
    xmltext.only(root, "definition/script").text = pipeline.render(inputs.pipeline_template, inputs.values)
    xmltext.only(root, "disabled").text = "true" if inputs.disabled else "false"
    description = xmltext.only(root, "description")
    description.text = None
    description.text = _description(inputs, job_hash(xmltext.render(root)))
    return xmltext.render(root)


def _description(inputs: JobInputs, digest: str) -> str:
    shown = _UNSAFE.sub("_", inputs.display_name)[:100].strip()
    return (
        f"Managed by vmscaler for {inputs.namespace}/{inputs.policy} {f'({shown}) ' if shown else ''}"
        f"- change the AutoscalingPolicy, not this job. uid={inputs.policy_uid} hash=sha256:{digest}"
    )


def owner(description: str) -> JobOwner | None:
    """Whose job a description says it is; None for a job that vmscaler did not make."""
    match = _OWNER.match(description.strip())
    return JobOwner(match["namespace"], match["policy"], match["uid"]) if match else None
