"""Menus and lists that pop up: their round corners, and what is below the pointer after they have closed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QEvent, QObject, QPoint, QPointF, QRectF, Qt, QTimer
from PySide6.QtGui import QCursor, QHoverEvent, QMouseEvent, QPainterPath, QRegion
from PySide6.QtWidgets import QAbstractScrollArea, QApplication, QMenu, QWidget

CORNER = 8.0
"""The radius of popups in the style sheet."""


class RoundCorners(QObject):
    """Cuts off the corners of a popup: without a compositor they would be black or white."""

    def __init__(self, popup: QWidget) -> None:
        super().__init__(popup)
        popup.installEventFilter(self)
        self._cut(popup)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Resize, QEvent.Type.Show) and isinstance(watched, QWidget):
            self._cut(watched)
        return False

    @staticmethod
    def _cut(popup: QWidget) -> None:
        path = QPainterPath()
        path.addRoundedRect(QRectF(popup.rect()), CORNER, CORNER)
        popup.setMask(QRegion(path.toFillPolygon().toPolygon()))


def prepare_menu(menu: QMenu, owner: QWidget) -> None:
    """Round the corners of a menu, and have its owner forget the pointer when the menu closes."""
    for popup in (menu, *(action.menu() for action in menu.actions())):
        if isinstance(popup, QMenu) and popup.findChild(RoundCorners) is None:
            RoundCorners(popup)
    menu.aboutToHide.connect(partial(_tell_soon, owner))


def add_choice(menu: QMenu, text: str, choose: Callable[[], object], *, chosen: bool) -> None:
    """Add an entry that has a tick while it is the chosen one."""
    action = menu.addAction(text, choose)
    action.setCheckable(True)
    action.setChecked(chosen)


def open_menu(menu: QMenu, place: QPoint, owner: QWidget) -> None:
    """Show a menu of `owner` at a place on the screen. It is deleted when it has closed."""
    menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    prepare_menu(menu, owner)
    menu.popup(place)


def _tell_soon(owner: QWidget) -> None:
    QTimer.singleShot(0, owner, partial(tell_pointer, owner))


def tell_pointer(owner: QWidget) -> None:
    """Tell a widget where the pointer is now, or that it has left: while a menu was open, Qt did not."""
    widgets = [owner.viewport(), owner] if isinstance(owner, QAbstractScrollArea) else [owner]
    for widget in widgets:
        here = widget.mapFromGlobal(QCursor.pos())
        if widget.rect().contains(here):
            _move_pointer(widget, here)
            continue
        widget.setAttribute(Qt.WidgetAttribute.WA_UnderMouse, False)
        outside = QPoint(-1, -1)
        hover = QHoverEvent(QEvent.Type.HoverLeave, outside, widget.mapToGlobal(outside), here)
        QApplication.sendEvent(widget, hover)
        QApplication.sendEvent(widget, QEvent(QEvent.Type.Leave))
        widget.update()


def _move_pointer(widget: QWidget, here: QPoint) -> None:
    """Have a widget that follows the pointer show what is below it."""
    if not widget.hasMouseTracking():
        return
    there, none = widget.mapToGlobal(here), Qt.MouseButton.NoButton
    kind, keys = QEvent.Type.MouseMove, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(widget, QHoverEvent(QEvent.Type.HoverMove, here, there, here))
    QApplication.sendEvent(widget, QMouseEvent(kind, QPointF(here), QPointF(there), none, none, keys))
