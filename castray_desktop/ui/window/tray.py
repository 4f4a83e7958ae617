"""The icon in the desktop's tray: opens the window, pauses, quits, and shows messages."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, QObject, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QMenu, QSystemTrayIcon, QWidget

from castray_desktop.ui.i18n.retranslator import Retranslator
from castray_desktop.ui.theme.resources import resource

translate = QCoreApplication.translate
SHOWN_MS = 8000


class Tray(QObject):
    """There where the desktop has a tray; else `available` is False and nothing is shown.

    A tray that comes later, as at login, is found when somebody asks for it.

    Signals: `open_requested()`, `pause_requested()`, `resume_requested()`, `quit_requested()`.
    """

    open_requested = Signal()
    pause_requested = Signal()
    resume_requested = Signal()
    quit_requested = Signal()

    def __init__(
        self, parent: QWidget, is_there: Callable[[], bool] = QSystemTrayIcon.isSystemTrayAvailable
    ) -> None:
        super().__init__(parent)
        self._is_there = is_there
        self.icon: QSystemTrayIcon | None = None
        self._clicked: Callable[[], object] = lambda: None
        self._menu = QMenu(parent)
        Retranslator(self, self._fill)
        self._look()

    @property
    def available(self) -> bool:
        """Whether the window can be hidden in the tray now."""
        return self._look()

    def _look(self) -> bool:
        """Whether there is a tray; the icon is put into it if it is not there yet."""
        there = self._is_there()
        if there and self.icon is None:
            self.icon = QSystemTrayIcon(QIcon(str(resource("castray-256.png"))), self)
            self.icon.setToolTip("CastRay")
            self.icon.setContextMenu(self._menu)
            self.icon.activated.connect(self._on_activated)
            self.icon.messageClicked.connect(self._on_clicked)
            self.icon.show()
        return there

    def show_message(self, title: str, text: str, *, failed: bool, clicked: Callable[[], object]) -> None:
        """Show a message on the desktop; `clicked` is called when the user clicks on it."""
        if not self._look() or self.icon is None or not self.icon.supportsMessages():
            return
        self._clicked = clicked
        kind = QSystemTrayIcon.MessageIcon.Warning if failed else QSystemTrayIcon.MessageIcon.Information
        self.icon.showMessage(title, text, kind, SHOWN_MS)

    def close(self) -> None:
        """Take the icon away."""
        if self.icon is not None:
            self.icon.hide()

    def _fill(self) -> None:
        self._menu.clear()
        self._menu.addAction(translate("Tray", "Open CastRay"), self.open_requested.emit)
        self._menu.addSeparator()
        self._menu.addAction(translate("TransferTools", "Pause all"), self.pause_requested.emit)
        self._menu.addAction(translate("TransferTools", "Resume all"), self.resume_requested.emit)
        self._menu.addSeparator()
        self._menu.addAction(translate("Tray", "Quit"), self.quit_requested.emit)

    def _on_clicked(self) -> None:
        self._clicked()

    def _on_activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason in (QSystemTrayIcon.ActivationReason.Trigger, QSystemTrayIcon.ActivationReason.DoubleClick):
            self.open_requested.emit()
