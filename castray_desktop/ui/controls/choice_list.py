"""A short list at the side, of which one row is chosen."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QStringListModel, Signal
from PySide6.QtWidgets import QListView

from castray_desktop.ui.controls.widgets import say
from castray_desktop.ui.fonts import font
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.words import Text, Words


class ChoiceList(QListView):
    """Signals: `chosen(int)` when another row is the current one."""

    chosen = Signal(int)

    def __init__(self, theme: Theme, texts: Sequence[Text], name: Text) -> None:
        super().__init__()
        self._theme, self._texts = theme, texts
        self._words = QStringListModel(self)
        self.setModel(self._words)
        self.setFont(font(13, 500))
        self.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.setFrameShape(QListView.Shape.NoFrame)
        self.setSpacing(1)
        say(self, self.setAccessibleName, name)
        theme.changed.connect(self._restyle)
        self._restyle()
        Words(self, self._say)
        self.choose(0)
        self.selectionModel().currentChanged.connect(lambda now, _before: self.chosen.emit(now.row()))

    def choose(self, row: int) -> None:
        """Make a row the current one."""
        self.setCurrentIndex(self._words.index(row))

    def _say(self) -> None:
        if self._words.rowCount() != len(self._texts):
            self._words.setStringList([text() for text in self._texts])
        for row, text in enumerate(self._texts):
            self._words.setData(self._words.index(row), text())

    def _restyle(self) -> None:
        palette = self._theme.palette
        self.setStyleSheet(
            "QListView { background: transparent; border: none; outline: none; }"
            f"QListView::item {{ padding: 7px 10px; border-radius: 8px; color: {palette.text_2}; }}"
            f"QListView::item:hover {{ background: {palette.hover}; }}"
            f"QListView::item:selected {{ background: {palette.selected}; color: {palette.text}; }}"
        )
