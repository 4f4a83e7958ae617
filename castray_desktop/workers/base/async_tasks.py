"""Helpers for asyncio: work that must finish although its caller is cancelled, work in the background,
threads that nothing waits for, and programs that are run for their output.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

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


class BackgroundTasks:
    """Tasks that their caller does not await; asyncio alone would not keep them alive."""

    def __init__(self, failed: Callable[[BaseException], None] | None = None) -> None:
        """`failed` is called with each exception that ends a task."""
        self._running: set[asyncio.Task[Any]] = set()
        self._failed = failed

    def run(self, work: Coroutine[Any, Any, Result], name: str | None = None) -> asyncio.Task[Result]:
        """Start a task."""
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if self._failed is not None and not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    async def wait(self, seconds: float | None = None) -> None:
        """Wait until those that run now have ended, at most so many seconds."""
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=seconds)

    def cancel(self) -> None:
        """Cancel those that run."""
        for task in tuple(self._running):
            task.cancel()


class DaemonThreadPool(ThreadPoolExecutor):
    """Threads for a loop's `to_thread` for which the loop's end does not wait: blocking reads may hang.

    Work that must be finished is awaited by its caller.
    """

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


async def run_program(
    command: Sequence[str], seconds: float, environment: Mapping[str, str] = os.environ
) -> tuple[int, str]:
    """Run a program; returns its status and what it prints: -1 if it can't be run or takes too long."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(environment),
        )
    except OSError as error:
        return -1, str(error)
    try:
        async with asyncio.timeout(seconds):
            output, _ = await process.communicate()
    except TimeoutError:
        return -1, "it took too long"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace")
