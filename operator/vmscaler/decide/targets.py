"""The file_sd file through which Prometheus finds the VMs that we made: under the service's own job label, with no reload.

Called by the reconcile of a policy and by an instance's life; ports.monitoring.TargetFile carries the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vmscaler.api.vminstance import VmInstance
from vmscaler.decide.promql import POLICY_LABEL, check_labels


def target_groups(instances: Iterable[VmInstance]) -> tuple[dict[str, Any], ...]:
    """One group for each instance that has an address, in the order of their names.

    The labels are those of the existing VMs (job and matchLabels), then service and customer where matchLabels do not say otherwise, and
    always policy and instance name. Raises ValueError for reserved matchLabels.
    """
    groups = []
    for instance in sorted(instances, key=lambda one: one.key):
        spec, address = instance.spec, instance.status.address
        if address is None:
            continue
        check_labels(spec.metrics.labels)
        labels = {
            "service": spec.service,
            "customer": spec.policy_ref.namespace,
            **spec.metrics.labels,
            POLICY_LABEL: f"{spec.policy_ref.namespace}/{spec.policy_ref.name}",
            "vmscaler_instance": instance.metadata.name,
            "job": spec.metrics.prometheus_job,
        }
        groups.append({"targets": [f"{address}:{spec.metrics.port}"], "labels": labels})
    return tuple(groups)
