"""What asyncio lacks for work that has to be done to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


async def to_the_end(work: Awaitable[Result]) -> Result:
    """Await `work` to its end, also when the caller is cancelled meanwhile; that is raised afterwards."""
    task = asyncio.ensure_future(work)
    interrupted = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            interrupted = True
    if interrupted and not task.cancelled():
        task.exception()  # looked at, so that nobody complains about it
        raise asyncio.CancelledError
    return task.result()


class UnwaitedThreads(ThreadPoolExecutor):
    """Threads for a loop's `to_thread` that its end does not wait for: what they look at may hang.

    What has to be done to its end is awaited by whoever wants it.
    """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)
