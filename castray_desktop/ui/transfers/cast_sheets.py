"""Opens the sheets about casts: details and verification, one of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from castray_desktop.core.protocol import messages
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_details import CastDetails
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.transfers.transfer_text import cast_title

if TYPE_CHECKING:
    from castray_desktop.ui.transfers.verify_sheet import VerifySheet


class CastSheets(QObject):
    """Makes them when they are first wanted."""

    def __init__(self, theme: Theme, link: EngineLink, transfers: TransferModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme, self._link, self._transfers, self._window = theme, link, transfers, parent
        self.details: CastDetails | None = None
        self.verifying: VerifySheet | None = None

    def show_details(self, cast: str) -> None:
        """Show the details of a cast of the transfers; an unknown one is ignored."""
        summary = self._transfers.summary(cast)
        if summary is not None:
            self._details().show_cast(summary, self._transfers.deliveries(cast))
            self._raise(self._details())

    def show_result(self, result: messages.CastResult) -> None:
        """Show the details of an ended cast."""
        self._details().show_cast(result.summary, result.deliveries)
        self._raise(self._details())

    def refresh(self, cast: str) -> None:
        """Update the details of a cast while they are open."""
        sheet = self.details
        summary = self._transfers.summary(cast)
        if sheet is not None and sheet.isVisible() and sheet.cast == cast and summary is not None:
            sheet.show_cast(summary, self._transfers.deliveries(cast))

    def verify(self, cast: str) -> None:
        """Read back what a cast delivered. One at a time: another one takes the place of the first."""
        if self.verifying is None:
            from castray_desktop.ui.transfers.verify_sheet import VerifySheet

            self.verifying = VerifySheet(self._theme, self._link, self._window)
        summary = self._transfers.summary(cast)
        self.verifying.stop()
        self.verifying.start(cast, cast_title(summary) if summary is not None else cast)
        self._raise(self.verifying)

    def close(self) -> None:
        """The window goes."""
        for sheet in (self.details, self.verifying):
            if sheet is not None:
                sheet.close()

    def _details(self) -> CastDetails:
        if self.details is None:
            self.details = CastDetails(self._theme, self._window)
        return self.details

    def _raise(self, sheet: QWidget) -> None:
        sheet.show()
        sheet.raise_()
        sheet.activateWindow()
