"""Which cast the graph and the status bar show: the one that is selected in the table."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from castray_desktop.core.protocol.messages import CastSummary, DeliverySnapshot
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.transfers.transfer_table import TransferTable

SHOW_MS = 15
"""From news of the shown cast until they are shown: a turn of their own, after a report was taken in."""


class ShownCast(QObject):
    """Takes news of casts to the model, and selects the cast that the user waits for.

    Signal: `changed(cast)`: there is news of the one that is shown. Summary and deliveries come one after
    the other and are told at once.
    """

    changed = Signal(str)

    def __init__(self, transfers: TransferModel, table: TransferTable, parent: QObject) -> None:
        super().__init__(parent)
        self._transfers, self._table = transfers, table
        self._expected = ""  # a cast that was accepted and is to be selected
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SHOW_MS)
        self._soon.timeout.connect(self._tell)

    def select_newest(self, casts: tuple[CastSummary, ...]) -> None:
        """Select the newest of these casts, unless one is selected."""
        if not self._table.selected_cast() and casts:
            self._table.select_cast(max(casts, key=lambda cast: cast.started).cast)

    def expect(self, cast: str) -> None:
        """Select a cast that was accepted, now or when it is told."""
        self._expected = cast
        summary = self._transfers.summary(cast)
        if summary is not None:
            self.apply_summary(summary)

    def apply_summary(self, summary: CastSummary) -> None:
        """A cast that is new or has changed."""
        self._transfers.apply_summary(summary)
        expected = summary.cast == self._expected
        if expected:
            self._expected = ""
        if expected or not (self._table.selected_cast() or summary.state.finished):
            self._table.select_cast(summary.cast)  # also of a script, where nothing else is shown
        self._news_of(summary.cast)

    def apply_deliveries(self, cast: str, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Deliveries of a cast that are new or have changed."""
        self._transfers.apply_deliveries(cast, deliveries)
        self._news_of(cast)

    def _news_of(self, cast: str) -> None:
        if cast == self._table.selected_cast():
            self._soon.start()

    def _tell(self) -> None:
        self.changed.emit(self._table.selected_cast())
