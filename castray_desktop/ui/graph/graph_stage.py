"""The area that the graph's view and what lies over it share."""

from __future__ import annotations

from PySide6.QtCore import QMargins, QRect
from PySide6.QtWidgets import QVBoxLayout, QWidget


class GraphStage(QWidget):
    """The view fills it but for its margins: the side card can stand at the right or at the bottom.

    Above what stands at the bottom there may be a strip for one line of words.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.side = self.below = self.strip = 0  # pixels that are left free
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    def fill(self, view: QWidget) -> None:
        """Have the view fill this."""
        self._column.addWidget(view)

    def set_side(self, width: int) -> None:
        """Leave so much free at the right, from now on; the view has its new size at once."""
        self.side = width
        self._make_room()

    def set_below(self, height: int) -> None:
        """Leave so much free at the bottom."""
        self.below = height
        self._make_room()

    def set_strip(self, height: int) -> None:
        """Leave so much free for a line of words, above what stands at the bottom."""
        self.strip = height
        self._make_room()

    def strip_place(self) -> QRect:
        """Where that line is."""
        return QRect(0, self.height() - self.below - self.strip, self.width() - self.side, self.strip)

    def _make_room(self) -> None:
        wanted = QMargins(0, 0, self.side, self.below + self.strip)
        if wanted != self._column.contentsMargins():
            self._column.setContentsMargins(wanted)
            self._column.activate()
