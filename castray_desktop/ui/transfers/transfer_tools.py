"""Beside the tabs of the transfers: the filter, and what can be done with all of them."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget

from castray_desktop.ui.i18n.retranslator import Retranslator
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers import cast_actions
from castray_desktop.ui.transfers.cast_actions import CastActions
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.widgets.basic_widgets import IconTint, bind_text, button, icon_button


class TransferTools(QWidget):
    """Beside the tabs: the filter, and what can be done with all transfers."""

    def __init__(self, theme: Theme, model: TransferModel, actions: CastActions) -> None:
        super().__init__()
        self._model, self._actions = model, actions
        self._compact = False
        self._running = True
        self.filter = QLineEdit()
        self.filter.setFixedHeight(28)
        self.filter.setFont(font(12))
        self.filter.setFixedWidth(180)
        self.filter.setClearButtonEnabled(True)
        self.filter.installEventFilter(self)
        bind_text(self.filter, self.filter.setPlaceholderText, lambda: self.tr("Name, node or state"))
        bind_text(self.filter, self.filter.setAccessibleName, lambda: self.tr("Filter transfers"))
        self.filter.hide()
        self.filter_button = icon_button(theme, "funnel", lambda: self.tr("Filter (Ctrl+F)"))
        self.pause_button = button(theme, "", "pause", kind="flat")
        self.retry_button = button(theme, "", "rotate-cw", kind="flat")
        self.clear_button = button(theme, "", "list-x", kind="flat")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for widget in self._widgets():
            row.addWidget(widget)
        self.filter_button.clicked.connect(self.focus_filter)
        self.filter.textChanged.connect(model.set_filter)
        self.pause_button.clicked.connect(self._pause_or_resume)
        self.retry_button.clicked.connect(actions.retry_all)
        self.clear_button.clicked.connect(actions.clear_finished)
        Retranslator(self, self.refresh)

    def _widgets(self) -> Iterable[QWidget]:
        return (self.filter, self.filter_button, self.pause_button, self.retry_button, self.clear_button)

    def set_compact(self, compact: bool) -> None:
        """Icons alone."""
        self._compact = compact
        self.filter.setFixedWidth(140 if compact else 180)
        self.refresh()

    def focus_filter(self) -> None:
        """Show the filter with the cursor in it."""
        self.filter.show()
        self.filter.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.filter.selectAll()

    def refresh(self) -> None:
        """Show what can be done now."""
        running = paused = failed = finished = False
        for cast in self._model.casts():
            running = running or cast_actions.can_pause(cast)
            paused = paused or cast_actions.can_resume(cast)
            failed = failed or cast_actions.can_retry(cast)
            finished = finished or cast.state.finished
        if running is not self._running:
            self._running = running
            tint = self.pause_button.findChild(IconTint)
            if isinstance(tint, IconTint):
                tint.set_name("pause" if running else "play")
        pause = self.tr("Pause all") if running else self.tr("Resume all")
        keys = " (Ctrl+Shift+P)" if running else " (Ctrl+Shift+S)"
        self._retranslate(self.pause_button, pause, keys, running or paused)
        self._retranslate(self.retry_button, self.tr("Retry failed"), " (Ctrl+R)", failed)
        self._retranslate(self.clear_button, self.tr("Clear finished"), "", finished)

    def _retranslate(self, widget: QPushButton, text: str, keys: str, shown: bool) -> None:
        shown_text = "" if self._compact else text
        if widget.text() != shown_text:
            widget.setText(shown_text)
        if widget.accessibleName() != text:
            widget.setToolTip(text + keys)
            widget.setAccessibleName(text)
        if widget.isHidden() == shown:
            widget.setVisible(shown)

    def _pause_or_resume(self) -> None:
        if self._actions.any(cast_actions.can_pause):
            self._actions.pause_all()
        else:
            self._actions.resume_all()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Esc shows everything again and hides the filter."""
        pressed = event.type() is QEvent.Type.KeyPress and isinstance(event, QKeyEvent)
        if pressed and isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape:
            self.filter.clear()
            self.filter.hide()
            return True
        return super().eventFilter(watched, event)
