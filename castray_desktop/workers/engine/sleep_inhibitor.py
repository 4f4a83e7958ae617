"""Prevent the computer from sleeping while casts run.

A child process of the system's own tool holds the inhibitor and ends when its standard input closes; so
it ends with the engine, however that ends. Without such a tool, nothing happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence

from castray_desktop.core.protocol.messages import CastChanged, CastResult, CastsRemoved, CastState, Event

log = logging.getLogger("castray.awake")

BUSY = frozenset({CastState.PREPARING, CastState.SENDING, CastState.VERIFYING})
EXIT_SECONDS = 2.0


def inhibit_command() -> tuple[str, ...]:
    """The command that prevents sleep until its standard input ends; empty if there is none."""
    if sys.platform == "darwin":
        return ("caffeinate", "-i", "cat") if shutil.which("caffeinate") else ()
    if shutil.which("systemd-inhibit") is None:
        return ()
    words = ("--what=sleep:idle", "--who=CastRay", "--why=Files are on their way", "--mode=block")
    return ("systemd-inhibit", *words, "cat")


class SleepInhibitor:
    """Prevents sleep while casts run and the setting `wanted` allows it."""

    def __init__(self, wanted: Callable[[], bool], command: Sequence[str] | None = None) -> None:
        self._wanted = wanted
        self._command = inhibit_command() if command is None else tuple(command)
        self._busy: set[str] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def record_event(self, event: Event) -> None:
        """Handle an event of a cast."""
        before = bool(self._busy)
        match event:
            case CastChanged(summary) if summary.state in BUSY:
                self._busy.add(summary.cast)
            case CastChanged(summary) | CastResult(summary):
                self._busy.discard(summary.cast)
            case CastsRemoved(casts):
                self._busy -= set(casts)
            case _:
                return
        if bool(self._busy) is not before:
            self.settings_changed()

    def settings_changed(self) -> None:
        """Check the setting again."""
        self._changed.set()
        if self._task is None and self._needed and self._command:
            self._task = asyncio.create_task(self._update(), name="awake")

    @property
    def _needed(self) -> bool:
        return bool(self._busy) and self._wanted()

    async def close(self) -> None:
        """Allow sleep again."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._release()

    async def _update(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._needed and self._process is None:
                await self._acquire()
            elif not self._needed:
                await self._release()

    async def _acquire(self) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=os.environ | {"LC_ALL": "C"},
                start_new_session=True,
            )
        except OSError as error:
            log.info("sleep can't be prevented: %s", error)
            self._command = ()

    async def _release(self) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        self._process = None  # only now: if this is cancelled, `close` waits for the process again
