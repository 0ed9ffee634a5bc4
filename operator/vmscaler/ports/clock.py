"""Time as a port: flows get it injected; decide/ takes times as arguments."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time in UTC, and sleeping."""

    def now(self) -> datetime:
        """Timezone-aware UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep; cancellable."""
        ...
