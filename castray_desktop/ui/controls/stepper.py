"""A small number with a button on each side of it."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget

from castray_desktop.ui.controls.fields import NumberField
from castray_desktop.ui.controls.icons import icon
from castray_desktop.ui.controls.widgets import say
from castray_desktop.ui.fonts import font
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.words import Text

HEIGHT = 28
SIDE = 30


class Stepper(QWidget):
    """Signal: `changed(int)` when the user has chosen another number."""

    changed = Signal(int)

    def __init__(
        self, theme: Theme, name: Text, *, fewer: Text, more: Text, least: int = 0, most: int
    ) -> None:
        """`name` is what the number is of; `fewer` and `more` name the buttons."""
        super().__init__()
        self._theme = theme
        self.field = NumberField(name, least, most)
        self.field.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.field.lineEdit().setTextMargins(0, 0, 0, 0)
        self.field.setFont(font(13, 600, tabular=True))
        self.field.setFixedSize(42, HEIGHT)
        self.fewer, self.more = self._button(fewer, "first"), self._button(more, "last")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        for part in (self.fewer, self.field, self.more):
            row.addWidget(part)
        self.fewer.clicked.connect(self.field.stepDown)
        self.more.clicked.connect(self.field.stepUp)
        self.field.valueChanged.connect(self._value_changed)
        self._showing = False
        theme.changed.connect(self._restyle)
        self._restyle()
        self._fit_buttons()

    def value(self) -> int:
        return self.field.value()

    def show_value(self, value: int) -> None:
        """Show this number, without a signal."""
        self._showing = True
        self.field.setValue(value)
        self._showing = False
        self._fit_buttons()

    def _value_changed(self, value: int) -> None:
        self._fit_buttons()
        if not self._showing:
            self.changed.emit(value)

    def _fit_buttons(self) -> None:
        self.fewer.setEnabled(self.field.value() > self.field.minimum())
        self.more.setEnabled(self.field.value() < self.field.maximum())

    def _button(self, name: Text, end: str) -> QPushButton:
        button = QPushButton()
        button.setIconSize(QSize(14, 14))
        button.setFixedSize(SIDE, HEIGHT)
        button.setProperty("end", end)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the number itself takes the arrow keys
        say(button, button.setAccessibleName, name)
        say(button, button.setToolTip, name)
        return button

    def _restyle(self) -> None:
        palette = self._theme.palette
        self.fewer.setIcon(icon("minus", palette.text_2, 14))
        self.more.setIcon(icon("plus", palette.text_2, 14))
        border = f"border: 1px solid {palette.line_strong};"
        self.setStyleSheet(
            f"QPushButton {{ background: {palette.field}; {border} padding: 0; }}"
            f"QPushButton:hover {{ background: {palette.hover}; }}"
            f"QPushButton:pressed {{ background: {palette.selected}; }}"
            'QPushButton[end="first"] { border-top-left-radius: 8px; border-bottom-left-radius: 8px;'
            " border-top-right-radius: 0; border-bottom-right-radius: 0; border-right-width: 0; }"
            'QPushButton[end="last"] { border-top-right-radius: 8px; border-bottom-right-radius: 8px;'
            " border-top-left-radius: 0; border-bottom-left-radius: 0; border-left-width: 0; }"
            f"QSpinBox {{ background: {palette.field}; color: {palette.text}; {border} border-radius: 0;"
            " padding: 0; }"
            f"QSpinBox:focus {{ border: 1px solid {palette.accent}; }}"
        )
