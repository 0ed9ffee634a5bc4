"""The operator's own metrics (prometheus-client). docs/metrics.md lists them; a test says so."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """One registry per process, made by bootstrap."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "vmscaler_reconciles_total", "Reconciles by kind and outcome (ok, or the reason).", ["kind", "outcome"], registry=self.registry
        )
        self.reconcile_seconds = Histogram("vmscaler_reconcile_seconds", "How long a reconcile took.", ["kind"], registry=self.registry)
        self.queue_depth = Gauge("vmscaler_queue_depth", "Objects that wait for a reconcile or are in one.", registry=self.registry)
        self.writes = Counter(
            "vmscaler_external_writes_total",
            "External writes by system, operation and result.",
            ["system", "operation", "result"],
            registry=self.registry,
        )
        self.write_seconds = Histogram(
            "vmscaler_external_write_seconds", "How long an external write took.", ["system"], registry=self.registry
        )
        self.decisions = Counter(
            "vmscaler_claim_decisions_total",
            "Answers to claims by reason.",
            ["namespace", "policy", "accepted", "reason"],
            registry=self.registry,
        )
        self.steps = Counter("vmscaler_steps_total", "Steps of builds by step and state.", ["step", "state"], registry=self.registry)
        self.resync_at = Gauge("vmscaler_last_resync_timestamp_seconds", "When the last complete resync ended.", registry=self.registry)
        self.lease_held = Gauge("vmscaler_lease_held", "1 while this process holds the operator's Lease.", registry=self.registry)
