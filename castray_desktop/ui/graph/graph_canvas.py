"""The dotted ground of the node graph."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPixmap

from castray_desktop.ui.theme import Theme

STEP = 24
TILE = 10 * STEP


class Canvas:
    """Paints it from a tile that is drawn once for each theme and screen."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._tile: tuple[tuple[str, float], QPixmap] | None = None

    def paint(self, painter: QPainter, area: QRectF, ratio: float) -> None:
        """Paint this part of the scene; `ratio` is how many pixels of the screen make one of its own."""
        first_x, first_y = math.floor(area.left() / TILE), math.floor(area.top() / TILE)
        tile = self._drawn(ratio)
        for column in range(first_x, math.ceil(area.right() / TILE)):
            for row in range(first_y, math.ceil(area.bottom() / TILE)):
                painter.drawPixmap(QPointF(column * TILE, row * TILE), tile)

    def _drawn(self, ratio: float) -> QPixmap:
        color = self._theme.palette.canvas_dot
        if self._tile is None or self._tile[0] != (color, ratio):
            side = round(TILE * ratio)
            tile = QPixmap(side, side)
            tile.setDevicePixelRatio(ratio)
            tile.fill(Qt.GlobalColor.transparent)
            painter = QPainter(tile)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(color))
            for x in range(12, TILE, STEP):
                for y in range(12, TILE, STEP):
                    painter.drawEllipse(QPointF(x, y), 1.1, 1.1)
            painter.end()
            self._tile = ((color, ratio), tile)
        return self._tile[1]
