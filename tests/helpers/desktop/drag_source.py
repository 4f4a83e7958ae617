"""Another program's window, from which files can be dragged.

    python -m tests.helpers.desktop.drag_source X Y FILE...

Opens at X, Y and prints the position to press on a line. Ends with its standard input.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from PySide6.QtCore import QMimeData, QSocketNotifier, Qt, QTimer, QUrl
from PySide6.QtGui import QDrag, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel

STEP_MS = 100
STEPS_AT_REST = 5


class Files(QLabel):
    """Drags the files wherever it is pressed."""

    def __init__(self, paths: list[str]) -> None:
        super().__init__("drag me")
        self._paths = paths
        self.setFixedSize(160, 120)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(path) for path in self._paths])
        drag = QDrag(self)
        drag.setMimeData(data)
        drag.exec(Qt.DropAction.CopyAction)


def at_rest(state: Callable[[], object]) -> Callable[[], bool]:
    """Whether something has been the same at the last `STEPS_AT_REST` calls."""
    seen: list[object] = []

    def is_at_rest() -> bool:
        seen.append(state())
        last = seen[-STEPS_AT_REST:]
        return len(last) == STEPS_AT_REST and all(one == last[0] for one in last)

    return is_at_rest


def main(x: str, y: str, *paths: str) -> int:
    """Show the window until standard input is closed."""
    application = QApplication(sys.argv[:1])
    window = Files([*paths])
    window.move(int(x), int(y))
    window.show()
    is_at_rest = at_rest(lambda: window.mapToGlobal(window.rect().center()))  # a window manager moves it

    def tell() -> None:
        if not window.windowHandle().isExposed() or not is_at_rest():
            return
        timer.stop()
        middle = window.mapToGlobal(window.rect().center())
        sys.stdout.write(f"{middle.x()} {middle.y()}\n")
        sys.stdout.flush()

    timer = QTimer(window)
    timer.timeout.connect(tell)
    timer.start(STEP_MS)
    end = QSocketNotifier(sys.stdin.fileno(), QSocketNotifier.Type.Read)
    end.activated.connect(application.quit)
    return application.exec()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
