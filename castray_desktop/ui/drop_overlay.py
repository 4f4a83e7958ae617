"""Says, while files are dragged over the window, what letting go would do."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.controls.widgets import paint_icon, paint_round
from castray_desktop.ui.fonts import font
from castray_desktop.ui.theme import Theme

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
