"""Policies and instances to test with, from the samples' names."""

from __future__ import annotations

from typing import Any

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.vminstance import VmInstance


def policy(
    name: str = "web",
    namespace: str = "acme",
    *,
    service: dict[str, str] | None = None,
    past_the_api: dict[str, str] | None = None,
    **monitoring: Any,
) -> AutoscalingPolicy:
    """`monitoring` in the wire's camelCase; `past_the_api`: matchLabels that the API would refuse."""
    spec: dict[str, Any] = {
        "templateRef": {"name": "web"},
        "monitoring": {"prometheusJob": "acme-web", **monitoring},
        "scaling": {"maxInstances": 4},
        "f5": {"poolName": "/Common/pool-web"},
        "network": {"ipPool": {"start": "192.0.2.100", "end": "192.0.2.119", "subnet": "192.0.2.0/24"}},
    }
    if service is not None:
        spec["service"] = service
    made = AutoscalingPolicy.parse({"metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"}, "spec": spec})
    made.spec.monitoring.match_labels.update(past_the_api or {})
    return made


def instance(name: str, address: str | None, *, labels: dict[str, str] | None = None, port: int = 9100) -> VmInstance:
    """An instance of the policy acme/web."""
    spec = {
        "policyRef": {"namespace": "acme", "name": "web", "uid": "uid-web"},
        "siteRef": {"name": "default"},
        "eventRef": {"name": "web-out-1"},
        "installation": "sample",
        "service": "web",
        "vmName": f"acme-{name}",
        "template": {"inventoryPath": "/DC0/vm/templates/web", "moRef": "vm-1"},
        "placement": {"folder": "/DC0/vm/acme"},
        "network": {"name": "front", "portGroup": "pg", "cidr": "192.0.2.0/24", "start": "192.0.2.100", "end": "192.0.2.119"},
        "pool": {"name": "/Common/pool-web", "memberPort": 8080, "healthCheckPath": "/"},
        "metrics": {"prometheusJob": "acme-web", "labels": labels or {}, "port": port},
    }
    status = {} if address is None else {"address": address}
    return VmInstance.parse({"metadata": {"name": name, "namespace": "acme", "uid": f"uid-{name}"}, "spec": spec, "status": status})
