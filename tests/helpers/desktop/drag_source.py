"""Another program's window, from which files can be dragged.

    python -m tests.helpers.desktop.drag_source X Y FILE...

Opens at X, Y and prints the position to press on a line. Ends with its standard input.
"""

from __future__ import annotations

import sys

from PySide6.QtCore import QMimeData, QSocketNotifier, Qt, QTimer, QUrl
from PySide6.QtGui import QDrag, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel


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


def main(x: str, y: str, *paths: str) -> int:
    """Show the window until standard input is closed."""
    application = QApplication(sys.argv[:1])
    window = Files([*paths])
    window.move(int(x), int(y))
    window.show()

    def tell() -> None:
        middle = window.mapToGlobal(window.rect().center())
        sys.stdout.write(f"{middle.x()} {middle.y()}\n")
        sys.stdout.flush()

    end = QSocketNotifier(sys.stdin.fileno(), QSocketNotifier.Type.Read)
    end.activated.connect(application.quit)
    QTimer.singleShot(500, tell)  # a window manager moves it after it was shown
    return application.exec()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
