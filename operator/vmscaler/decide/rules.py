"""A policy's Prometheus rules: which alerts call for another VM.

Called by the reconcile of a policy, which wraps the result in ports.monitoring.RuleFile for `put_rules`.
Missing data never fires: a comparison with no value yields no alert (facts/monitoring.md, "Prometheus").
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from vmscaler.api import duration
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.decide.promql import POLICY_LABEL, SITE_LABEL, cpu_expression, memory_expression

HIGH_CPU = "VmscalerHighCpu"
HIGH_MEMORY = "VmscalerHighMemory"
CONTENT_ANNOTATION = "vmscaler_content"
"""A hash of the group. Prometheus shows it in /api/v1/rules: that is the proof that this very content is loaded."""


def group_name(namespace: str, name: str) -> str:
    """The rule group's name."""
    return f"vmscaler/{namespace}/{name}"


def figures(policy: AutoscalingPolicy) -> list[str]:
    """What the rules compare with the thresholds. Raises ValueError for reserved matchLabels."""
    monitoring, namespace = policy.spec.monitoring, policy.customer
    cpu = [cpu_expression(monitoring, namespace)] if monitoring.cpu_threshold is not None else []
    return cpu + ([memory_expression(monitoring, namespace)] if monitoring.memory_threshold is not None else [])


def rule_document(policy: AutoscalingPolicy, *, site_name: str, evaluation_interval: str | None = None) -> dict[str, Any]:
    """The rule file's document. `evaluation_interval` is a Go-style duration; None: Prometheus' own.

    Raises ValueError for reserved matchLabels (`decide.promql.reserved_labels`).
    """
    monitoring = policy.spec.monitoring
    rules = []
    if monitoring.cpu_threshold is not None:
        rules.append(_rule(policy, site_name, HIGH_CPU, "CPU", cpu_expression(monitoring, policy.customer), monitoring.cpu_threshold))
    if monitoring.memory_threshold is not None:
        rules.append(
            _rule(policy, site_name, HIGH_MEMORY, "memory", memory_expression(monitoring, policy.customer), monitoring.memory_threshold)
        )
    group: dict[str, Any] = {"name": group_name(policy.customer, policy.metadata.name)}
    if evaluation_interval is not None:
        group["interval"] = duration.prometheus(evaluation_interval)
    content = hashlib.sha256(json.dumps([group, rules], sort_keys=True).encode()).hexdigest()[:16]
    for rule in rules:
        rule["annotations"][CONTENT_ANNOTATION] = content
    return {"groups": [{**group, "rules": rules}]}


def _rule(policy: AutoscalingPolicy, site_name: str, alert: str, what: str, expression: str, threshold: int) -> dict[str, Any]:
    held = duration.prometheus(policy.spec.monitoring.duration)
    shown = template_literal(policy.spec.service.display_name if policy.spec.service else "") or policy.service_name
    value = '{{ $value | printf "%.1f" }}'
    return {
        "alert": alert,
        "expr": f"{expression} > {threshold}",
        "for": held,
        "labels": {
            POLICY_LABEL: policy.key,
            SITE_LABEL: template_literal(site_name),
            "service": policy.service_name,
            "customer": policy.customer,
        },
        "annotations": {
            "summary": f"{shown}: {what} in use is {value}%, above {threshold}% for {held}",
            "value": value,
            "threshold": str(threshold),
        },
    }


def template_literal(value: str) -> str:
    """The text as a Prometheus template that expands to itself: labels and annotations are templates."""
    return value.replace("{{", '{{"{{"}}')
