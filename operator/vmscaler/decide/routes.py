"""What a policy owns in alertmanager.yml: one receiver that calls its Jenkins job, and one route to it.

Called by adapters/monitoring_host, which splices the documents into the file (`decide.monitoring_files`). The syntax is
that of Alertmanager 0.22 and later (matchers, authorization); 0.25 is the oldest that is tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmscaler.api import duration
from vmscaler.decide.promql import POLICY_LABEL, SITE_LABEL
from vmscaler.decide.yaml_text import quoted

PREFIX = "vmscaler/"
_MAX_ALERTS = 10  # a policy has a handful; what is more than that is no use to a wake-up


def policy_matchers(namespace: str, name: str, site: str) -> dict[str, str]:
    """The labels that the policy's alerts have and no other's.

    The policy alone is not enough: our VMs' series have that label too, so that every alert that people raise of such a VM
    (it does not answer, its disk is full) has it. The site's label comes from our rules only.
    """
    return {POLICY_LABEL: f"{namespace}/{name}", SITE_LABEL: site}


def receiver_document(name: str, *, url: str, token_file: str, ca_file: str | None) -> dict[str, Any]:
    """A webhook whose token comes from a file and is sent to that URL alone: redirects are not followed."""
    http: dict[str, Any] = {
        "authorization": {"type": "Bearer", "credentials_file": token_file},
        "follow_redirects": False,
    }
    if ca_file is not None and url.startswith("https:"):
        http["tls_config"] = {"ca_file": ca_file}
    webhook = {"url": url, "send_resolved": False, "max_alerts": _MAX_ALERTS, "http_config": http}
    return {"name": name, "webhook_configs": [webhook]}


def route_document(
    name: str,
    *,
    matchers: Mapping[str, str],
    group_wait: str,
    group_interval: str,
    repeat_interval: str,
) -> dict[str, Any]:
    """The route: `continue: true`, so that people's own notifications still go out. Timings are Go-style durations.

    Values are double-quoted: Alertmanager takes 'x' with its quotes (facts/monitoring.md, "Alertmanager").
    """
    return {
        "receiver": name,
        "matchers": [f"{label}={quoted(value)}" for label, value in sorted(matchers.items())],
        "continue": True,
        "group_by": [POLICY_LABEL],
        "group_wait": duration.prometheus(group_wait),
        "group_interval": duration.prometheus(group_interval),
        "repeat_interval": duration.prometheus(repeat_interval),
    }
