"""The area that the graph's view and what lies over it share."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget


class GraphStage(QWidget):
    """The view fills it but for a margin at the right, where the side card can stand."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)

    def fill(self, view: QWidget) -> None:
        """Have the view fill this."""
        self._column.addWidget(view)

    def set_side(self, width: int) -> None:
        """Leave so much free at the right, from now on; the view has its new size at once."""
        if self.side != width:
            self._column.setContentsMargins(0, 0, width, 0)
            self._column.activate()

    @property
    def side(self) -> int:
        """What is left free at the right."""
        return self._column.contentsMargins().right()
