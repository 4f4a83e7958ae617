"""Calls to disks that may not answer: every call on a mount whose server is gone blocks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Optional, TypeVar

T = TypeVar("T")

CHECK_SECONDS = 2.0

SILENT_SECONDS = 30.0
"""A disk that does not answer for so long, while the cast makes no progress, counts as lost."""


def call_in_thread(work: Callable[[], T]) -> Future[T]:
    """Call `work` in a thread of its own, which may hang without holding up the end of the process."""
    answer: Future[T] = Future()
    answer.set_running_or_notify_cancel()  # so that a call which is no longer awaited ends quietly

    def call() -> None:
        try:
            answer.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for
            answer.set_exception(error)

    threading.Thread(target=call, name="castray-side", daemon=True).start()
    return answer


class DiskWatch:
    """Asks the disk of one cast now and then, in a thread that may hang.

    `paths` says what to ask for; it is called in that thread. `silent(path)` is called once, in another
    thread, when one of them did not answer for `SILENT_SECONDS`.
    """

    def __init__(
        self,
        paths: Callable[[], Iterable[bytes]],
        silent: Callable[[bytes], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = paths
        self._silent = silent
        self._clock = clock
        self._thread: Optional[threading.Thread] = None
        self._path = b""  # that the thread asks for
        self._since = clock()
        self._progress: object = None
        self._told = False

    def check(self, progress: object) -> None:
        """Ask again if it is time to, or tell of the silence. Returns at once.

        `progress` is what the cast has done so far; while it changes, nothing is wrong.
        """
        now = self._clock()
        if self._thread is None or not self._thread.is_alive():
            if now - self._since >= CHECK_SECONDS:
                self._since, self._progress = now, progress
                self._thread = threading.Thread(target=self._ask, name="castray-side", daemon=True)
                self._thread.start()
        elif progress != self._progress:
            self._since, self._progress = now, progress
        elif now - self._since >= SILENT_SECONDS and not self._told:
            self._told = True
            threading.Thread(
                target=self._silent, args=(self._path,), name="castray-side", daemon=True
            ).start()

    def _ask(self) -> None:
        for path in self._paths():
            self._path = place = path
            while not _answers(place):
                place = os.path.dirname(place)


def _answers(path: bytes) -> bool:
    """Whether something is at the path, or this is the top. What it says does not matter."""
    try:
        os.statvfs(path)
    except FileNotFoundError:
        return os.path.dirname(path) == path
    except OSError:
        return True
    return True
