"""The overlay that says what a drop does while files are dragged over the window."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.send.send_list import DropArea
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import paint_icon, paint_round

HEIGHT = 44


class DropOverlay(QWidget):
    """A pill near the lower edge and a border around the window; it gets no drag events itself."""

    def __init__(self, theme: Theme, drop_area: DropArea, window: QWidget) -> None:
        super().__init__(window)
        self._theme, self._drop_area, self._window = theme, drop_area, window
        self._window_text = ""  # what a drop on the window does, while files are dragged
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setAttribute(Qt.WidgetAttribute.WA_NoSystemBackground)
        self.hide()

    def begin(self, paths: list[str]) -> None:
        """Say what a drop of these paths on the window does."""
        self._drop_area.set_hovered(True)
        one = self.tr("Drop to add {name} to the send list")
        many = self.tr("Drop to add {count} items to the send list")
        name = paths[0].rstrip("/").rsplit("/", 1)[-1]
        self._window_text = (one if len(paths) == 1 else many).format(name=name, count=len(paths))
        self._show_text(self._window_text)

    def show_hint(self, hint: str) -> None:
        """Say what a drop on some part of the window does; empty: what one on the window does."""
        if self._window_text:
            self._show_text(hint or self._window_text)
            self._drop_area.set_hovered(not hint)

    def end(self) -> None:
        """Nothing is dragged any more."""
        self._window_text = ""
        self.hide()
        self._drop_area.set_hovered(False)

    def _show_text(self, text: str) -> None:
        self.setAccessibleName(text)
        self.setGeometry(self._window.rect())
        self.raise_()
        self.show()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, text = QPainter(self), self.accessibleName()
        palette = self._theme.palette
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_round(painter, QRectF(self.rect()), 4, None, QColor(palette.accent), 3)
        width = QFontMetrics(font(14, 600)).horizontalAdvance(text) + 16 + 8 + 40
        pill = QRectF((self.width() - width) / 2, self.height() - 28 - 20 - HEIGHT, width, HEIGHT)
        paint_round(painter, pill, HEIGHT / 2, QColor(palette.accent), None)
        paint_icon(
            painter, pill.toRect().adjusted(20, 0, 36 - int(width), 0), "download", palette.on_accent, 16
        )
        painter.setFont(font(14, 600))
        painter.setPen(QColor(palette.on_accent))
        painter.drawText(pill.adjusted(44, 0, -12, 0), Qt.AlignmentFlag.AlignVCenter, text)
