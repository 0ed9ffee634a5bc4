"""The hosts that hold Prometheus' and Alertmanager's files, over SSH (ports.monitoring.MonitoringHosts).

The way of an edit: `hosts` (all of a site) -> `prometheus_host` or `alertmanager_host` (what must be true on one) -> `editor`
(stage, check, compare, replace, undo) -> `files` (SFTP) and `shell` (one SSH connection). Whether it is loaded: `loading`.
"""

from vmscaler.adapters.monitoring_host.hosts import SshMonitoringHosts
from vmscaler.adapters.monitoring_host.shell import SshKey

__all__ = ["SshKey", "SshMonitoringHosts"]
