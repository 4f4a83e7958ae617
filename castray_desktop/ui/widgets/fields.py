"""Fields of a form, strips of joined buttons, and the form that puts a label beside each field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QPointF, QRect, QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFocusEvent, QFontMetrics, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QStyledItemDelegate,
    QWidget,
)

from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import Palette, Theme
from castray_desktop.ui.widgets.basic_widgets import (
    IconTint,
    bind_text,
    label,
    lay_in,
    paint_icon,
    paint_round,
    set_name,
)
from castray_desktop.ui.widgets.painting import face
from castray_desktop.ui.widgets.popups import RoundCorners, tell_pointer

RADIUS = 8.0
FIELD_HEIGHT = 32
TEXT_LEFT, CHEVRON = 10, 32  # beside the text of a drop-down


class Dropdown(QComboBox):
    """A combo box in the window's style."""

    def __init__(self, theme: Theme, name: Text) -> None:
        super().__init__()
        self._theme, self._label, self._name = theme, name, ""
        self.currentTextChanged.connect(self._tell_value)
        Retranslator(self, self._tell_value)
        self.setFixedHeight(32)
        self.setFont(font(13))
        self.setMinimumWidth(80)
        self.setItemDelegate(QStyledItemDelegate(self))  # Qt's own for these lists ignores the style sheet

    def _tell_value(self) -> None:
        """The accessible name is label and value; `dropdown_names` has screen readers read it on Linux."""
        name, value = self._label(), self.currentText()
        self.setAccessibleName(f"{name}: {value}" if value else name)

    def sizeHint(self) -> QSize:
        """As wide as its longest entry, so that none is cut where there is space for it."""
        texts = [self.itemText(number) for number in range(self.count())]
        widest = max((QFontMetrics(self.font()).horizontalAdvance(text) for text in texts), default=0)
        return QSize(max(self.minimumWidth(), widest + TEXT_LEFT + CHEVRON + 2), super().sizeHint().height())

    def showPopup(self) -> None:
        popup = self.view().window()  # made when it is first asked for, which takes its time
        if popup.findChild(RoundCorners) is None:
            RoundCorners(popup)
        super().showPopup()

    def hidePopup(self) -> None:
        super().hidePopup()
        tell_pointer(self)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self._theme.palette
        fill = palette.hover if self.underMouse() else palette.field
        paint_round(painter, QRectF(self.rect()), RADIUS, QColor(fill), QColor(palette.line_strong))
        painter.setPen(QColor(palette.text))
        painter.setFont(self.font())
        room = self.width() - TEXT_LEFT - CHEVRON
        text = QFontMetrics(self.font()).elidedText(self.currentText(), Qt.TextElideMode.ElideRight, room)
        painter.drawText(QRect(TEXT_LEFT, 0, room, self.height()), Qt.AlignmentFlag.AlignVCenter, text)
        chevron = QRect(self.width() - 26, 0, 16, self.height())
        paint_icon(painter, chevron, "chevron-down", palette.text_2, 16)


class ChoiceField(Dropdown):
    """A choice of one of several values; `texts` are their names. Signal: `value_changed()`."""

    value_changed = Signal()

    def __init__(
        self,
        theme: Theme,
        name: Text,
        choices: Iterable[Any],
        texts: Callable[[], tuple[str, ...]],
        tip: Text | None = None,
    ) -> None:
        super().__init__(theme, name)
        self._choices, self._texts = list(choices), texts
        self.addItems([""] * len(self._choices))
        self.currentIndexChanged.connect(self.value_changed)
        Retranslator(self, self._retranslate)
        if tip is not None:
            bind_text(self, self.setToolTip, tip)

    def value(self) -> Any:
        """The chosen value."""
        return self._choices[max(0, self.currentIndex())]

    def set_value(self, value: Any) -> None:
        """Choose this value."""
        self.setCurrentIndex(self._choices.index(value))

    def _retranslate(self) -> None:
        for number, text in enumerate(self._texts()):
            self.setItemText(number, text)


class TextField(QLineEdit):
    """A line edit."""

    def __init__(self, name: Text) -> None:
        super().__init__()
        self.setFixedHeight(32)
        self.setFont(font(13))
        bind_text(self, self.setAccessibleName, name)


def search_field(hint: Text, name: Text) -> QLineEdit:
    """A line to type what is searched for; `hint` says what is looked at."""
    field = QLineEdit()
    field.setObjectName("search")
    field.setFixedHeight(28)
    field.setFont(font(12))
    field.setMaximumWidth(240)
    field.setClearButtonEnabled(True)
    bind_text(field, field.setPlaceholderText, hint)
    bind_text(field, field.setAccessibleName, name)
    return field


class NumberField(QSpinBox):
    """A spin box without buttons.

    The style sheet gives the buttons no width: with `NoButtons` Qt leaves no space for the number.
    """

    def __init__(self, name: Text, least: int, most: int) -> None:
        super().__init__()
        self.setRange(least, most)
        self.setFixedHeight(32)
        self.lineEdit().setTextMargins(8, 0, 8, 0)
        self.setFont(font(13, 400, tabular=True))
        bind_text(self, self.setAccessibleName, name)


TICK_SIDE, TICK_GAP = 16, 10


class CheckBox(QCheckBox):
    """A check box whose text wraps."""

    def __init__(self, theme: Theme, text: Text, size: int = 13) -> None:
        super().__init__()
        self._theme, self._by_keyboard = theme, False
        self.setFont(font(size))
        bind_text(self, self.setText, text)

    def sizeHint(self) -> QSize:
        metrics = QFontMetrics(self.font())
        return QSize(
            TICK_SIDE + TICK_GAP + metrics.horizontalAdvance(self.text()) + 4, max(24, metrics.height() + 6)
        )

    def minimumSizeHint(self) -> QSize:
        return QSize(120, self.sizeHint().height())

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        flags = int(Qt.TextFlag.TextWordWrap)
        room = QRect(0, 0, max(1, width - TICK_SIDE - TICK_GAP), 10_000)
        return max(24, QFontMetrics(self.font()).boundingRect(room, flags, self.text()).height() + 6)

    def hitButton(self, place: object) -> bool:
        return True

    def focusInEvent(self, event: QFocusEvent) -> None:
        if event.reason() is not Qt.FocusReason.ActiveWindowFocusReason:  # keeps the ring as it was
            self._by_keyboard = event.reason() is not Qt.FocusReason.MouseFocusReason
        super().focusInEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._by_keyboard = False
        super().mousePressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self._theme.palette
        top = (
            (QFontMetrics(self.font()).height() + 6 - TICK_SIDE) / 2
            if self.height() > 32
            else (self.height() - TICK_SIDE) / 2
        )
        box = QRectF(1, top, TICK_SIDE, TICK_SIDE)
        paint_tick_box(painter, box, palette, ticked=self.isChecked(), enabled=self.isEnabled())
        if self._by_keyboard and self.hasFocus() and self.focusPolicy() & Qt.FocusPolicy.TabFocus:
            painter.setPen(QPen(QColor(palette.accent), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box.adjusted(-0.5, -0.5, 0.5, 0.5), 5, 5)
        painter.setPen(QColor(palette.text if self.isEnabled() else palette.text_3))
        painter.setFont(self.font())
        words = QRect(TICK_SIDE + TICK_GAP, 0, self.width() - TICK_SIDE - TICK_GAP, self.height())
        painter.drawText(
            words, int(Qt.AlignmentFlag.AlignVCenter) | int(Qt.TextFlag.TextWordWrap), self.text()
        )


def paint_tick_box(painter: QPainter, rect: QRectF, palette: Palette, *, ticked: bool, enabled: bool) -> None:
    """Paint the box of a check box, 16 by 16."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if not ticked:
        painter.setPen(QPen(QColor(palette.control if enabled else palette.line_strong), 1.5))
        painter.setBrush(QColor(palette.field if enabled else palette.hover))
        painter.drawRoundedRect(rect.adjusted(0.75, 0.75, -0.75, -0.75), 4, 4)
        return
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(palette.accent if enabled else palette.control))
    painter.drawRoundedRect(rect, 4, 4)
    pen = QPen(QColor(palette.on_accent), 1.8)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    x, y = rect.x(), rect.y()
    painter.drawPolyline([QPointF(x + dx, y + dy) for dx, dy in ((4.2, 8.3), (7.0, 11.0), (11.8, 5.4))])


def labelled_form(rows: Sequence[tuple[Text | None, QWidget]], *, spacing: int = 10) -> QFormLayout:
    """A form with one row for each field; a field without a label takes the whole width.

    Labels are in the middle of their field, or of its first line.
    """
    form = QFormLayout()
    form.setHorizontalSpacing(16)
    form.setVerticalSpacing(spacing)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    for text, field in rows:
        if text is None:
            form.addRow(field)
            continue
        name = label(text, 12, 500, "2")
        name.setFixedHeight(FIELD_HEIGHT)  # a form makes the label as high as its field
        name.setBuddy(field)  # a screen reader takes a field's name from it
        form.addRow(name, field)
    return form


HEIGHT = 28


def joined_button(theme: Theme, text: str | Text, name: Text, end: str) -> QPushButton:
    """A button of a row without gaps, at its `end` "first" or "last", or in the "middle".

    A plain text that begins with ":" names an icon. `name` is the accessible name and the tool tip.
    """
    button = QPushButton()
    if isinstance(text, str) and text.startswith(":"):
        IconTint(theme, button, text[1:], "text_2", 14)
    else:
        bind_text(button, button.setText, text)
    bind_text(button, partial(set_name, button), name)
    button.setFont(face(12, 500))
    button.setFixedHeight(HEIGHT)
    button.setProperty("end", end)
    return button


class Stepper(QWidget):
    """Signal: `changed(int)` when the user has chosen another number."""

    changed = Signal(int)

    def __init__(self, theme: Theme, name: Text, *, fewer: Text, more: Text, most: int) -> None:
        """`name` is what the number is of; `fewer` and `more` name the buttons."""
        super().__init__()
        self.field = NumberField(name, 0, most)
        self.field.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.field.lineEdit().setTextMargins(0, 0, 0, 0)
        self.field.setFont(font(13, 600, tabular=True))
        self.field.setFixedSize(42, HEIGHT)
        self.field.setProperty("kind", "step")
        self.fewer = joined_button(theme, ":minus", fewer, "first")
        self.more = joined_button(theme, ":plus", more, "last")
        for button in (self.fewer, self.more):
            button.setFixedWidth(30)
            button.setProperty("kind", "step")
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the number itself takes the arrow keys
        lay_in(QHBoxLayout(self), self.fewer, self.field, self.more, spacing=0, margins=(0, 0, 0, 0))
        self.fewer.clicked.connect(self.field.stepDown)
        self.more.clicked.connect(self.field.stepUp)
        self.field.valueChanged.connect(self._value_changed)
        self._fit_buttons()

    def value(self) -> int:
        return self.field.value()

    def show_value(self, value: int) -> None:
        """Set the number, without a signal."""
        with QSignalBlocker(self.field):
            self.field.setValue(value)
        self._fit_buttons()

    def _value_changed(self, value: int) -> None:
        self._fit_buttons()
        self.changed.emit(value)

    def _fit_buttons(self) -> None:
        self.fewer.setEnabled(self.field.value() > self.field.minimum())
        self.more.setEnabled(self.field.value() < self.field.maximum())


class SegmentedButtons(QWidget):
    """Joined buttons: All | None | Invert. Signal: `pressed(index)`.

    With `exclusive` one of them is checked; else they are plain buttons. `texts` are pairs of the
    text shown and the accessible name; a plain text that begins with ":" names an icon.
    """

    pressed = Signal(int)

    def __init__(
        self,
        theme: Theme,
        texts: Sequence[tuple[str | Text, Text]],
        *,
        exclusive: bool = False,
        widths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self._group = QButtonGroup(self)
        self._group.setExclusive(exclusive)
        row = lay_in(QHBoxLayout(self), spacing=0, margins=(0, 0, 0, 0))
        ends = ["first", *["middle"] * (len(texts) - 2), "last"]
        for index, ((text, name), end) in enumerate(zip(texts, ends, strict=True)):
            button = joined_button(theme, text, name, end)
            button.setCheckable(exclusive)
            if widths:
                button.setFixedWidth(widths[index])
            row.addWidget(button)
            self._group.addButton(button, index)
        self._group.idClicked.connect(self.pressed)
        self.setFixedHeight(HEIGHT)

    def button(self, index: int) -> QPushButton:
        """One of the buttons."""
        found = self._group.button(index)
        assert isinstance(found, QPushButton)
        return found

    def set_checked(self, index: int) -> None:
        """Check a button, without a signal."""
        self.button(index).setChecked(True)
