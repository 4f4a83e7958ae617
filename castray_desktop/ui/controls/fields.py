"""Fields of a form: a list to choose from, a line to type into, a line that only tells."""

from __future__ import annotations

from PySide6.QtCore import QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QComboBox, QLineEdit, QSpinBox, QStyledItemDelegate

from castray_desktop.ui.controls.widgets import paint_icon, paint_round, say
from castray_desktop.ui.fonts import font
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.words import Text

RADIUS = 8.0


class Dropdown(QComboBox):
    """A field that opens a short list."""

    def __init__(self, theme: Theme, name: Text) -> None:
        super().__init__()
        self._theme = theme
        say(self, self.setAccessibleName, name)
        self.setFixedHeight(32)
        self.setFont(font(13))
        self.setMinimumWidth(80)
        self.setItemDelegate(QStyledItemDelegate(self))  # Qt's own for these lists ignores the style sheet
        theme.changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self._theme.palette
        fill = palette.hover if self.underMouse() else palette.field
        paint_round(painter, QRectF(self.rect()), RADIUS, QColor(fill), QColor(palette.line_strong))
        painter.setPen(QColor(palette.text))
        painter.setFont(self.font())
        room = self.width() - 10 - 32
        text = QFontMetrics(self.font()).elidedText(self.currentText(), Qt.TextElideMode.ElideRight, room)
        painter.drawText(QRect(10, 0, room, self.height()), Qt.AlignmentFlag.AlignVCenter, text)
        chevron = QRect(self.width() - 26, 0, 16, self.height())
        paint_icon(painter, chevron, "chevron-down", palette.text_2, 16)


class IconField(QLineEdit):
    """A field to type into, with an icon in front."""

    def __init__(self, theme: Theme, icon_name: str, name: Text) -> None:
        super().__init__()
        self._theme = theme
        self._icon_name = icon_name
        say(self, self.setAccessibleName, name)
        self.setFixedHeight(32)
        self.setFont(font(13))
        self.setTextMargins(23, 0, 0, 0)
        theme.changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        rect = QRect(10, 0, 16, self.height())
        paint_icon(QPainter(self), rect, self._icon_name, self._theme.palette.text_2, 16)


class NumberField(QSpinBox):
    """A whole number to type, or to change with the arrow keys.

    Its buttons have no width in the style sheet: asked for none, Qt leaves the number no room either.
    """

    def __init__(self, name: Text, least: int, most: int) -> None:
        super().__init__()
        self.setRange(least, most)
        self.setFixedHeight(32)
        self.lineEdit().setTextMargins(8, 0, 8, 0)
        self.setFont(font(13, 400, tabular=True))
        say(self, self.setAccessibleName, name)
