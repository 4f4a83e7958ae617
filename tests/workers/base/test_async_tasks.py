"""Work outside the event loop, and the end of the loop."""

from __future__ import annotations

import asyncio
import threading
import time

from castray_desktop.workers.base.async_tasks import BackgroundTasks, DaemonThreadPool


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


async def test_background_tasks_are_awaited_or_cancelled() -> None:
    background, begun, go_on = BackgroundTasks(), asyncio.Event(), asyncio.Event()

    async def work() -> str:
        begun.set()
        await go_on.wait()
        return "done"

    first, second = background.run(work(), "first"), background.run(work())
    await begun.wait()
    await background.wait(0.001)
    assert first.get_name() == "first"
    assert not first.done()
    second.cancel()
    go_on.set()
    await background.wait()
    assert first.result() == "done"
    assert second.cancelled()
    third = background.run(asyncio.Event().wait())
    background.cancel()
    await background.wait()
    assert third.cancelled()
