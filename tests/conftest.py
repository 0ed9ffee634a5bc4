"""Fixtures for every suite. What one suite alone needs is in its own folder's conftest.py."""

from __future__ import annotations

import asyncio


def pytest_configure() -> None:
    # Before Python 3.14, get_event_loop() makes a loop where none was ever set, and pytest-asyncio calls it around
    # fixtures and never closes what it gets: a ResourceWarning, and so a failed run. After this it raises instead.
    asyncio.set_event_loop(None)
