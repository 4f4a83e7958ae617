"""Watch files and folders of this machine through the kernel.

A folder is watched with all below it. For a file, its folder is watched, since programs that save a file
replace it. When the kernel can't watch a path (limit on watches, missing path), `lost` is called and the
caller has to poll.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from watchfiles import Change, watch

from castray_desktop.core.content.file_names import ExcludePatterns, NamePatterns

STEP_MS = 200
"""Interval at which the thread checks for its end; the cost is negligible."""

GATHER_MS = 1000
CHECK_MS = 1000
"""Interval of checking that the folder is still the watched one."""

STOP_SECONDS = 5.0


class FileWatch:
    """Calls `begun` once it is complete, `changed` with changed paths, and `lost` with the error if it ends
    by itself, all in the event loop of `start`.

    `stop` must always be called.
    """

    def __init__(
        self,
        paths: Iterable[str],
        patterns: NamePatterns,
        begun: Callable[[], None],
        changed: Callable[[set[str]], None],
        lost: Callable[[Exception], None],
    ) -> None:
        named = [os.path.abspath(path) for path in paths]
        linked = [
            os.path.realpath(path) for path in named if Path(path).is_symlink() and Path(path).is_file()
        ]
        self._paths = [*named, *linked]
        self._exclusions = ExcludePatterns(patterns)
        self._begun = begun
        self._changed = changed
        self._lost = lost
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Start watching. In a large folder, it takes seconds until the kernel watches all of it."""
        self._loop = asyncio.get_running_loop()
        folders = [path for path in self._paths if _is_folder(path)]
        files = [path for path in self._paths if path not in folders]
        if folders:
            self._begin(folders, ())
        if files:
            self._begin(sorted({str(Path(path).parent) for path in files}), tuple(files))

    async def stop(self) -> None:
        """Stop watching; no more calls. A thread blocked by storage is abandoned."""
        self._stop.set()
        for thread in self._threads:
            await asyncio.to_thread(thread.join, STOP_SECONDS)

    def _begin(self, roots: list[str], files: tuple[str, ...]) -> None:
        thread = threading.Thread(target=self._run, args=(roots, files), name="castray-watch", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, roots: list[str], files: tuple[str, ...]) -> None:
        try:
            identity, begun = _identity(roots), False
            for changes in watch(
                *roots,
                watch_filter=None,
                debounce=GATHER_MS,
                step=STEP_MS,
                stop_event=self._stop,
                rust_timeout=CHECK_MS,
                yield_on_timeout=True,
                force_polling=False,
                recursive=not files,
                ignore_permission_denied=False,  # True would hide the kernel's limit too
            ):
                if not begun:
                    begun = True
                    self._tell(self._begun)
                if paths := {path for _, path in changes if self._is_ours(path)}:
                    self._tell(self._changed, paths)
                gone = any(change is Change.deleted and path in roots for change, path in changes)
                gone = gone or any(map(_is_folder, files))
                if gone or _identity(roots) != identity:  # inode numbers are reused
                    raise FileNotFoundError("it was replaced")
        except (OSError, RuntimeError) as error:  # from the kernel or the library
            self._tell(self._lost, error)

    def _is_ours(self, path: str) -> bool:
        for root in self._paths:
            if path == root or path.startswith(root.rstrip("/") + "/"):
                inside = os.path.relpath(path, Path(root).parent)
                return not (self._exclusions and self._exclusions.leaves_out(inside))
        return False

    def _tell(self, whom: Callable[..., None], *what: object) -> None:
        if self._loop is None or self._stop.is_set():
            return
        with contextlib.suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._say, whom, *what)

    def _say(self, whom: Callable[..., None], *what: object) -> None:
        if not self._stop.is_set():
            whom(*what)


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()


def _identity(roots: Iterable[str]) -> list[tuple[int, int]]:
    """Identity of these folders. Raises OSError where one is none."""
    found = [Path(root).stat() for root in roots]
    return [(facts.st_dev, facts.st_ino) for facts in found]
