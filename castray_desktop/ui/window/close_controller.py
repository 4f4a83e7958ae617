"""Closing the window while casts run: ask, stay in the tray, or stop until the next start."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, QObject, Signal
from PySide6.QtWidgets import QWidget

from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol.messages import CastSummary
from castray_desktop.ui.cast_question import names_text
from castray_desktop.ui.i18n.retranslator import Text
from castray_desktop.ui.model.preferences import Closing, Preferences
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.window.tray import Tray

translate = QCoreApplication.translate


class CloseController(QObject):
    """Signals: `quit_requested()` when the window is to end, `hidden()` when it stays in the tray."""

    quit_requested = Signal()
    hidden = Signal()

    def __init__(
        self,
        banner: Banner,
        tray: Tray,
        chosen: Preferences,
        running: Callable[[], tuple[CastSummary, ...]],
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._banner, self._tray, self._chosen, self._running = banner, tray, chosen, running
        self._asked = False
        banner.dismissed.connect(self.forget)

    def close(self) -> None:
        """Ask whether to close. A second request without an answer means stop."""
        running = self._running()
        closing = self._chosen.closing
        if not running or self._asked or closing is Closing.STOP:
            self.quit_requested.emit()
        elif closing is Closing.TRAY and self._tray.available:
            self.hidden.emit()
        else:
            self._ask(running)

    def casts_changed(self) -> None:
        """Fewer may run: without any there is nothing to ask any more."""
        if self._asked and not self._running():
            self.forget()
            self._banner.hide()

    def forget(self) -> None:
        """Forget the question."""
        self._asked = False

    def _ask(self, running: tuple[CastSummary, ...]) -> None:
        self._asked = True
        stop: tuple[Text, Callable[[], None]] = (
            lambda: translate("MainWindow", "Stop, and go on next time"),
            self.quit_requested.emit,
        )
        actions = [stop]
        if self._tray.available:
            stay = (lambda: translate("MainWindow", "Keep running in the tray"), self._stay)
            actions.insert(0, stay)
        self._banner.show_message(lambda: self._words(running), *actions, tone="warn")

    def _stay(self) -> None:
        self.forget()
        self.hidden.emit()

    def _words(self, running: tuple[CastSummary, ...]) -> Explanation:
        text = names_text(running)
        if self._tray.available:
            return Explanation(
                text, translate("MainWindow", "It can go on in the tray, or at the next start.")
            )
        hint = translate(
            "MainWindow",
            "This desktop has no tray to keep running in. What is not delivered goes on at the next start.",
        )
        return Explanation(text, hint)
