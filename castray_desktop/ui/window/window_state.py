"""Where the window was, how it was divided and what it showed: remembered from start to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QPoint, QSettings, QSize
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.recipients.recipient_model import RecipientOrder
from castray_desktop.ui.transfers.transfers_card import TRANSFERS
from castray_desktop.ui.window.window_layout import GapSplitter

if TYPE_CHECKING:
    from castray_desktop.ui.window.main_window import MainWindow

GEOMETRY, SPLIT, PAGE, ORDER = "window/geometry", "window/split", "window/page", "recipients/order"


FRAME = QSize(8, 40)  # what the desktop's borders and title bar take at most


def fit_to_screen(window: QWidget) -> None:
    """No larger than what the desktop leaves of the screen, at any scale, and within it."""
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
    """Keeps it in the window's settings."""

    def __init__(self, settings: QSettings, rows: GapSplitter, columns: GapSplitter) -> None:
        self._settings = settings
        self._splitters = (("/rows", rows), ("/columns", columns))

    def save(self, window: MainWindow, *, divided: bool) -> None:
        """Remember everything; the division only where it is the user's."""
        settings = self._settings
        settings.setValue(GEOMETRY, window.saveGeometry())
        settings.setValue(PAGE, window.transfers_card.page)
        settings.setValue(ORDER, window.recipients.model.order.value)
        window.table.save_columns(settings)
        if divided:
            for key, splitter in self._splitters:
                settings.setValue(SPLIT + key, splitter.saveState())

    def restore(self, window: MainWindow) -> None:
        """Everything but the division, which waits until the window has its size."""
        geometry = self._settings.value(GEOMETRY)
        if isinstance(geometry, QByteArray):
            window.restoreGeometry(geometry)
        fit_to_screen(window)
        window.table.restore_columns(self._settings)
        order = str(self._settings.value(ORDER))
        if order in {each.value for each in RecipientOrder}:
            window.recipients.set_order(RecipientOrder(order))
        window.transfers_card.show_page(str(self._settings.value(PAGE, TRANSFERS)))

    def restore_division(self) -> None:
        """The splitters as they were."""
        for key, splitter in self._splitters:
            state = self._settings.value(SPLIT + key)
            if isinstance(state, QByteArray):
                splitter.restoreState(state)
