"""Every condition type and what it says. Reasons are in `vmscaler.api.reasons`."""

from __future__ import annotations

READY = "Ready"
DEGRADED = "Degraded"

# Site: one per system.
VCENTER_READY = "VCenterReady"
BIGIP_READY = "BigIpReady"
JENKINS_READY = "JenkinsReady"
PROMETHEUS_READY = "PrometheusReady"
ALERTMANAGER_READY = "AlertmanagerReady"
MONITORING_HOSTS_READY = "MonitoringHostsReady"
SITE_CONDITIONS = (
    VCENTER_READY,
    BIGIP_READY,
    JENKINS_READY,
    PROMETHEUS_READY,
    ALERTMANAGER_READY,
    MONITORING_HOSTS_READY,
)

# VmInstance, while it is being deleted.
REMOVED = "Removed"

# AutoscalingPolicy: what was found, then what was provisioned, in the order of creation.
GRANTED = "Granted"
TEMPLATE_RESOLVED = "TemplateResolved"
POOL_RESOLVED = "PoolResolved"
ADDRESSES_RESOLVED = "AddressesResolved"
BASELINE_RESOLVED = "BaselineResolved"
JOB_READY = "JobReady"
ROUTE_READY = "RouteReady"
RULES_READY = "RulesReady"
TARGETS_READY = "TargetsReady"
RESOLVED_CONDITIONS = (GRANTED, TEMPLATE_RESOLVED, POOL_RESOLVED, ADDRESSES_RESOLVED, BASELINE_RESOLVED)
PROVISIONED_CONDITIONS = (JOB_READY, ROUTE_READY, RULES_READY, TARGETS_READY)
