"""The ring around the control that has the keyboard's focus."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import paint_round


class FocusRing(QWidget):
    """The ring around the control that has the keyboard's focus; for a child of the window."""

    def __init__(self, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._theme = theme
        self._target: QWidget | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.hide()
        theme.changed.connect(self.update)

    def show_around(self, target: QWidget | None) -> None:
        """Move to `target`; None hides it."""
        if self._target is not None:
            for widget in self._lineage(self._target):
                widget.removeEventFilter(self)
        self._target = target
        if target is None:
            self.hide()
            return
        for widget in self._lineage(target):
            widget.installEventFilter(self)
        self._place()

    def _lineage(self, widget: QWidget) -> list[QWidget]:
        found: list[QWidget] = []
        current: QWidget | None = widget
        while current is not None and current is not self.parentWidget():
            found.append(current)
            current = current.parentWidget()
        return found

    def _place(self) -> None:
        target = self._target
        if target is None or not target.isVisible():
            self.hide()
            return
        corner = target.mapTo(self.window(), QPointF(0, 0)).toPoint()
        self.setGeometry(QRect(corner, target.size()).adjusted(-4, -4, 4, 4))
        self.raise_()
        self.show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kind = event.type()
        if kind == QEvent.Type.Destroy:
            self._target = None
            self.hide()
        elif kind in (QEvent.Type.Move, QEvent.Type.Resize, QEvent.Type.Hide, QEvent.Type.Show):
            self._place()
        return False

    def paintEvent(self, event: QPaintEvent) -> None:
        paint_round(QPainter(self), QRectF(self.rect()), 11, None, self._theme.color("accent"), 2)
