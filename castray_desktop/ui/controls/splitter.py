"""Splitters whose handles are the gaps between the cards."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRectF, Qt
from PySide6.QtGui import QEnterEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSplitter, QSplitterHandle

from castray_desktop.ui.controls.widgets import paint_round
from castray_desktop.ui.theme import Theme


class GapSplitter(QSplitter):
    """A splitter that shows a grip while the mouse is over one of its gaps."""

    def __init__(self, theme: Theme, orientation: Qt.Orientation, gap: int = 16) -> None:
        self._theme = theme
        super().__init__(orientation)
        self.setHandleWidth(gap)
        self.setChildrenCollapsible(False)

    def createHandle(self) -> QSplitterHandle:
        return GapHandle(self._theme, self.orientation(), self)


class GapHandle(QSplitterHandle):
    """The gap."""

    def __init__(self, theme: Theme, orientation: Qt.Orientation, splitter: QSplitter) -> None:
        super().__init__(orientation, splitter)
        self._theme = theme

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self.underMouse():
            return
        lying = self.orientation() is Qt.Orientation.Vertical
        width, height = (32, 3) if lying else (3, 32)
        grip = QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height)
        paint_round(QPainter(self), grip, 1.5, self._theme.color("line_strong"), None)

    def enterEvent(self, event: QEnterEvent) -> None:
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self.update()
