"""The field that says, and chooses, which node the files come from."""

from __future__ import annotations

from PySide6.QtCore import QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent

from castray_desktop.core.messages import NodeState
from castray_desktop.ui.controls.fields import RADIUS, Dropdown
from castray_desktop.ui.controls.widgets import paint_icon, paint_round
from castray_desktop.ui.fonts import font
from castray_desktop.ui.nodes import NodeList
from castray_desktop.ui.selection import RecipientSelection
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.words import Words


class SourceField(Dropdown):
    """This computer, or another node that is online; the choice goes to the selection."""

    def __init__(self, theme: Theme, nodes: NodeList, selection: RecipientSelection) -> None:
        super().__init__(theme, lambda: self.tr("From"))
        self._nodes, self._selection = nodes, selection
        self._names: list[str] = []
        self._filling = False
        self.activated.connect(self._chosen)
        Words(self, self._fill)

    def refresh(self) -> None:
        """Nodes or source may be others now."""
        names = self._choices()
        if names != self._names:
            self._fill()
        elif self._selection.source in names:
            self.setCurrentIndex(names.index(self._selection.source))
        self._describe()

    def _choices(self) -> list[str]:
        """This computer first; offline nodes only while they are the source."""
        source = self._selection.source
        nodes = [
            node for node in self._nodes.nodes() if node.state is NodeState.ONLINE or node.name == source
        ]
        return [node.name for node in sorted(nodes, key=lambda node: not node.this_computer)]

    def _fill(self) -> None:
        self._names = self._choices()
        self.clear()
        for name in self._names:
            node = self._nodes.get(name)
            here = node is not None and node.this_computer
            self.addItem(self.tr("This computer ({name})").format(name=name) if here else name)
        if self._selection.source in self._names:
            self.setCurrentIndex(self._names.index(self._selection.source))
        self._describe()

    def _chosen(self, index: int) -> None:
        if 0 <= index < len(self._names) and self._names[index] != self._selection.source:
            self._selection.source = self._names[index]

    def texts(self) -> tuple[str, str]:
        """What is shown: the name, and beside it the node behind it."""
        name = self._selection.source
        node = self._nodes.get(name) if name else None
        if node is None or node.this_computer:
            return self.tr("This computer"), name
        return name, node.address

    def _describe(self) -> None:
        text, detail = self.texts()
        self.setAccessibleName(f"{self.tr('From')}: {text} {detail}".strip())
        self.setToolTip(f"{text} · {detail}" if detail else text)
        self.setEnabled(len(self._names) > 1)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self._theme.palette
        fill = palette.hover if self.underMouse() and self.isEnabled() else palette.field
        paint_round(painter, QRectF(self.rect()), RADIUS, QColor(fill), QColor(palette.line_strong))
        paint_icon(painter, QRect(10, 0, 16, self.height()), "monitor", palette.text_2, 16)
        text, detail = self.texts()
        room = self.width() - 34 - 32
        painter.setFont(font(13))
        painter.setPen(QColor(palette.text))
        shown = QFontMetrics(font(13)).elidedText(text, Qt.TextElideMode.ElideRight, room)
        painter.drawText(QRect(34, 0, room, self.height()), Qt.AlignmentFlag.AlignVCenter, shown)
        used = painter.fontMetrics().horizontalAdvance(shown) + 8
        painter.setFont(font(12))
        painter.setPen(QColor(palette.text_2))
        rest = max(0, room - used)
        if painter.fontMetrics().horizontalAdvance(detail) <= rest:  # else the tool tip has it
            painter.drawText(QRect(34 + used, 0, rest, self.height()), Qt.AlignmentFlag.AlignVCenter, detail)
        if self.isEnabled():
            chevron = QRect(self.width() - 26, 0, 16, self.height())
            paint_icon(painter, chevron, "chevron-down", palette.text_2, 16)
