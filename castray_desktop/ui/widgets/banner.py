"""A message inside the window: what happened, what to do, and buttons to do it. Never a modal box.

It lies over a part of its host and is in no layout: nothing moves under the pointer when it comes or goes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QMargins, QObject, QRect, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QPainter, QPaintEvent
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

_LOOKS = {
    "ok": (GlyphState.VERIFIED, "ok_soft", "ok_fill"),
    "warn": (GlyphState.LAGGING, "warn_soft", "warn_line"),
    "bad": (GlyphState.FAILED, "bad_soft", "bad_fill"),
}

SIDE_BY_SIDE = 560

"""From this width on the buttons are beside the words; below it they are under them."""


class Edge(enum.Enum):
    """The side of its room that a banner keeps to."""

    TOP = "top"
    BOTTOM = "bottom"


class Banner(QWidget):
    """Hidden until `show_message`, and only seen once `float_over` has given it a place.

    Signals: `dismissed()` when the user closes it; `gone()` whenever it is hidden.
    """

    dismissed = Signal()
    gone = Signal()

    def __init__(self, theme: Theme, tone: str = "bad", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._host: QWidget | None = None
        self._room: Callable[[], QRect] = QRect
        self._edge = Edge.TOP
        self._beside = False
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
        theme.changed.connect(self.update)
        self.hide()
        Retranslator(self, self._tell)

    def _build(self) -> None:
        close = icon_button(self._theme, "x", lambda: self.tr("Dismiss"), side=24, size=14)
        close.clicked.connect(self._dismiss)
        self._words = words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(self._happened)
        words.addWidget(self._remedy)
        words.addWidget(self._buttons)
        self._row = row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 6, 8)
        row.setSpacing(8)
        row.addWidget(self._glyph, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(words, 1)
        row.addWidget(close, 0, Qt.AlignmentFlag.AlignTop)

    def float_over(self, host: QWidget, room: Callable[[], QRect], edge: Edge = Edge.TOP) -> None:
        """Lie over `host`, at an edge of the `room` that it gives in its own coordinates."""
        self._host, self._room, self._edge = host, room, edge
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
        self.place()
        self.show()
        self.raise_()

    def _tell(self) -> None:
        if self._message is None:
            return
        message = self._message()
        self._happened.setText(message.happened)
        self._remedy.setText(message.remedy)
        self._remedy.setVisible(bool(message.remedy))
        self.setAccessibleName(message.text)
        self.place()

    def place(self) -> None:
        """Take the place again; to be called when the room has changed without the host."""
        layout = self.layout()
        if self._host is None or layout is None:
            return
        room = self._room()
        self._put_buttons(beside=room.width() >= SIDE_BY_SIDE)
        height = max(layout.totalHeightForWidth(room.width()), layout.totalMinimumSize().height())
        top = room.top() if self._edge is Edge.TOP else max(room.top(), room.bottom() + 1 - height)
        self.setGeometry(room.left(), top, room.width(), height)

    def _put_buttons(self, *, beside: bool) -> None:
        if beside is self._beside:
            return
        self._beside = beside
        if beside:
            self._row.insertWidget(2, self._buttons, 0, Qt.AlignmentFlag.AlignVCenter)
        else:
            self._words.addWidget(self._buttons)
        self._actions.setContentsMargins(0, 0 if beside else 4, 0, 0)

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
        _, fill, border = _LOOKS[self._shown_tone]
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
    tools = QHBoxLayout()
    tools.setContentsMargins(7 + spacing, 6, 15, 6)
    tools.setSpacing(spacing)
    for widget in left:
        tools.addWidget(widget)
    tools.addStretch()
    for widget in right:
        tools.addWidget(widget)
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    column.addLayout(tools)
    column.addWidget(shown, 1)
    banner.float_over(page, lambda: shown.geometry().marginsRemoved(QMargins(12, 2, 12, 2)))
    return column
