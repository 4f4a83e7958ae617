"""Python's garbage collector, kept to the window's thread.

Python collects in whatever thread happens to allocate. If that is a worker and the garbage holds a
widget, Qt's object dies outside the window's thread, and the process may crash.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

INTERVAL_MS = 500


class WindowThreadCollector(QObject):
    """Collects by a timer of the thread that starts it, and nowhere else, until `stop`."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self.collect)

    def start(self) -> None:
        gc.disable()
        self._timer.start()

    def stop(self) -> None:
        self._timer.stop()
        gc.enable()

    def collect(self) -> None:
        """Collect the oldest generation that is due: what Python would have done by itself."""
        due = [count > limit for count, limit in zip(gc.get_count(), gc.get_threshold(), strict=True)]
        if any(due):
            gc.collect(max(number for number, late in enumerate(due) if late))

    def settle(self) -> None:
        """What is there now stays for good: no later collection looks at it again."""
        gc.freeze()
