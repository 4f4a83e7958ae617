"""Titles in a row, one of which is chosen."""

from __future__ import annotations

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QPushButton

from castray_desktop.ui.controls.widgets import paint_round, say
from castray_desktop.ui.fonts import font
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.words import Text

TABS_HEIGHT = 40


class Tab(QPushButton):
    """A title that can be chosen, with a number beside it and a line below while it is chosen."""

    def __init__(self, theme: Theme, text: Text) -> None:
        super().__init__()
        self._theme = theme
        self._count = 0
        self.setCheckable(True)
        self.setAutoExclusive(True)  # to a screen reader one of several, and one stop of the Tab key
        self.setFixedHeight(TABS_HEIGHT)
        self.setFont(font(13, 600))
        say(self, self.setText, text)
        self.setAutoDefault(False)
        theme.changed.connect(self.update)

    def set_count(self, count: int) -> None:
        """Zero shows no number."""
        if count != self._count:
            self._count = count
            self.updateGeometry()
            self.update()

    def _badge_width(self) -> int:
        if not self._count:
            return 0
        return max(18, QFontMetrics(font(11, 600)).horizontalAdvance(f"{self._count:,}") + 11)

    def sizeHint(self) -> QSize:
        badge = self._badge_width()
        width = QFontMetrics(self.font()).horizontalAdvance(self.text()) + 1
        return QSize(width + (8 + badge if badge else 0), TABS_HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        strong = self.isChecked() or self.underMouse()
        painter.setFont(self.font())
        painter.setPen(self._theme.color("text" if strong else "text_2"))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter, self.text())
        if badge := self._badge_width():
            pill = QRectF(self.width() - badge, (self.height() - 18) / 2, badge, 18)
            paint_round(painter, pill, 9, self._theme.color("accent_soft"), None)
            painter.setFont(font(11, 600, tabular=True))
            painter.setPen(self._theme.color("accent"))
            painter.drawText(pill, Qt.AlignmentFlag.AlignCenter, f"{self._count:,}")
        if self.isChecked():
            painter.fillRect(QRect(0, self.height() - 2, self.width(), 2), self._theme.color("accent"))
