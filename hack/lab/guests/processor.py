"""A guest's CPUs as a queue: what a request costs, how long it waits, and how busy the CPUs were.

Called by `lab.guests.guest` (each request) and `lab.guests.metrics` (the counters). Time is an argument, in seconds of
one monotonic clock.
"""

from __future__ import annotations

from collections import deque

_WINDOW = 2.0


class Processor:
    """`cpus` CPUs that together serve `capacity` requests a second; each request goes to the CPU that is free first."""

    def __init__(self, *, cpus: int, capacity: float, queue_seconds: float, idle: float, now: float) -> None:
        """`queue_seconds`: who would wait longer is refused. `idle`: the share of a CPU used when nobody asks, 0-1."""
        self.capacity = capacity
        self.queue_seconds = queue_seconds
        self._idle = idle
        self._booted = now
        self._free_at = [now] * cpus
        self._work = [0.0] * cpus
        self._idled = [0.0] * cpus
        self._samples: deque[tuple[float, float]] = deque([(now, 0.0)])

    def take(self, now: float) -> float | None:
        """When a request that arrives now is finished; None when the queue is full."""
        first = min(range(len(self._free_at)), key=self._free_at.__getitem__)
        start = max(now, self._free_at[first])
        if start - now > self.queue_seconds:
            return None
        cost = len(self._free_at) / self.capacity
        self._free_at[first] = start + cost
        self._work[first] += cost
        return start + cost

    def busy(self, now: float) -> list[float]:
        """Seconds that each CPU has worked since boot; work that is queued is not done yet."""
        uptime = now - self._booted
        done = [work - max(0.0, free - now) for work, free in zip(self._work, self._free_at, strict=True)]
        return [seconds + self._idle * max(0.0, uptime - seconds) for seconds in done]

    def idled(self, now: float) -> list[float]:
        """Seconds that each CPU has idled since boot. Never less than before: a counter that falls by a rounding error, as the difference
        of two sums does under full load, reads as a reset of the counter."""
        self._idled = [max(old, self.uptime(now) - busy) for old, busy in zip(self._idled, self.busy(now), strict=True)]
        return list(self._idled)

    def uptime(self, now: float) -> float:
        """Seconds since boot."""
        return now - self._booted

    def sample(self, now: float) -> None:
        """Remember how busy it was, for `load`; to be called now and then."""
        self._samples.append((now, sum(self.busy(now))))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW:
            self._samples.popleft()

    def load(self, now: float) -> float:
        """The share of all CPUs in use over the last two seconds or so, 0-1."""
        since, work = self._samples[0]
        if now - since < 0.05:
            return self._idle
        return min(1.0, max(0.0, (sum(self.busy(now)) - work) / (now - since) / len(self._work)))
