"""Where the window was, how it was divided and what it showed: remembered from start to start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QSettings, QSize
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.controls.splitter import GapSplitter
from castray_desktop.ui.recipient_rows import Order
from castray_desktop.ui.transfers_card import TRANSFERS

if TYPE_CHECKING:
    from castray_desktop.ui.main_window import MainWindow

GEOMETRY, SPLIT, PAGE, ORDER = "window/geometry", "window/split", "window/page", "recipients/order"


FRAME = 40  # what the desktop's title bar takes of the height at most


def fit_to_screen(window: QWidget) -> None:
    """No larger than what the desktop leaves of the screen, where the smallest window fits."""
    room, least = window.screen().availableSize(), window.minimumSize()
    if least.boundedTo(room) == least:
        window.resize(window.size().boundedTo((room - QSize(0, FRAME)).expandedTo(least)))


class WindowMemory:
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
        else:
            fit_to_screen(window)
        window.table.restore_columns(self._settings)
        order = str(self._settings.value(ORDER))
        if order in {each.value for each in Order}:
            window.recipients.set_order(Order(order))
        window.transfers_card.show_page(str(self._settings.value(PAGE, TRANSFERS)))

    def restore_division(self) -> None:
        """The splitters as they were."""
        for key, splitter in self._splitters:
            state = self._settings.value(SPLIT + key)
            if isinstance(state, QByteArray):
                splitter.restoreState(state)
