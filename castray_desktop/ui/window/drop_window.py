"""A main window that takes dropped files, and the overlay that says what a drop does."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QFontMetrics,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import QMainWindow, QWidget

from castray_desktop.ui.model.desktop_services import local_paths
from castray_desktop.ui.send.send_panel import SendPanel
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import paint_icon, paint_round

HEIGHT = 44


class DropOverlay(QWidget):
    """A pill near the lower edge and a border around the window; takes no part in the drag itself."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._window = parent
        self._text = ""
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.hide()

    def show_text(self, text: str) -> None:
        self._text = text
        self.setAccessibleName(text)
        self.setGeometry(self._window.rect())
        self.raise_()
        self.show()
        self.update()

    @property
    def text(self) -> str:
        """What is being said; empty while nothing is dragged."""
        return "" if self.isHidden() else self._text

    def sizeHint(self) -> QSize:
        return self._window.size()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self._theme.palette
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_round(painter, QRectF(self.rect()), 4, None, QColor(palette.accent), 3)
        width = QFontMetrics(font(14, 600)).horizontalAdvance(self._text) + 16 + 8 + 40
        pill = QRectF((self.width() - width) / 2, self.height() - 28 - 20 - HEIGHT, width, HEIGHT)
        paint_round(painter, pill, HEIGHT / 2, QColor(palette.accent), None)
        paint_icon(
            painter, pill.toRect().adjusted(20, 0, 36 - int(width), 0), "download", palette.on_accent, 16
        )
        painter.setFont(font(14, 600))
        painter.setPen(QColor(palette.on_accent))
        painter.drawText(pill.adjusted(44, 0, -12, 0), Qt.AlignmentFlag.AlignVCenter, self._text)


class DropWindow(QMainWindow):
    """Takes files that are dropped anywhere on it; the overlay says what a drop does.

    The subclass makes the send panel and the overlay.
    """

    send_panel: SendPanel
    overlay: DropOverlay

    def __init__(self) -> None:
        super().__init__()
        self._drag_text = ""  # what a drop on the window would do, while files are dragged
        self.setAcceptDrops(True)

    def add_files(self, paths: list[str], recipients: frozenset[str] = frozenset()) -> None:
        """Put absolute paths on the send list; `recipients`, if there are any, become the selection."""
        raise NotImplementedError

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
        self.begin_drag(paths)

    def begin_drag(self, paths: list[str]) -> None:
        """Say what a drop of these paths would do."""
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
        self.end_drag()

    def dropEvent(self, event: QDropEvent) -> None:
        self.end_drag()
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.add_files(local_paths(event.mimeData().urls()))

    def end_drag(self) -> None:
        """Hide the overlay."""
        self._drag_text = ""
        self.overlay.hide()
        self.send_panel.drop_area.set_hovered(False)
