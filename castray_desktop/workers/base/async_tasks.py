"""Helpers for asyncio: work that must finish although its caller is cancelled, and threads that nothing
waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


async def finish(work: Awaitable[Result]) -> Result:
    """Await `work` to its end, even if the caller is cancelled meanwhile; the cancellation is raised
    afterwards."""
    task = asyncio.ensure_future(work)
    interrupted = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            interrupted = True
    if interrupted and not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not log it
        raise asyncio.CancelledError
    return task.result()


class DaemonThreadPool(ThreadPoolExecutor):
    """Threads for a loop's `to_thread` for which the loop's end does not wait: blocking reads may hang.

    Work that must be finished is awaited by its caller.
    """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)
