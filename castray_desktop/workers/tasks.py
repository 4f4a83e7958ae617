"""What asyncio lacks for work that has to be done to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
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
