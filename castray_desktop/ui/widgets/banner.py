"""Messages inside the window, which replace modal boxes: what happened, what to do, and buttons to do it.

A banner covers an edge of its host, a toast the lower right corner of the window. Neither is in a layout:
nothing moves below the pointer when they appear.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from PySide6.QtCore import (
    QCoreApplication,
    QEvent,
    QMargins,
    QObject,
    QPoint,
    QRect,
    QRectF,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QEnterEvent, QHideEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.ui.i18n.failure_text import explain_failure
from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import (
    GlyphLabel,
    button,
    icon_button,
    label,
    lay_in,
    paint_round,
    set_tone,
)
from castray_desktop.ui.widgets.status_glyphs import GlyphState

translate = QCoreApplication.translate

_TONES = {
    "ok": (GlyphState.VERIFIED, "ok_soft", "ok_fill"),
    "warn": (GlyphState.LAGGING, "warn_soft", "warn_line"),
    "bad": (GlyphState.FAILED, "bad_soft", "bad_fill"),
}

SIDE_BY_SIDE = 560
"""From this width on the buttons are beside the text, else below it."""


class Edge(enum.Enum):
    """The edge that a banner covers."""

    TOP = "top"
    BOTTOM = "bottom"


class _MessageWidget(QWidget):
    """A glyph, what happened, and what to do, in the current language. Hidden at first."""

    def __init__(
        self, theme: Theme, parent: QWidget | None, glyph: GlyphLabel, happened: QLabel, remedy: QLabel
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._message: Callable[[], Explanation] | None = None
        self._glyph, self._happened, self._remedy = glyph, happened, remedy
        for text in (happened, remedy):
            text.setWordWrap(True)
        self.hide()
        Retranslator(self, self._retranslate)

    def _lay_out(
        self, below: QWidget, close: Callable[[], None], spacing: int, margins: tuple[int, int, int, int]
    ) -> None:
        """The glyph, the text with a widget below it, and a button that closes the message."""
        cross = icon_button(self._theme, "x", lambda: translate("Banner", "Dismiss"), side=24, size=14)
        cross.clicked.connect(close)
        self._words = lay_in(QVBoxLayout(), self._happened, self._remedy, below)
        parts = (self._glyph, (self._words, 1), cross)
        self._row = lay_in(QHBoxLayout(self), *parts, spacing=spacing, margins=margins)
        for part in (self._glyph, cross):
            self._row.setAlignment(part, Qt.AlignmentFlag.AlignTop)

    def text(self) -> str:
        """The message; empty while hidden."""
        return "" if self.isHidden() or self._message is None else self._message().text

    def place(self) -> None:
        """Adapt size and position to the message and the surroundings."""
        raise NotImplementedError

    def _retranslate(self) -> None:
        if self._message is None:
            return
        message = self._message()
        self._happened.setText(message.happened)
        self._remedy.setText(message.remedy)
        self._remedy.setVisible(bool(message.remedy))
        self.setAccessibleName(message.text)
        self.place()


class Banner(_MessageWidget):
    """A message at an edge of its host; visible only after `float_over` and `show_message`.

    Signals: `dismissed()` when the user closes it; `gone()` whenever it is hidden.
    """

    dismissed = Signal()
    gone = Signal()

    def __init__(self, theme: Theme, tone: str) -> None:
        glyph = GlyphLabel(theme, _TONES[tone][0])
        super().__init__(theme, None, glyph, label("", 12, 600, tone), label("", 12, 400, "1"))
        self._host: QWidget | None = None
        self._area: Callable[[], QRect] = QRect
        self._edge = Edge.TOP
        self._beside = False
        self._tone = self._shown_tone = tone
        for text in (self._happened, self._remedy):
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._buttons = QWidget()
        self._actions = lay_in(QHBoxLayout(self._buttons), spacing=8, margins=(0, 4, 0, 0))
        self._hide_timer = QTimer(self, singleShot=True)
        self._hide_timer.timeout.connect(self.hide)
        self._lay_out(self._buttons, self._dismiss, 8, (12, 8, 6, 8))
        self._words.setSpacing(1)

    def show_failure(self, failure: Failure) -> None:
        """Show what has failed, and what to do."""
        self.show_message(lambda: explain_failure(failure), tone="bad")

    def float_over(self, host: QWidget, area: Callable[[], QRect], edge: Edge = Edge.TOP) -> None:
        """Cover an edge of an area of `host`; `area` returns it in the host's coordinates."""
        self._host, self._area, self._edge = host, area, edge
        self.setParent(host)
        host.installEventFilter(self)
        self.hide()

    def show_message(
        self,
        message: Callable[[], Explanation],
        *actions: tuple[Text, Callable[[], None]],
        tone: str = "",
        milliseconds: int = 0,
    ) -> None:
        """Show this instead of the previous message; each action is a button, which also closes the banner.

        `message` is called again after a change of language. `tone` is "ok", "warn" or "bad", by default the
        banner's own. The message stays until it is closed, or for so many `milliseconds`.
        """
        self._hide_timer.stop()
        if milliseconds:
            self._hide_timer.start(milliseconds)
        self._shown_tone = tone or self._tone
        self._glyph.set_state(_TONES[self._shown_tone][0])
        set_tone(self._happened, self._shown_tone)
        self._message = message
        self._retranslate()
        self._clear_actions()
        for text, run in actions:
            self._add_action(text, run)
        self._actions.addStretch()
        self._buttons.setVisible(bool(actions))
        self.place()
        self.show()
        self.raise_()

    def place(self) -> None:
        """Adapt to the host; call it when the area has changed without the host."""
        layout = self.layout()
        if self._host is None or layout is None:
            return
        area = self._area()
        height = self.needed_height(area.width())
        top = area.top() if self._edge is Edge.TOP else max(area.top(), area.bottom() + 1 - height)
        self.setGeometry(area.left(), top, area.width(), height)

    def needed_height(self, width: int) -> int:
        """How high the message is in that width."""
        layout = self.layout()
        assert layout is not None
        self._place_buttons(beside=width >= SIDE_BY_SIDE)
        return max(layout.totalHeightForWidth(width), layout.totalMinimumSize().height())

    def _place_buttons(self, *, beside: bool) -> None:
        if beside is self._beside:
            return
        self._beside = beside
        if beside:
            self._row.insertWidget(2, self._buttons, 0, Qt.AlignmentFlag.AlignVCenter)
        else:
            self._words.addWidget(self._buttons)
        self._actions.setContentsMargins(0, 0 if beside else 4, 0, 0)

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

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        if self.isHidden():  # and not only what it lies over
            self.gone.emit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest) and not self.isHidden():
            self.place()
        return super().eventFilter(watched, event)

    def paintEvent(self, event: QPaintEvent) -> None:
        color = self._theme.color
        _, fill, border = _TONES[self._shown_tone]
        paint_round(QPainter(self), QRectF(self.rect()), 10, color(fill), color(border))


def lay_out(
    page: QWidget,
    left: Sequence[QWidget],
    right: Sequence[QWidget],
    banner: Banner,
    shown: QWidget,
    *,
    spacing: int = 8,
) -> QVBoxLayout:
    """Fill a page: widgets in a row at the top, below them `shown` in the room that is left."""
    tools = lay_in(QHBoxLayout(), *left, None, *right, spacing=spacing, margins=(7 + spacing, 6, 15, 6))
    column = lay_in(QVBoxLayout(page), tools, (shown, 1), spacing=0, margins=(0, 0, 0, 0))
    banner.float_over(page, lambda: shown.geometry().marginsRemoved(QMargins(12, 2, 12, 2)))
    return column


TOAST_MS = 7000
TOAST_WIDTH = 360
TOAST_MARGIN, TOAST_GAP = 20, 8  # to the window's edges, to the widget below
MOVES = (QEvent.Type.Resize, QEvent.Type.Move, QEvent.Type.Show)


class Toast(_MessageWidget):
    """A message that disappears by itself; a newer one replaces it."""

    def __init__(self, theme: Theme, window: QWidget, above: QWidget) -> None:
        """The toast is placed above the widget `above` while that is visible."""
        glyph = GlyphLabel(theme, GlyphState.VERIFIED, 16)
        super().__init__(theme, window, glyph, label("", 13, 600), label("", 12, 400, "2"))
        self._window, self._above = window, above
        self._action_text: Text | None = None
        self._run: Callable[[], object] = lambda: None
        self.action = button(theme, "", kind="link", height=24)
        self.action.clicked.connect(self._pressed)
        self._lay_out(self.action, self.hide, 10, (14, 12, 8, 12))
        self._words.setSpacing(2)
        self._words.setAlignment(self.action, Qt.AlignmentFlag.AlignLeft)
        self.setFixedWidth(TOAST_WIDTH)
        self._timer = QTimer(self, singleShot=True, interval=TOAST_MS)
        self._timer.timeout.connect(self.hide)
        for watched in (window, above):
            watched.installEventFilter(self)

    def show_message(
        self,
        message: Callable[[], Explanation],
        *,
        failed: bool = False,
        action: tuple[Text, Callable[[], object]] | None = None,
    ) -> None:
        """Show this for a few seconds, longer while the pointer is on it; `action` is a link below it."""
        self._message = message
        self._glyph.set_state(GlyphState.FAILED if failed else GlyphState.VERIFIED)
        set_tone(self._happened, "bad" if failed else "1")
        self._action_text, self._run = action if action is not None else (None, lambda: None)
        self._retranslate()
        self.show()
        self.place()
        self.raise_()
        self._timer.start()

    def _retranslate(self) -> None:
        if self._message is not None:
            self.action.setVisible(self._action_text is not None)
            if self._action_text is not None:
                self.action.setText(self._action_text())
                self.action.setAccessibleName(self._action_text())
        super()._retranslate()

    def _pressed(self) -> None:
        self.hide()
        self._run()

    def place(self) -> None:
        layout = self.layout()
        height = layout.totalHeightForWidth(TOAST_WIDTH) if layout is not None else 0
        self.resize(TOAST_WIDTH, height if height > 0 else self.sizeHint().height())
        floor = self._window.height() - 28 - TOAST_MARGIN
        if self._above.isVisible():
            floor = min(floor, self._above.mapTo(self._window, QPoint()).y() - TOAST_GAP)
        self.move(self._window.width() - TOAST_WIDTH - TOAST_MARGIN, floor - self.height())

    # --- Qt --------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        moves = (QEvent.Type.Resize,) if watched is self._window else MOVES
        if event.type() in moves and not self.isHidden():
            self.place()
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
