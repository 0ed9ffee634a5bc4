"""The text of a job's pipeline: jenkins/Jenkinsfile.autoscale with its placeholders replaced by literals.

Called by `job`. A placeholder is a whole single-quoted string of the template (`'@NAME@'`), so that the template is itself a readable
Jenkinsfile; it is replaced by a Groovy literal: digits for a number, an escaped single-quoted string (no interpolation) for text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from vmscaler.api import duration
from vmscaler.api.autoscalingpolicy import Timeouts

_PLACEHOLDER = re.compile(r"'@([A-Z_]+)@'")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_ANY_AGENT = re.compile(r"\{ *label '@AGENT_LABEL@' *\}")

# Values are validated where they come from (api/site.py); again here, since the next stop is a program.
_ALLOWED: Mapping[str, re.Pattern[str]] = {
    "STEP_COMMAND": re.compile(r"/[A-Za-z0-9._/\-]{1,511}"),
    "GATEWAY_URL": re.compile(r"https://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~/\-]*)?"),
    "GATEWAY_CA": re.compile(r"[A-Za-z0-9+/]+={0,2}"),
    "JOB_GENERATION": re.compile(r"[A-Za-z0-9._\-]{1,64}"),
    "STEP_CREDENTIAL": re.compile(r"[A-Za-z0-9._\-]{1,128}"),
    "AGENT_LABEL": re.compile(r"[A-Za-z0-9._\-]{0,63}"),
}
# A Java class file holds string constants up to 64 KiB, and the value becomes an environment variable (128 KiB at most).
_LONGEST_CA = 48 * 1024


@dataclass(frozen=True)
class StageLimits:
    """Time limits of the stages, in seconds. The operator's own limits end a step with a reason; these are the net beneath, wide enough
    for a restart of the operator in between."""

    claim: int = 300
    allocate: int = 600
    clone: int = 2400
    verify: int = 1500
    join: int = 900
    finish: int = 600
    rollback: int = 1800


def stage_limits(timeouts: Timeouts, slack: timedelta = timedelta(minutes=10)) -> StageLimits:
    """From the policy's time-outs (Go-style), each with `slack` for an operator that is away. Raises ValueError on a bad duration."""

    def seconds(*texts: str) -> int:
        return round(sum((duration.parse(text) for text in texts), slack).total_seconds())

    return StageLimits(
        claim=300,
        allocate=seconds(),
        clone=seconds(timeouts.clone),
        verify=seconds(timeouts.boot, timeouts.health),
        join=seconds(timeouts.member),
        finish=seconds(),
        rollback=seconds(timeouts.drain, timeouts.clone),
    )


@dataclass(frozen=True)
class PipelineValues:
    """What differs from job to job."""

    step_command: str
    gateway_url: str
    gateway_ca_pem: str
    job_generation: str
    step_credential: str
    agent_label: str
    limits: StageLimits


def groovy_literal(value: str | int) -> str:
    """A number, or a single-quoted Groovy string: nothing is interpolated, nothing can end it early. Raises ValueError on control characters
    other than tab and line ends."""
    if isinstance(value, int):
        return str(int(value))
    if bad := _CONTROL.search(value):
        raise ValueError(f"U+{ord(bad.group()):04X} cannot stand in a Groovy string")
    # Never \uXXXX: Groovy decodes that before it looks for the string's end.
    return "'" + value.translate(_ESCAPES) + "'"


def render(template: str, values: PipelineValues) -> str:
    """The pipeline. Raises ValueError for a value that is not allowed, and for a placeholder that is unknown or unused."""
    literals: dict[str, str | int] = {
        "STEP_COMMAND": values.step_command,
        "GATEWAY_URL": values.gateway_url,
        "GATEWAY_CA": base64.b64encode(values.gateway_ca_pem.encode()).decode(),
        "JOB_GENERATION": values.job_generation,
        "STEP_CREDENTIAL": values.step_credential,
        "AGENT_LABEL": values.agent_label,
    }
    for name, allowed in _ALLOWED.items():
        text = str(literals[name])
        if not allowed.fullmatch(text) or len(text) > _LONGEST_CA:
            raise ValueError(f"{name}: {text[:80]!r} may not stand in a pipeline")
    for stage in ("claim", "allocate", "clone", "verify", "join", "finish", "rollback"):
        seconds: int = getattr(values.limits, stage)
        if seconds < 1:
            raise ValueError(f"the time limit of {stage} is {seconds} s: it must be at least 1 s")
        literals[f"{stage.upper()}_SECONDS"] = seconds
    if not values.agent_label:
        template = _ANY_AGENT.sub("any", template)
        del literals["AGENT_LABEL"]
    unused = set(literals) - set(_PLACEHOLDER.findall(template))
    if unused:
        raise ValueError(f"the pipeline template does not use {', '.join(sorted(unused))}")

    def literal(match: re.Match[str]) -> str:
        if match[1] not in literals:
            raise ValueError(f"the pipeline template asks for {match[1]}, which is not known")
        return groovy_literal(literals[match[1]])

    return _PLACEHOLDER.sub(literal, template)
