"""Asks, while the user still chooses, whether everybody could take what would be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal

from castray_desktop.core import messages
from castray_desktop.core.failure import Failure

if TYPE_CHECKING:
    from castray_desktop.ui.engine_link import EngineLink

QUIET_MS = 300


class PreflightCheck(QObject):
    """The newest answer about the newest request.

    Signals: `changed()` when `report` or `failure` did. Both are None while nothing is known.
    """

    changed = Signal()

    def __init__(self, link: EngineLink, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._link = link
        self._request: messages.SendRequest | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(QUIET_MS)
        self._timer.timeout.connect(self._ask)
        self.report: messages.PreflightReport | None = None
        self.failure: Failure | None = None

    def set_request(self, request: messages.SendRequest | None) -> None:
        """What would be sent now; None when nothing could be. Asked once it has been quiet."""
        if request == self._request:
            return
        self._request = request
        self._set(None, None)
        if request is None:
            self._timer.stop()
        else:
            self._timer.start()

    @property
    def waiting(self) -> bool:
        """Whether it is still quiet for too short a time to ask."""
        return self._timer.isActive()

    def ask_again(self) -> None:
        """Forget the answer: the world may have changed."""
        request, self._request = self._request, None
        self.set_request(request)

    def _ask(self) -> None:
        request = self._request
        if request is None or not self._link.connected:
            return

        def done(report: messages.PreflightReport) -> None:
            if request == self._request:
                self._set(report, report.failure)

        def failed(failure: Failure) -> None:
            if request == self._request:
                self._set(None, failure)

        self._link.ask(messages.Preflight(request), messages.PreflightReport, done, failed)

    def _set(self, report: messages.PreflightReport | None, failure: Failure | None) -> None:
        if (report, failure) != (self.report, self.failure):
            self.report, self.failure = report, failure
            self.changed.emit()
