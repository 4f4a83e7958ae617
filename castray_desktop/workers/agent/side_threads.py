"""Runs disk access in threads, so that a disk that hangs blocks nothing else.

The loop's own pool has few threads, and a process waits for them at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any, Callable, Optional, TypeVar

MAX_THREADS = 64

T = TypeVar("T")


class DiskThreads:
    """One thread for each call, a limited number of them."""

    def __init__(self, most: int = MAX_THREADS) -> None:
        self._most = most
        self._threads: set[threading.Thread] = set()

    async def run(self, work: Callable[[Any], T], argument: object, seconds: Optional[float] = None) -> T:
        """Run `work` and return its result. Raises its error, and asyncio.TimeoutError if it takes longer.

        Also TimeoutError if too many calls are pending: the disk does not answer then.
        """
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        if len(self._threads) >= self._most:
            raise asyncio.TimeoutError
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(how: Callable[[Any], None], value: object) -> None:
            if not answer.done():
                how(value)

        def carry_out() -> None:
            how: Callable[[Any], None] = answer.set_result
            value: object
            try:
                value = work(argument)
            except Exception as error:  # noqa: BLE001 - whoever awaits it gets it
                how, value = answer.set_exception, error
            with contextlib.suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(settle, how, value)

        thread = threading.Thread(target=carry_out, name="castray-side", daemon=True)
        self._threads.add(thread)
        thread.start()
        return await asyncio.wait_for(answer, seconds)
