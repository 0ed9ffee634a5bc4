"""Prometheus' HTTP API (ports.monitoring.PrometheusApi)."""

from vmscaler.adapters.prometheus.client import PrometheusClient

__all__ = ["PrometheusClient"]
