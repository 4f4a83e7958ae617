"""Saves and restores geometry, splitter sizes, page and columns of the main window."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QPoint, QSettings, QSize
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.recipients.recipient_model import RecipientOrder
from castray_desktop.ui.transfers.transfers_card import TRANSFERS
from castray_desktop.ui.window.window_layout import WindowLayout

GEOMETRY, SPLIT, PAGE, ORDER = "window/geometry", "window/split", "window/page", "recipients/order"


FRAME = QSize(8, 40)  # what the desktop's borders and title bar take at most


def fit_to_screen(window: QWidget) -> None:
    """Keep the window within the available part of the screen."""
    screen = window.screen().availableGeometry()
    room = screen.size() - FRAME
    window.setMinimumSize(window.minimumSize().boundedTo(room))
    if window.isMaximized() or window.isFullScreen():
        return
    window.resize(window.size().boundedTo(room))
    last = screen.bottomRight() - QPoint(window.width() + FRAME.width(), window.height() + FRAME.height())
    inside = QPoint(min(window.x(), last.x() + 1), min(window.y(), last.y() + 1))
    window.move(max(inside.x(), screen.x()), max(inside.y(), screen.y()))


class WindowState:
    """Saves and restores them in the window's settings."""

    def __init__(self, settings: QSettings, window: QWidget, layout: WindowLayout) -> None:
        self._settings, self._window, self._layout = settings, window, layout
        self._recipients, self._card = layout.parts.recipients, layout.parts.transfers_card
        self._splitters = (("/rows", layout.rows), ("/columns", layout.columns))
        layout.divided.connect(self._restore_division)

    def save(self) -> None:
        """Save everything; the division only when the window is not compact, since the user chose it."""
        settings = self._settings
        settings.setValue(GEOMETRY, self._window.saveGeometry())
        settings.setValue(PAGE, self._card.page)
        settings.setValue(ORDER, self._recipients.model.order.value)
        self._card.table.save_columns(settings)
        if not self._layout.compact:
            for key, splitter in self._splitters:
                settings.setValue(SPLIT + key, splitter.saveState())

    def restore(self) -> None:
        """Everything but the division, which waits until the window has its size."""
        geometry = self._settings.value(GEOMETRY)
        if isinstance(geometry, QByteArray):
            self._window.restoreGeometry(geometry)
        fit_to_screen(self._window)
        self._card.table.restore_columns(self._settings)
        order = str(self._settings.value(ORDER))
        if order in {each.value for each in RecipientOrder}:
            self._recipients.set_order(RecipientOrder(order))
        self._card.show_page(str(self._settings.value(PAGE, TRANSFERS)))

    def _restore_division(self) -> None:
        for key, splitter in self._splitters:
            state = self._settings.value(SPLIT + key)
            if isinstance(state, QByteArray):
                splitter.restoreState(state)
