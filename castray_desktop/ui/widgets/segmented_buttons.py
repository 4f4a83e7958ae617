"""Buttons joined into one strip: All | None | Invert, 1 min | 5 | 30."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Signal
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QWidget

from castray_desktop.ui.i18n.retranslator import Text
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import bind_text
from castray_desktop.ui.widgets.painting import face, icon

HEIGHT = 28


class SegmentedButtons(QWidget):
    """A strip of buttons. Signal: `pressed(index)`.

    With `exclusive` one of them is pressed in; else they are plain buttons. `texts` are pairs of the
    text shown and the accessible name; a plain text that begins with ":" names an icon.
    """

    pressed = Signal(int)

    def __init__(
        self,
        theme: Theme,
        texts: Sequence[tuple[str | Text, Text]],
        *,
        exclusive: bool = False,
        widths: list[int] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._theme, self._exclusive = theme, exclusive
        self._group = QButtonGroup(self)
        self._group.setExclusive(exclusive)
        self._icons: dict[QPushButton, str] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        for index, (text, name) in enumerate(texts):
            button = self._button(text, name, first=index == 0, last=index == len(texts) - 1)
            if widths:
                button.setFixedWidth(widths[index])
            row.addWidget(button)
            self._group.addButton(button, index)
        self._group.idClicked.connect(self.pressed)
        self.setFixedHeight(HEIGHT)
        theme.changed.connect(self._restyle)
        self._restyle()

    def _button(self, text: str | Text, name: Text, *, first: bool, last: bool) -> QPushButton:
        button = QPushButton(self)
        if isinstance(text, str) and text.startswith(":"):
            self._icons[button] = text[1:]
            button.setIconSize(QSize(14, 14))
        else:
            bind_text(button, button.setText, text)
        bind_text(button, button.setAccessibleName, name)
        bind_text(button, button.setToolTip, name)
        button.setCheckable(self._exclusive)
        button.setFont(face(12, 500))
        button.setFixedHeight(HEIGHT)
        button.setProperty("end", "only" if first and last else "first" if first else "last" if last else "")
        return button

    def button(self, index: int) -> QPushButton:
        """One of the buttons."""
        found = self._group.button(index)
        assert isinstance(found, QPushButton)
        return found

    def set_checked(self, index: int) -> None:
        """Press one in, without the signal."""
        self.button(index).setChecked(True)

    def _restyle(self) -> None:
        palette = self._theme.palette
        for button, name in self._icons.items():
            button.setIcon(icon(name, palette.text_2, 14))
        self.setStyleSheet(
            f"QPushButton {{ background: {palette.field}; color: {palette.text_2}; padding: 0 9px;"
            f" border: 1px solid {palette.line_strong}; border-right-width: 0; border-radius: 0; }}"
            f"QPushButton:hover {{ background: {palette.hover}; }}"
            f"QPushButton:pressed {{ background: {palette.selected}; }}"
            f"QPushButton:checked {{ background: {palette.accent_soft}; color: {palette.accent}; }}"
            f"QPushButton:disabled {{ background: {palette.field}; color: {palette.text_3}; }}"
            'QPushButton[end="first"] { border-top-left-radius: 8px; border-bottom-left-radius: 8px; }'
            'QPushButton[end="last"] { border-top-right-radius: 8px; border-bottom-right-radius: 8px;'
            " border-right-width: 1px; }"
            'QPushButton[end="only"] { border-radius: 8px; border-right-width: 1px; }'
        )
