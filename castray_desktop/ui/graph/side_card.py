"""The side card: the facts about one node, beside that node."""

from __future__ import annotations

import math

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from castray_desktop.ui.graph.node_facts import Fact, NodeFacts, Remark
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import (
    INNER_RADIUS,
    Card,
    ElidedLabel,
    GlyphLabel,
    icon_button,
    label,
    set_tone,
)
from castray_desktop.ui.widgets.painting import metrics
from castray_desktop.ui.widgets.status_glyphs import GlyphState

WIDTH = 246
SIDE = 14
LINE = 18
COLUMN_GAP = 20
MOST_COLUMNS = 2


class SideCard(Card):
    """Says what it is given by `show_facts`; lies over the graph.

    Signal: `close_requested()` on Esc or its button. Not seen at first.
    """

    close_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(theme, parent, radius=INNER_RADIUS, border="line_strong")
        self.shown: NodeFacts | None = None
        self._lines: list[FactLabel] = []
        self._columns = 1
        self._remarks: list[QLabel] = []
        self._glyph = GlyphLabel(theme, GlyphState.ONLINE)
        self._name = ElidedLabel(size=13, weight=600, mode=Qt.TextElideMode.ElideMiddle)
        self._state = label(size=12, tone="2")
        self.close_button = icon_button(theme, "x", lambda: self.tr("Close the facts"), side=24, size=14)
        self.close_button.clicked.connect(self.close_requested)
        self._build()
        self.hide()

    def _build(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(SIDE, 0, 8, 0)
        head.setSpacing(8)
        head.addWidget(self._glyph)
        head.addWidget(self._name, 1)
        head.addWidget(self._state)
        head.addWidget(self.close_button)
        content = QWidget()
        self._body = QVBoxLayout(content)
        self._body.setContentsMargins(SIDE, 0, SIDE, 0)
        self._body.setSpacing(1)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(COLUMN_GAP)
        self._grid.setVerticalSpacing(1)
        self._body.addLayout(self._grid)
        self._body.addStretch(1)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setWidget(content)
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 8, 1, 10)
        column.setSpacing(6)
        column.addLayout(head)
        column.addWidget(self._scroll, 1)

    def show_facts(self, facts: NodeFacts) -> None:
        """Show these facts."""
        if facts == self.shown:
            return
        self.shown = facts
        self.setAccessibleName(self.tr("Facts of {name}").format(name=facts.name))
        self.setAccessibleDescription(_spoken(facts))
        self._glyph.set_state(facts.glyph)
        self._glyph.setAccessibleName(facts.state)
        self._name.set_full_text(facts.name)
        self._state.setText(facts.state)
        self._show_remarks(facts.remarks)
        self._show_lines(facts.facts)

    def _show_remarks(self, remarks: tuple[Remark, ...]) -> None:
        while len(self._remarks) < len(remarks):
            line = label(size=12)
            line.setWordWrap(True)
            line.setContentsMargins(0, 0, 0, 4)
            self._body.insertWidget(len(self._remarks), line)
            self._remarks.append(line)
        for number, line in enumerate(self._remarks):
            line.setVisible(number < len(remarks))
            if number < len(remarks):
                set_tone(line, remarks[number].tone)
                line.setText(remarks[number].text)

    def _show_lines(self, facts: tuple[Fact, ...]) -> None:
        """In columns one beside the other, each read from its top to its bottom."""
        while len(self._lines) < len(facts):
            self._lines.append(FactLabel())
        rows = _rows(len(facts), self._columns)
        for number, line in enumerate(self._lines):
            line.setVisible(number < len(facts))
            if number < len(facts):
                column = number // rows
                self._grid.addWidget(line, number % rows, column)  # moves one that is there already
                line.show_fact(facts[number], _title_width(facts[column * rows : (column + 1) * rows]))
        for column in range(MOST_COLUMNS):
            self._grid.setColumnStretch(column, 1 if column < self._columns else 0)

    def set_columns(self, columns: int) -> None:
        """Show the facts in so many columns, 1 or 2."""
        if columns != self._columns:
            self._columns = columns
            if self.shown is not None:
                self._show_lines(self.shown.facts)

    def wanted_size(self, room: QSize, columns: int) -> QSize:
        """As large as everything on it, and not larger than the room; what is too much scrolls.

        With two columns it is as wide as the room.
        """
        width = min(WIDTH, room.width()) if columns == 1 else room.width()
        inner = width - 2
        remarks = sum(
            line.heightForWidth(inner - 2 * SIDE) + 1 for line in self._remarks if not line.isHidden()
        )
        lines = (LINE + 1) * _rows(len(self.shown.facts), columns) if self.shown is not None else 0
        return QSize(width, min(room.height(), 8 + 24 + 6 + remarks + lines + 10))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        bar = self._scroll.verticalScrollBar()
        if event.key() in (Qt.Key.Key_Escape, Qt.Key.Key_I):
            self.close_requested.emit()
        elif event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            bar.setValue(bar.value() + (LINE if event.key() == Qt.Key.Key_Down else -LINE))
        else:
            super().keyPressEvent(event)


class FactLabel(QWidget):
    """One fact: its title at the left, its value at the right of that, whole in the tool tip."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(LINE)
        self._title = label(size=11, tone="3")
        self._value = ElidedLabel(size=12, mode=Qt.TextElideMode.ElideMiddle)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        row.addWidget(self._title)
        row.addWidget(self._value, 1)

    def show_fact(self, fact: Fact, width: int) -> None:
        """Show this fact, its title in a column of that width."""
        self._title.setFixedWidth(width)
        self._title.setText(fact.title)
        if fact.value != self._value.full_text():
            self._value.set_full_text(fact.value)


def _rows(count: int, columns: int) -> int:
    return max(1, -(-count // columns))


def _title_width(facts: tuple[Fact, ...]) -> int:
    return math.ceil(max((metrics(11).horizontalAdvance(fact.title) for fact in facts), default=0)) + 1


def _spoken(facts: NodeFacts) -> str:
    """All facts as one text, for a screen reader."""
    parts = [facts.state, *(remark.text for remark in facts.remarks)]
    parts += [f"{fact.title} {fact.value}".strip() for fact in facts.facts]
    return ", ".join(parts)
