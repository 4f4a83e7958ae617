"""A window on which files can be dropped: while they are dragged it says what a drop would do."""

from __future__ import annotations

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QMainWindow

from castray_desktop.ui.drop_overlay import DropOverlay
from castray_desktop.ui.send_panel import SendPanel


class DropWindow(QMainWindow):
    """Files go to the send panel; the overlay tells. Both are made by whoever extends this."""

    send_panel: SendPanel
    overlay: DropOverlay

    def __init__(self) -> None:
        super().__init__()
        self._drag_text = ""  # what a drop on the window would do, while files are dragged
        self.setAcceptDrops(True)

    def show_drop_hint(self, hint: str) -> None:
        """What a drop on some part of the window would do; empty: what one on the window would."""
        if self._drag_text:
            self.overlay.show_text(hint or self._drag_text)
            self.send_panel.drop_area.set_hovered(not hint)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        paths = local_paths(event.mimeData().urls())
        if not paths:
            return
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.send_panel.drop_area.set_hovered(True)
        one = self.tr("Drop to add {name} to the send list")
        many = self.tr("Drop to add {count} items to the send list")
        name = paths[0].rstrip("/").rsplit("/", 1)[-1]
        self._drag_text = (one if len(paths) == 1 else many).format(name=name, count=len(paths))
        self.overlay.show_text(self._drag_text)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._end_drag()

    def dropEvent(self, event: QDropEvent) -> None:
        self._end_drag()
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.send_panel.add_paths(local_paths(event.mimeData().urls()))

    def _end_drag(self) -> None:
        self._drag_text = ""
        self.overlay.hide()
        self.send_panel.drop_area.set_hovered(False)


def local_paths(urls: list[QUrl]) -> list[str]:
    """The paths among the URLs that a drag or a clipboard holds."""
    return [url.toLocalFile() for url in urls if url.isLocalFile()]
