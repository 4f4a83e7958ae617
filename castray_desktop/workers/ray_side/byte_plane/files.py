"""Open files, a bounded number of them, shared by threads."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CAPACITY = 32


class OpenFiles:
    """Descriptors by the file's number in the parcel. A descriptor in use is never closed."""

    def __init__(self, opener: Callable[[int], int], capacity: int = CAPACITY) -> None:
        self._opener = opener
        self._capacity = capacity
        self._lock = threading.Lock()
        self._files: OrderedDict[int, list[int]] = OrderedDict()  # number -> [descriptor, users]
        self._closed = False

    @contextmanager
    def borrow(self, file: int) -> Iterator[int]:
        """The file's descriptor. Raises what opening it raises."""
        held = self._take(file)
        try:
            yield held[0]
        finally:
            self._give_back(file, held)

    def forget(self, file: int) -> None:
        """Close the file as soon as nobody uses it."""
        with self._lock:
            held = self._files.pop(file, None)
            if held is not None and held[1] == 0:
                os.close(held[0])

    def close(self) -> None:
        """Close them all; those in use when they are given back."""
        with self._lock:
            self._closed = True
            for held in self._files.values():
                if held[1] == 0:
                    os.close(held[0])
            self._files.clear()

    def _take(self, file: int) -> list[int]:
        with self._lock:
            held = self._files.get(file)
            if held is None:
                if self._closed:
                    raise OSError("these files have been closed")
                held = self._files[file] = [self._opener(file), 0]
            self._files.move_to_end(file)
            held[1] += 1
            self._evict()
            return held

    def _give_back(self, file: int, held: list[int]) -> None:
        with self._lock:
            held[1] -= 1
            if held[1] == 0 and self._files.get(file) is not held:
                os.close(held[0])

    def _evict(self) -> None:
        while len(self._files) > self._capacity:
            for file, held in self._files.items():
                if held[1] == 0:
                    os.close(held[0])
                    del self._files[file]
                    break
            else:
                return
