"""A message inside the window: what happened, what to do, and buttons to do it. Never a modal box."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from castray_desktop.core.errors import Explanation
from castray_desktop.ui.controls.glyphs import GlyphState
from castray_desktop.ui.controls.widgets import GlyphLabel, button, icon_button, label, paint_round, set_tone
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.words import Text, Words

_LOOKS = {
    "ok": (GlyphState.VERIFIED, "ok_soft", "ok_fill"),
    "warn": (GlyphState.LAGGING, "warn_soft", "warn_line"),
    "bad": (GlyphState.FAILED, "bad_soft", "bad_fill"),
}


class Banner(QWidget):
    """Hidden until `show_message`. Signals: `dismissed()` when the user closes it, `shown(bool)`."""

    dismissed = Signal()
    shown = Signal(bool)

    def __init__(self, theme: Theme, tone: str = "bad", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._tone = self._shown_tone = tone
        self._message: Callable[[], Explanation] | None = None
        self._glyph = GlyphLabel(theme, _LOOKS[tone][0])
        self._happened = label("", 12, 600, tone)
        self._remedy = label("", 12, 400, "1")
        for text in (self._happened, self._remedy):
            text.setWordWrap(True)
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._buttons = QWidget()
        self._actions = QHBoxLayout(self._buttons)
        self._actions.setContentsMargins(0, 4, 0, 0)
        self._actions.setSpacing(8)
        self._hiding = QTimer(self)
        self._hiding.setSingleShot(True)
        self._hiding.timeout.connect(self.hide)
        self._build()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        theme.changed.connect(self.update)
        self.hide()
        Words(self, self._tell)

    def _build(self) -> None:
        close = icon_button(self._theme, "x", lambda: self.tr("Dismiss"), side=24, size=14)
        close.clicked.connect(self._dismiss)
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(self._happened)
        words.addWidget(self._remedy)
        words.addWidget(self._buttons)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 6, 8)
        row.setSpacing(8)
        row.addWidget(self._glyph, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        row.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)

    def show_message(
        self,
        message: Callable[[], Explanation],
        *actions: tuple[Text, Callable[[], None]],
        tone: str = "",
        milliseconds: int = 0,
    ) -> None:
        """Say this, in place of what was said before; each action is a button that closes the banner.

        `message` is asked for again in every new language. `tone` is "ok", "warn" or "bad"; without one it
        is the banner's own. It stays until it is closed, or for so many `milliseconds`.
        """
        self._hiding.stop()
        if milliseconds:
            self._hiding.start(milliseconds)
        self._shown_tone = tone or self._tone
        self._glyph.set_state(_LOOKS[self._shown_tone][0])
        set_tone(self._happened, self._shown_tone)
        self._message = message
        self._tell()
        self._clear_actions()
        for text, run in actions:
            self._add_action(text, run)
        self._actions.addStretch()
        self._buttons.setVisible(bool(actions))
        self.show()

    def _tell(self) -> None:
        if self._message is None:
            return
        message = self._message()
        self._happened.setText(message.happened)
        self._remedy.setText(message.remedy)
        self._remedy.setVisible(bool(message.remedy))
        self.setAccessibleName(message.text)

    def text(self) -> str:
        """What is being said; empty while hidden."""
        return "" if self.isHidden() or self._message is None else self._message().text

    def _add_action(self, text: Text, run: Callable[[], None]) -> None:
        def pressed() -> None:
            self.hide()
            run()

        action = button(self._theme, text)
        action.clicked.connect(pressed)
        self._actions.addWidget(action)

    def _clear_actions(self) -> None:
        while (item := self._actions.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()

    def _dismiss(self) -> None:
        self.hide()
        self.dismissed.emit()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.shown.emit(True)

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.shown.emit(not self.isHidden())

    def paintEvent(self, event: QPaintEvent) -> None:
        color = self._theme.color
        _, fill, border = _LOOKS[self._shown_tone]
        paint_round(QPainter(self), QRectF(self.rect()), 10, color(fill), color(border))


def framed(banner: Banner) -> QWidget:
    """The banner with a little room around it, for pages without margins."""
    frame = QWidget()
    column = QVBoxLayout(frame)
    column.setContentsMargins(12, 0, 12, 6)
    column.addWidget(banner)
    frame.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
    frame.hide()
    banner.shown.connect(frame.setVisible)
    return frame
