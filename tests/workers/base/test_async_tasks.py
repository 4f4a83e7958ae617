"""Work outside the event loop, and the end of the loop."""

from __future__ import annotations

import asyncio
import threading
import time

from castray_desktop.workers.base.async_tasks import DaemonThreadPool


def test_a_loop_ends_although_a_thread_is_held_up() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def look() -> None:
        begun.set()
        go_on.wait(20)

    async def live() -> None:
        asyncio.get_running_loop().set_default_executor(DaemonThreadPool())
        looking = asyncio.create_task(asyncio.to_thread(look))
        while not begun.is_set():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        looking.cancel()

    before = set(threading.enumerate())
    start = time.monotonic()
    asyncio.run(live())
    took = time.monotonic() - start
    go_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert took < 10
