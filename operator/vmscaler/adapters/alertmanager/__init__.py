"""Alertmanager's HTTP API v2 (ports.monitoring.AlertmanagerApi)."""

from vmscaler.adapters.alertmanager.client import AlertmanagerClient

__all__ = ["AlertmanagerClient"]
