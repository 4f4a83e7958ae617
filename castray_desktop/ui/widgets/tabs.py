"""A tab bar with counts."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRect, QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QFontMetrics,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QTabBar, QToolButton

from castray_desktop.ui.i18n.language import Text
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import bind_text, paint_badge, paint_round

TABS_HEIGHT = 40
BADGE_GAP = 8
RING_ROOM = 6  # between a title and its focus ring


class Tabs(QTabBar):
    """Tabs with a count beside each title, and a line below the current one.

    Signal: `chosen(str)` with the key of the tab that the user has selected. For screen readers it is a list
    of page tabs; for the keyboard it is one stop, in which arrows, Home and End select.
    """

    chosen = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.keys: list[str] = []  # of the tabs, from left to right
        self._counts: dict[str, int] = {}
        self._gap = 24
        self._hovered = -1
        self._by_keyboard = False
        self.setFont(font(13, 600))
        self.setExpanding(False)
        self.setDrawBase(False)
        self.setUsesScrollButtons(False)
        for unused in self.findChildren(QToolButton):
            unused.setAccessibleName("")  # it would not follow the language
        self.setElideMode(Qt.TextElideMode.ElideNone)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFixedHeight(TABS_HEIGHT)
        self.currentChanged.connect(self._current_changed)

    def add(self, key: str, title: Text) -> None:
        """Append a tab."""
        place = len(self.keys)
        self.keys.append(key)
        self.addTab("")
        bind_text(self, lambda text: self._retranslate(place, text), title)

    def choose(self, key: str) -> None:
        """Select a tab without a signal. Raises ValueError for an unknown key."""
        with QSignalBlocker(self):
            self.setCurrentIndex(self.keys.index(key))
        self.update()

    def step(self, by: int) -> None:
        """Select the tab `by` places further on, cyclically, with a signal."""
        self.setCurrentIndex((self.currentIndex() + by) % max(1, self.count()))

    def set_count(self, key: str, count: int) -> None:
        """Show a count beside a title; zero hides it. Raises ValueError for an unknown key."""
        if count != self._counts.get(key, 0):
            self._counts[key] = count
            place = self.keys.index(key)
            self._retranslate(place, self.tabText(place))

    def set_gap(self, gap: int) -> None:
        """Set the pixels between two titles."""
        self._gap = gap
        self._resize()

    def _retranslate(self, place: int, title: str) -> None:
        count = self._counts.get(self.keys[place], 0)
        self.setTabText(place, title)
        self.setAccessibleTabName(place, f"{title} ({count:,})" if count else title)
        self._resize()

    def _resize(self) -> None:
        """Setting a text makes Qt compute the sizes of all tabs again."""
        if self.count():
            self.setTabText(0, self.tabText(0))
        self.update()

    def _current_changed(self, place: int) -> None:
        if 0 <= place < len(self.keys):
            self.chosen.emit(self.keys[place])

    def _badge_width(self, place: int) -> int:
        count = self._counts.get(self.keys[place], 0)
        if not count:
            return 0
        return max(18, QFontMetrics(font(11, 600)).horizontalAdvance(f"{count:,}") + 11)

    def _title_width(self, place: int) -> int:
        return QFontMetrics(self.font()).horizontalAdvance(self.tabText(place)) + 1

    def content(self, key: str) -> QRect:
        """The rectangle of a title and its count. Raises ValueError for an unknown key."""
        place = self.keys.index(key)
        badge = self._badge_width(place)
        width = self._title_width(place) + (BADGE_GAP + badge if badge else 0)
        return QRect(self.tabRect(place).left() + RING_ROOM, 0, width, self.height())

    # --- Qt --------------------------------------------------------------------------------

    def tabSizeHint(self, index: int) -> QSize:
        badge = self._badge_width(index)
        width = self._title_width(index) + (BADGE_GAP + badge if badge else 0)
        return QSize(width + (self._gap if index < self.count() - 1 else 2 * RING_ROOM), TABS_HEIGHT)

    def minimumTabSizeHint(self, index: int) -> QSize:
        return self.tabSizeHint(index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        place, last = self.currentIndex(), self.count() - 1
        to = {
            Qt.Key.Key_Left: (place - 1) % (last + 1),
            Qt.Key.Key_Right: (place + 1) % (last + 1),
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }.get(Qt.Key(event.key()))
        if to is None:
            event.ignore()
            return
        self._by_keyboard = True
        self.setCurrentIndex(to)
        self.update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        if event.reason() is not Qt.FocusReason.ActiveWindowFocusReason:  # keeps the ring as it was
            self._by_keyboard = event.reason() is not Qt.FocusReason.MouseFocusReason
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._by_keyboard = False
        super().mousePressEvent(event)
        self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        self._hover(self.tabAt(event.position().toPoint()))

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._hover(-1)

    def _hover(self, place: int) -> None:
        if place != self._hovered:
            self._hovered = place
            self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Ignore the wheel: scrolling must not change the page."""
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for place, key in enumerate(self.keys):
            self._paint(painter, place, self.content(key))
        painter.end()

    def _paint(self, painter: QPainter, place: int, area: QRect) -> None:
        color, chosen = self._theme.color, place == self.currentIndex()
        painter.setFont(self.font())
        painter.setPen(color("text" if chosen or place == self._hovered else "text_2"))
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, self.tabText(place))
        if badge := self._badge_width(place):
            pill = QRectF(area.right() + 1 - badge, (area.height() - 18) / 2, badge, 18)
            paint_badge(painter, pill, f"{self._counts[self.keys[place]]:,}", self._theme)
        if chosen:
            painter.fillRect(QRect(area.left(), self.height() - 2, area.width(), 2), color("accent"))
            if self.hasFocus() and self._by_keyboard:
                ring = QRectF(area).adjusted(1 - RING_ROOM, 5, RING_ROOM - 1, -5)
                paint_round(painter, ring, 6, None, color("accent"), 2)
