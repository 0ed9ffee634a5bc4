"""PromQL for a service's series, built from escaped strings (facts/monitoring.md, "Prometheus").

Called by `decide.rules`, with the thresholds, and without them to see whether there are figures at all.
A service is the series of one scrape job, narrowed by matchLabels, averaged over its instances. A VM that we made counts only where it is
the same namespace's: everybody may write anybody's job and labels into a policy, and would else pull another tenant's figure up or down.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmscaler.api import duration
from vmscaler.api.autoscalingpolicy import Exporter, Monitoring
from vmscaler.decide.yaml_text import quoted

POLICY_LABEL = "vmscaler_policy"
"""On each series of a VM that we made, and on each alert of ours: `<namespace>/<policy>`."""
SITE_LABEL = "vmscaler_site"
"""On each alert of ours, and on nothing else."""


def reserved_labels(match_labels: Mapping[str, str]) -> list[str]:
    """The matchLabels that cannot be: a file_sd label named so would steer the scrape, or merge our VMs into one series.

    `job` has its own field; `instance` tells the VMs apart; what begins with `__` is Prometheus' own (`__address__`), what begins with
    `vmscaler_` ours.
    """
    return sorted(name for name in match_labels if name in ("job", "instance") or name.startswith(("__", "vmscaler_")))


def check_labels(match_labels: Mapping[str, str]) -> None:
    """Raises ValueError that names the reserved ones."""
    if wrong := reserved_labels(match_labels):
        raise ValueError(f"monitoring.matchLabels must not hold {', '.join(wrong)}: give labels that tell the service from others")


def selector(metric: str, monitoring: Monitoring, namespace: str, **more: str) -> str:
    """`metric{job="...",...}`. Raises ValueError for reserved matchLabels."""
    check_labels(monitoring.match_labels)
    labels = [("job", monitoring.prometheus_job), *sorted(monitoring.match_labels.items()), *more.items()]
    # Without the label: a VM of people's. A namespace is a DNS label, with nothing in it that a regular expression knows.
    made_by = f"{POLICY_LABEL}=~{quoted(f'|{namespace}/.+')}"
    return metric + "{" + ",".join([*(f"{name}={quoted(value)}" for name, value in labels), made_by]) + "}"


def cpu_expression(monitoring: Monitoring, namespace: str) -> str:
    """Percent of CPU in use, averaged over the service's instances; no value where nothing is scraped."""
    metric = "windows_cpu_time_total" if monitoring.exporter is Exporter.WINDOWS else "node_cpu_seconds_total"
    idle = f"rate({selector(metric, monitoring, namespace, mode='idle')}[{duration.prometheus(monitoring.window)}])"
    return f"avg(100 * (1 - avg by (instance) ({idle})))"


def memory_expression(monitoring: Monitoring, namespace: str) -> str:
    """Percent of memory in use, averaged over the service's instances; no value where nothing is scraped."""
    if monitoring.exporter is Exporter.WINDOWS:
        available, total = "windows_memory_available_bytes", "windows_memory_physical_total_bytes"
    else:
        available, total = "node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes"
    return f"avg(100 * (1 - {selector(available, monitoring, namespace)} / {selector(total, monitoring, namespace)}))"
