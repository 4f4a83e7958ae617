"""Small controls that all parts of the window use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from PySide6.QtCore import QEvent, QObject, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFontMetrics,
    QGradient,
    QLinearGradient,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QBoxLayout,
    QFrame,
    QLabel,
    QLayout,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import BUTTON_END, BUTTON_START, ON_GRADIENT, Theme
from castray_desktop.ui.widgets.painting import icon, pixmap
from castray_desktop.ui.widgets.status_glyphs import GlyphState, paint_glyph

CARD_RADIUS = 14.0
INNER_RADIUS = 12.0
BUTTON_RADIUS = 10.0


def paint_round(
    painter: QPainter,
    rect: QRectF,
    radius: float,
    fill: QColor | QGradient | None,
    border: QColor | None,
    width: float = 1.0,
) -> None:
    """A filled rounded rectangle whose border lies inside `rect`."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(border, width) if border is not None else Qt.PenStyle.NoPen)
    painter.setBrush(fill if fill is not None else Qt.BrushStyle.NoBrush)
    half = width / 2 if border is not None else 0.0
    painter.drawRoundedRect(rect.adjusted(half, half, -half, -half), radius - half, radius - half)


def label(
    text: str | Text = "", size: int = 13, weight: int = 400, tone: str = "1", *, tabular: bool = False
) -> QLabel:
    """A line of text. `tone`: "1", "2", "3", "accent", "ok", "warn" or "bad"."""
    result = QLabel()
    bind_text(result, result.setText, text)
    result.setTextFormat(Qt.TextFormat.PlainText)
    result.setFont(font(size, weight, tabular=tabular))
    result.setProperty("tone", tone)
    return result


def bind_text(owner: QWidget, setter: Callable[[str], None], text: str | Text) -> None:
    """Call `setter` with the text; a callable text is set again whenever the language changes."""
    if isinstance(text, str):
        setter(text)
    else:
        Retranslator(owner, lambda: setter(text()))


def set_tone(widget: QWidget, tone: str) -> None:
    """Change the tone of a `label`."""
    if widget.property("tone") != tone:
        widget.setProperty("tone", tone)
        refresh_style(widget)


def refresh_style(widget: QWidget) -> None:
    """Apply the style sheet to the widget's changed properties."""
    widget.style().unpolish(widget)
    widget.style().polish(widget)


class IconTint(QObject):
    """Keeps a button's icon in the theme's colour; lives as long as the button."""

    def __init__(
        self, theme: Theme, button: QPushButton, name: str, role: str, size: int, gap: int = 0
    ) -> None:
        super().__init__(button)
        self._theme, self._button = theme, button
        self.name, self.role = name, role
        self._size, self._gap = size, gap
        button.setIconSize(QSize(size + gap, size))
        theme.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Make the icon; after a change of `name` or `role`, too."""
        color = getattr(self._theme.palette, self.role)
        self._button.setIcon(icon(self.name, color, self._size, self._gap))


def set_icon(button: QPushButton, name: str, role: str = "text_2") -> None:
    """Change the icon of a `button` or `icon_button`, and its colour role."""
    tint = button.findChild(IconTint)
    assert tint is not None
    if (tint.name, tint.role) != (name, role):
        tint.name, tint.role = name, role
        tint.refresh()


def set_name(widget: QWidget, name: str, keys: str = "") -> None:
    """Set the accessible name, and a tool tip with the keys behind it."""
    widget.setAccessibleName(name)
    widget.setToolTip(name + keys)


class Card(QFrame):
    """A surface with rounded corners; its children don't cover the corners."""

    def __init__(
        self,
        theme: Theme,
        parent: QWidget | None = None,
        *,
        radius: float = CARD_RADIUS,
        border: str = "line",
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._radius = radius
        self._border = border

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        theme = self._theme
        paint_round(
            painter, QRectF(self.rect()), self._radius, theme.color("card"), theme.color(self._border)
        )


def button(
    theme: Theme, text: str | Text, icon_name: str = "", *, kind: str = "plain", height: int = 28
) -> QPushButton:
    """A text button. `kind`: "plain", "flat" or "link"."""
    result = QPushButton()
    bind_text(result, result.setText, text)
    result.setProperty("kind", kind)
    result.setFont(font(12, 600 if kind == "link" else 500))
    result.setFixedHeight(height)
    result.setAutoDefault(False)
    result.setCursor(Qt.CursorShape.PointingHandCursor)
    if icon_name:
        IconTint(theme, result, icon_name, "text_2", 14, gap=3)
    return result


def icon_button(
    theme: Theme, icon_name: str, name: str | Text, *, side: int = 28, size: int = 16
) -> QPushButton:
    """A square button with an icon; `name` is its tool tip and accessible name."""
    result = QPushButton()
    result.setProperty("kind", "icon")
    result.setFixedSize(side, side)
    bind_text(result, partial(set_name, result), name)
    result.setAutoDefault(False)
    result.setCursor(Qt.CursorShape.PointingHandCursor)
    IconTint(theme, result, icon_name, "text_2", size)
    return result


class ElidedLabel(QLabel):
    """A line of text that is elided where it doesn't fit; the tool tip then has all of it."""

    def __init__(
        self,
        text: str | Text = "",
        size: int = 13,
        weight: int = 400,
        tone: str = "1",
        mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
    ) -> None:
        super().__init__()
        self._full = self._details = ""
        self._mode = mode
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setFont(font(size, weight, tabular=True))
        self.setProperty("tone", tone)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        bind_text(self, self.set_full_text, text)

    def full_text(self) -> str:
        return self._full

    def set_full_text(self, text: str, details: str = "") -> None:
        """Show this; `details`, if any, is the tool tip whether it fits or not."""
        self._full, self._details = text, details
        self.setAccessibleName(text)
        self._elide()

    def _elide(self) -> None:
        shown = QFontMetrics(self.font()).elidedText(self._full, self._mode, max(0, self.width()))
        self.setText(shown)
        self.setToolTip(self._details or (self._full if shown != self._full else ""))

    def sizeHint(self) -> QSize:
        metrics = QFontMetrics(self.font())
        return QSize(metrics.horizontalAdvance(self._full) + 2, metrics.height())

    def minimumSizeHint(self) -> QSize:
        return QSize(0, QFontMetrics(self.font()).height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._elide()


class GlyphLabel(QWidget):
    """A state glyph."""

    def __init__(self, theme: Theme, state: GlyphState, side: int = 14) -> None:
        super().__init__()
        self._theme = theme
        self.state = state
        self.setFixedSize(side, side)

    def set_state(self, state: GlyphState) -> None:
        if state is not self.state:
            self.state = state
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        paint_glyph(QPainter(self), QRectF(self.rect()), self.state, self._theme.palette)


class IconLabel(QWidget):
    """An icon without a button, on a tile if `tile` names a colour role."""

    def __init__(
        self, theme: Theme, name: str, role: str = "text_2", size: int = 16, *, side: int = 0, tile: str = ""
    ) -> None:
        super().__init__()
        self._theme = theme
        self._name = name
        self._role = role
        self._size = size
        self._tile = tile
        self.setFixedSize(side or size, side or size)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self._tile:
            border = self._theme.color("accent_line") if self._tile == "card" else None
            paint_round(painter, QRectF(self.rect()), BUTTON_RADIUS, self._theme.color(self._tile), border)
        paint_icon(painter, self.rect(), self._name, getattr(self._theme.palette, self._role), self._size)


def paint_icon(painter: QPainter, rect: QRect, name: str, color: str, size: int) -> None:
    """The icon in the middle of `rect`."""
    picture: QPixmap = pixmap(name, color, size, painter.device().devicePixelRatio())
    painter.drawPixmap(rect.center().x() - size // 2 + 1, rect.center().y() - size // 2 + 1, picture)


class PrimaryButton(QPushButton):
    """The most important button of a form: gradient, icon, text, and its keyboard shortcut."""

    def __init__(self, theme: Theme, text: str | Text, icon_name: str, key: str = "") -> None:
        super().__init__()
        self._theme = theme
        self._icon_name = icon_name
        self._key = key
        self.setFixedHeight(40)
        self.setFont(font(14, 600))
        bind_text(self, self.setText, text)
        self.setAutoDefault(False)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        color = ON_GRADIENT if self.isEnabled() else self._theme.palette.text_3
        self._paint_ground(painter)
        metrics = QFontMetrics(self.font())
        text_width = metrics.horizontalAdvance(self.text())
        key_width = self._key_width() if self.isEnabled() else 0
        x = (self.width() - (16 + 8 + text_width + (16 + key_width if key_width else 0))) // 2
        paint_icon(painter, QRect(x, 0, 16, self.height()), self._icon_name, color, 16)
        painter.setPen(QColor(color))
        painter.setFont(self.font())
        painter.drawText(
            QRect(x + 24, 0, text_width + 4, self.height()), Qt.AlignmentFlag.AlignVCenter, self.text()
        )
        if key_width:
            self._paint_key(
                painter, QRectF(x + 24 + text_width + 16, (self.height() - 18) / 2, key_width, 18)
            )

    def _paint_ground(self, painter: QPainter) -> None:
        rect = QRectF(self.rect())
        if not self.isEnabled():
            paint_round(painter, rect, BUTTON_RADIUS, self._theme.color("hover"), self._theme.color("line"))
            return
        gradient = QLinearGradient(rect.topLeft(), rect.topRight())
        factor = 115 if self.isDown() else 106 if self.underMouse() else 100
        gradient.setColorAt(0, QColor(BUTTON_START).darker(factor))
        gradient.setColorAt(1, QColor(BUTTON_END).darker(factor))
        paint_round(painter, rect, BUTTON_RADIUS, gradient, None)

    def _key_width(self) -> int:
        return QFontMetrics(font(11, 500)).horizontalAdvance(self._key) + 12 if self._key else 0

    def _paint_key(self, painter: QPainter, rect: QRectF) -> None:
        border = QColor(ON_GRADIENT)
        border.setAlphaF(0.55)
        paint_round(painter, rect, 4, None, border)
        painter.setFont(font(11, 500))
        painter.setPen(QColor(ON_GRADIENT))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, self._key)

    def sizeHint(self) -> QSize:
        width = QFontMetrics(self.font()).horizontalAdvance(self.text()) + 24 + 32
        return QSize(width + (16 + self._key_width() if self._key else 0), 40)


class DotLabel(QWidget):
    """Facts in a row with dots between them; those at the end are left out where they don't fit."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.parts: tuple[str, ...] = ()
        self.setMinimumWidth(0)

    def set_parts(self, parts: Sequence[str]) -> None:
        if tuple(parts) != self.parts:
            self.parts = tuple(parts)
            self.setAccessibleName(", ".join(parts))
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(font(12, 400, tabular=True))
        x = 0
        for number, part in enumerate(self.parts):
            width = painter.fontMetrics().horizontalAdvance(part)
            if x + width + (24 if number else 0) > self.width():
                break
            if number:
                painter.setPen(self._theme.color("decoration"))
                painter.drawText(QRect(x, 0, 24, self.height()), Qt.AlignmentFlag.AlignCenter, "·")
                x += 24
            painter.setPen(self._theme.color("text_2"))
            painter.drawText(QRect(x, 0, width + 4, self.height()), Qt.AlignmentFlag.AlignVCenter, part)
            x += width


class Badge(QWidget):
    """A small pill with a number."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._text = ""
        self.setFixedHeight(18)
        self.set_text("")

    def set_text(self, text: str) -> None:
        """Show a text; an empty one hides the label."""
        self._text = text
        self.setAccessibleName(text)
        self.setVisible(bool(text))
        self.setFixedWidth(max(18, QFontMetrics(font(11, 600)).horizontalAdvance(text) + 12))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        paint_badge(QPainter(self), QRectF(self.rect()), self._text, self._theme)


def paint_badge(painter: QPainter, rect: QRectF, text: str, theme: Theme) -> None:
    """A pill 18 pixels high with a number."""
    paint_round(painter, rect, 9, theme.color("accent_soft"), None)
    painter.setFont(font(11, 600, tabular=True))
    painter.setPen(theme.color("accent"))
    painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)


class Rule(QWidget):
    """A horizontal line of one pixel, or a vertical one of a `height`."""

    def __init__(self, theme: Theme, *, height: int = 0) -> None:
        super().__init__()
        self._theme = theme
        self.setFixedHeight(height or 1)
        if height:
            self.setFixedWidth(1)

    def paintEvent(self, event: QPaintEvent) -> None:
        QPainter(self).fillRect(self.rect(), self._theme.color("line"))


class FocusRing(QWidget):
    """The ring around the control that has the keyboard's focus; for a child of the window."""

    def __init__(self, theme: Theme, window: QWidget) -> None:
        super().__init__(window)
        self._theme = theme
        self.target: QWidget | None = None  # what it is around, also while that is hidden
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.hide()

    def show_around(self, target: QWidget | None) -> None:
        """Move to `target`; None hides it."""
        if self.target is not None:
            for widget in self._lineage(self.target):
                widget.removeEventFilter(self)
            _set_ringed(self.target, ringed=False)
        self.target = target
        if target is None:
            self.hide()
            return
        _set_ringed(target, ringed=True)
        for widget in self._lineage(target):
            widget.installEventFilter(self)
        self._place()

    def _lineage(self, widget: QWidget) -> list[QWidget]:
        found: list[QWidget] = []
        current: QWidget | None = widget
        while current is not None and current is not self.parentWidget():
            found.append(current)
            current = current.parentWidget()
        return found

    def _place(self) -> None:
        target = self.target
        if target is None or not target.isVisible():
            self.hide()
            return
        corner = target.mapTo(self.window(), QPointF(0, 0)).toPoint()
        self.setGeometry(QRect(corner, target.size()).adjusted(-4, -4, 4, 4))
        self.raise_()
        self.show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kind = event.type()
        if kind == QEvent.Type.Destroy:
            self.target = None
            self.hide()
        elif kind == QEvent.Type.MouseButtonPress:
            self.show_around(None)
        elif kind in (QEvent.Type.Move, QEvent.Type.Resize, QEvent.Type.Hide, QEvent.Type.Show):
            self._place()
        return False

    def paintEvent(self, event: QPaintEvent) -> None:
        paint_round(QPainter(self), QRectF(self.rect()), 11, None, self._theme.color("accent"), 2)


def _set_ringed(widget: QWidget, *, ringed: bool) -> None:
    """A field has no frame in the accent's colour of its own inside of the ring."""
    if isinstance(widget, QLineEdit) and bool(widget.property("ringed")) is not ringed:
        widget.setProperty("ringed", ringed)
        refresh_style(widget)


class KeyboardFocus(QObject):
    """Shows the ring in a window, around what gets the focus by the keyboard, and only then."""

    def __init__(self, theme: Theme, window: QWidget, ringed: tuple[type[QWidget], ...]) -> None:
        """`ringed` are the kinds of controls that do not paint a ring of their own."""
        super().__init__(window)
        self.ring = FocusRing(theme, window)
        self._window, self._ringed, self._stepping = window, ringed, False
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._on_focus)

    def step(self, go: Callable[[], bool]) -> bool:
        """Call what moves the focus to the next or previous control: `focusNextPrevChild` of the window.

        Qt also calls that when a control with the focus is hidden or disabled, as by a click on it; then
        there is no ring, unless there was one.
        """
        here = QApplication.focusWidget()
        gone = here is not None and not (here.isVisible() and here.isEnabled())
        self._stepping = not gone or self.ring.target is not None
        try:
            return go()
        finally:
            self._stepping = False

    def _on_focus(self, before: QWidget | None, now: QWidget | None) -> None:
        ringed = self._stepping and isinstance(now, self._ringed) and now.window() is self._window
        self.ring.show_around(now if ringed else None)


BoxLayout = TypeVar("BoxLayout", bound=QBoxLayout)


def lay_in(
    layout: BoxLayout,
    *parts: QWidget | QLayout | tuple[QWidget | QLayout, int] | int | None,
    spacing: int | None = None,
    margins: tuple[int, int, int, int] | None = None,
) -> BoxLayout:
    """Add parts to a box layout: widgets and layouts, with a stretch in a pair; a gap; None for a stretch."""
    if margins is not None:
        layout.setContentsMargins(*margins)
    if spacing is not None:
        layout.setSpacing(spacing)
    for part in parts:
        added, stretch = part if isinstance(part, tuple) else (part, 0)
        if isinstance(added, QWidget):
            layout.addWidget(added, stretch)
        elif isinstance(added, QLayout):
            layout.addLayout(added, stretch)
        elif added is None:
            layout.addStretch()
        else:
            layout.addSpacing(added)
    return layout
