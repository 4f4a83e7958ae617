"""What stands in a table without rows: what would be there, and how it comes there."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.controls.icons import pixmap
from castray_desktop.ui.controls.painting import CENTRE, paint_text, paint_wrapped
from castray_desktop.ui.theme import Palette

TILE, HINT_HEIGHT, MARGIN = 48, 36, 16


def paint_no_rows(viewport: QWidget, palette: Palette, icon_name: str, title: str, hint: str) -> None:
    """Paint an icon on a tile, a title and a sentence into the middle of a viewport."""
    painter = QPainter(viewport)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    area = QRectF(viewport.rect())
    top = area.center().y() - 58
    tile = QRectF(area.center().x() - TILE / 2, top, TILE, TILE)
    painter.setPen(QPen(QColor(palette.line_strong), 1))
    painter.setBrush(QColor(palette.inset))
    painter.drawRoundedRect(tile, 12, 12)
    mark = pixmap(icon_name, palette.text_2, 20, viewport.devicePixelRatioF())
    painter.drawPixmap(QPointF(tile.center().x() - 10, tile.center().y() - 10), mark)
    width = area.width() - 2 * MARGIN
    paint_text(painter, QRectF(MARGIN, top + 58, width, 22), title, palette.text, 14, 600, CENTRE)
    paint_wrapped(painter, QRectF(MARGIN, top + 82, width, HINT_HEIGHT), hint, palette.text_2)
    painter.end()
