"""The guests' CPU counters under full load: a counter that falls, by however little, is a reset to Prometheus."""

from __future__ import annotations

from lab.guests.processor import Processor


def test_counters_never_fall_under_full_load() -> None:
    processor = Processor(cpus=2, capacity=50.0, queue_seconds=2.0, idle=0.02, now=1000.1)
    now, before = 1000.1, [0.0, 0.0]
    for _ in range(2000):
        now += 0.0137
        processor.take(now)
        after = processor.idled(now)
        assert all(new >= old for new, old in zip(after, before, strict=True))
        before = after


def test_a_saturated_processor_stops_idling() -> None:
    processor = Processor(cpus=2, capacity=50.0, queue_seconds=2.0, idle=0.0, now=0.0)
    now = 0.0
    while now < 10.0:
        now += 0.01
        processor.take(now)
    assert sum(processor.idled(now)) < 0.2
    assert sum(processor.busy(now)) > 19.0
