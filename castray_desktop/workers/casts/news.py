"""The news of a running cast: whoever waits for what they bring looks again when some have come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from castray_desktop.core.absence import Absences

TICK_SECONDS = 0.25
"""While somebody is away, the time is looked at this often."""


class News:
    """`changed()` is called for every piece of them."""

    def __init__(self, absences: Absences, changed: Callable[[], None]) -> None:
        self._absences = absences
        self._changed = changed
        self._come = asyncio.Event()

    def wake(self) -> None:
        """There are some."""
        self._come.set()
        self._changed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for news that make it true; `condition` is asked first, and again after each."""
        while not condition():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS if self._absences else None):
                    await self._come.wait()
            self._come.clear()
