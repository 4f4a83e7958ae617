"""A non-modal dialog: title, body, buttons. Esc closes it."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QMargins, QRect, Qt
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.banner import Banner, Edge
from castray_desktop.ui.widgets.basic_widgets import ElidedLabel, KeyboardFocus, Rule, button, lay_in
from castray_desktop.ui.widgets.fields import Dropdown


class Sheet(QDialog):
    """A dialog that does not block the main window."""

    def __init__(self, theme: Theme, title: Text, parent: QWidget, *, size: tuple[int, int]) -> None:
        super().__init__(parent)
        self._theme = theme
        self._title_text = title
        self._fixed_title = ""
        self.setModal(False)
        self.resize(*size)
        self._title = ElidedLabel("", 15, 600)
        self._column = lay_in(QVBoxLayout(self), self._title, spacing=12, margins=(20, 14, 20, 14))
        self.close_button = button(theme, lambda: self.tr("Close"), height=32)
        self.close_button.clicked.connect(self.close)
        fields = (QPushButton, QLineEdit, QSpinBox, QPlainTextEdit, Dropdown)
        self.keyboard_focus = KeyboardFocus(theme, self, fields)
        Retranslator(self, self.retranslate)

    def set_body(self, body: QLayout) -> None:
        """Set the content."""
        self._body = body
        self._column.addLayout(body, 1)
        self._column.addWidget(Rule(self._theme))

    def float_banner(self, banner: Banner) -> None:
        """Show a banner's messages over the lower end of the body."""

        def room() -> QRect:
            return self._body.geometry().marginsAdded(QMargins(8, 0, 8, 4))

        banner.float_over(self, room, Edge.BOTTOM)

    def set_foot(self, row: QHBoxLayout) -> None:
        """Set the row of buttons; *Close* is the last one."""
        row.addWidget(self.close_button)
        self._column.addLayout(row)

    def set_fixed_title(self, title: str) -> None:
        """Set a title that is a name, the same in every language."""
        self._fixed_title = title
        self._set_title()

    def retranslate(self) -> None:
        """Set all texts; subclasses extend it. The first call is before they are built."""
        self._set_title()

    def _set_title(self) -> None:
        text = self._title_text()
        self._title.set_full_text(self._fixed_title or text)
        self.setWindowTitle(f"{self._fixed_title} – {text}" if self._fixed_title else text)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close()
            return
        super().keyPressEvent(event)

    def focusNextPrevChild(self, forward: bool) -> bool:
        return self.keyboard_focus.step(partial(super().focusNextPrevChild, forward))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._theme.color("card"))
        if self.frameGeometry() == self.geometry():  # no window manager gives it a frame
            painter.setPen(self._theme.color("line_strong"))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
