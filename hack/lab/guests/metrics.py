"""A guest's node exporter: the metrics that rules and dashboards read, in the exporter's names and text format.

Called by `lab.guests.guest` for each scrape. The names are those of node_exporter's collectors cpu, meminfo, stat, uname.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lab.guests.processor import Processor

CONTENT_TYPE = CONTENT_TYPE_LATEST
# How a busy second divides; the rest of the modes stay at 0, as on a quiet VM.
_BUSY = {"user": 0.8, "system": 0.15, "softirq": 0.05}
_MODES = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")


def exposition(processor: Processor, *, now: float, booted_at: float, memory_mib: int, host_name: str) -> bytes:
    """The text of /metrics. `now` is the processor's clock; `booted_at` is in seconds since 1970."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Node(list(_families(processor, now, booted_at, memory_mib, host_name))))
    return generate_latest(registry)


class _Node(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _families(processor: Processor, now: float, booted_at: float, memory_mib: int, host_name: str) -> Iterator[Metric]:
    cpu = CounterMetricFamily("node_cpu_seconds", "Seconds the CPUs spent in each mode.", labels=["cpu", "mode"])
    for number, (busy, idle) in enumerate(zip(processor.busy(now), processor.idled(now), strict=True)):
        for mode in _MODES:
            seconds = idle if mode == "idle" else busy * _BUSY.get(mode, 0.0)
            cpu.add_metric([str(number), mode], seconds)
    yield cpu
    total = memory_mib * 2**20
    # A working set that grows with the load, so that a memory rule has something to see.
    used = 0.35 + 0.3 * processor.load(now)
    yield GaugeMetricFamily("node_memory_MemTotal_bytes", "Memory information field MemTotal_bytes.", value=total)
    yield GaugeMetricFamily("node_memory_MemAvailable_bytes", "Memory information field MemAvailable_bytes.", value=int(total * (1 - used)))
    yield GaugeMetricFamily("node_memory_MemFree_bytes", "Memory information field MemFree_bytes.", value=int(total * (1 - used) * 0.6))
    yield GaugeMetricFamily("node_boot_time_seconds", "Node boot time, in unixtime.", value=booted_at)
    uname = GaugeMetricFamily(
        "node_uname_info",
        "Labeled system information as provided by the uname system call.",
        labels=["domainname", "machine", "nodename", "release", "sysname", "version"],
    )
    uname.add_metric(["(none)", "x86_64", host_name, "6.8.0-lab", "Linux", "#1 SMP"], 1)
    yield uname
