"""A message at the window's lower right corner that goes by itself, unless the mouse rests on it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QPoint, QRectF, Qt, QTimer
from PySide6.QtGui import QEnterEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.ui.i18n.retranslator import Retranslator, Text
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import (
    GlyphLabel,
    button,
    icon_button,
    label,
    paint_round,
    set_tone,
)
from castray_desktop.ui.widgets.status_glyphs import GlyphState

SHOWN_MS = 7000
WIDTH = 360
EDGE = 20
GAP = 8
MOVES = (QEvent.Type.Resize, QEvent.Type.Move, QEvent.Type.Show)


class Toast(QWidget):
    """One message at a time; a newer one takes the place of the older."""

    def __init__(self, theme: Theme, window: QWidget, above: QWidget | None = None) -> None:
        """`above`: it leaves this one free, where it is shown at the window's lower end."""
        super().__init__(window)
        self._theme, self._window, self._above = theme, window, above
        self._message: Callable[[], Explanation] | None = None
        self._action_text: Text | None = None
        self._run: Callable[[], object] = lambda: None
        self._glyph = GlyphLabel(theme, GlyphState.VERIFIED, 16)
        self._happened = label("", 13, 600)
        self._detail = label("", 12, 400, "2")
        for text in (self._happened, self._detail):
            text.setWordWrap(True)
        self.action = button(theme, "", kind="link", height=24)
        self.action.clicked.connect(self._pressed)
        close = icon_button(theme, "x", lambda: self.tr("Dismiss"), side=24, size=14)
        close.clicked.connect(self.hide)
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self._happened)
        words.addWidget(self._detail)
        words.addWidget(self.action, 0, Qt.AlignmentFlag.AlignLeft)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 12, 8, 12)
        row.setSpacing(10)
        row.addWidget(self._glyph, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        row.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)
        self.setFixedWidth(WIDTH)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(SHOWN_MS)
        self._timer.timeout.connect(self.hide)
        for watched in (window, above):
            if watched is not None:
                watched.installEventFilter(self)
        theme.changed.connect(self.update)
        self.hide()
        Retranslator(self, self._retranslate)

    def show_message(
        self,
        message: Callable[[], Explanation],
        *,
        failed: bool = False,
        action: tuple[Text, Callable[[], object]] | None = None,
    ) -> None:
        """Say this for a while; `action` is a link below it."""
        self._message = message
        self._glyph.set_state(GlyphState.FAILED if failed else GlyphState.VERIFIED)
        set_tone(self._happened, "bad" if failed else "1")
        self._action_text, self._run = action if action is not None else (None, lambda: None)
        self._retranslate()
        self.show()
        self._place()
        self.raise_()
        self._timer.start()

    def text(self) -> str:
        """What is being said; empty while hidden."""
        return "" if self.isHidden() or self._message is None else self._message().text

    def _retranslate(self) -> None:
        if self._message is None:
            return
        message = self._message()
        self._happened.setText(message.happened)
        self._detail.setText(message.remedy)
        self._detail.setVisible(bool(message.remedy))
        self.action.setVisible(self._action_text is not None)
        if self._action_text is not None:
            self.action.setText(self._action_text())
            self.action.setAccessibleName(self._action_text())
        self.setAccessibleName(message.text)
        self._place()

    def _pressed(self) -> None:
        self.hide()
        self._run()

    def _place(self) -> None:
        layout = self.layout()
        height = layout.totalHeightForWidth(WIDTH) if layout is not None else 0
        self.resize(WIDTH, height if height > 0 else self.sizeHint().height())
        floor = self._window.height() - 28 - EDGE
        if self._above is not None and self._above.isVisible():
            floor = min(floor, self._above.mapTo(self._window, QPoint()).y() - GAP)
        self.move(self._window.width() - WIDTH - EDGE, floor - self.height())

    # --- Qt --------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        moves = (QEvent.Type.Resize,) if watched is self._window else MOVES
        if event.type() in moves and not self.isHidden():
            self._place()
        return super().eventFilter(watched, event)

    def enterEvent(self, event: QEnterEvent) -> None:
        super().enterEvent(event)
        self._timer.stop()

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._timer.start()

    def paintEvent(self, event: QPaintEvent) -> None:
        color = self._theme.color
        paint_round(QPainter(self), QRectF(self.rect()), 12, color("tip"), color("line_strong"))
