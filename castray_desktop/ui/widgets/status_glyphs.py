"""One glyph for each state: shapes differ, colours only add to them."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from castray_desktop.ui.theme.theme import Palette

UNIT = 14.0  # the shapes are described in a square of this side


class GlyphState(enum.Enum):
    """The states that have a glyph."""

    ONLINE = "online"
    SELECTED = "selected"
    RECEIVING = "receiving"
    CHECKING = "checking"
    VERIFIED = "verified"
    LAGGING = "lagging"
    FAILED = "failed"
    OFFLINE = "offline"
    QUEUED = "queued"
    PAUSED = "paused"
    CANCELLED = "cancelled"


def paint_glyph(painter: QPainter, rect: QRectF, state: GlyphState, palette: Palette) -> None:
    """Paint the glyph of `state` as large as fits in the middle of `rect`."""
    side = min(rect.width(), rect.height())
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.translate(rect.center())
    painter.scale(side / UNIT, side / UNIT)
    _PAINTERS[state](painter, palette)
    painter.restore()


def _pen(color: str, width: float) -> QPen:
    pen = QPen(QColor(color), width)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    return pen


def _disc(painter: QPainter, color: str, radius: float = 6.5) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(color))
    painter.drawEllipse(QPointF(0, 0), radius, radius)


def _ring(painter: QPainter, color: str, width: float = 1.4) -> None:
    painter.setPen(_pen(color, width))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawEllipse(QPointF(0, 0), 5.6, 5.6)


def _line(painter: QPainter, color: str, points: list[tuple[float, float]], width: float = 1.6) -> None:
    painter.setPen(_pen(color, width))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))


def _shape(painter: QPainter, color: str, points: list[tuple[float, float]]) -> None:
    painter.setPen(_pen(color, 1.6))
    painter.setBrush(QColor(color))
    painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in points]))


TICK = [(-2.6, 0.2), (-0.8, 2.0), (2.8, -1.9)]


def _online(painter: QPainter, palette: Palette) -> None:
    _disc(painter, palette.ok_fill, 4.0)


def _selected(painter: QPainter, palette: Palette) -> None:
    _ring(painter, palette.accent)
    _line(painter, palette.accent, TICK, 1.4)


def _receiving(painter: QPainter, palette: Palette) -> None:
    _disc(painter, palette.accent)
    _line(painter, palette.on_accent, [(0, -3.0), (0, 2.8)], 1.5)
    _line(painter, palette.on_accent, [(-2.5, 0.5), (0, 3.0), (2.5, 0.5)], 1.5)


def _checking(painter: QPainter, palette: Palette) -> None:
    _ring(painter, palette.accent)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(palette.accent))
    painter.drawPie(QRectF(-4.0, -4.0, 8.0, 8.0), -90 * 16, 180 * 16)


def _verified(painter: QPainter, palette: Palette) -> None:
    _disc(painter, palette.ok_fill)
    _line(painter, palette.card, TICK)


def _lagging(painter: QPainter, palette: Palette) -> None:
    _shape(painter, palette.warn_fill, [(0, -5.2), (5.9, 5.0), (-5.9, 5.0)])
    _line(painter, palette.card, [(0, -1.9), (0, 1.5)], 1.5)
    _line(painter, palette.card, [(0, 4.0), (0, 4.02)], 1.6)


def _failed(painter: QPainter, palette: Palette) -> None:
    corners = [math.radians(22.5 + 45 * i) for i in range(8)]
    _shape(painter, palette.bad_fill, [(5.9 * math.cos(a), 5.9 * math.sin(a)) for a in corners])
    _line(painter, palette.card, [(-2.2, -2.2), (2.2, 2.2)], 1.5)
    _line(painter, palette.card, [(-2.2, 2.2), (2.2, -2.2)], 1.5)


def _offline(painter: QPainter, palette: Palette) -> None:
    pen = _pen(palette.offline, 1.4)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    dash = 2 * math.pi * 5.6 / 10 / 1.4
    pen.setDashPattern([dash * 0.58, dash * 0.42])
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawEllipse(QPointF(0, 0), 5.6, 5.6)


def _queued(painter: QPainter, palette: Palette) -> None:
    _ring(painter, palette.offline)
    _line(painter, palette.offline, [(0, -3.0), (0, 0.2), (2.1, 1.6)], 1.4)


def _paused(painter: QPainter, palette: Palette) -> None:
    _ring(painter, palette.offline)
    _line(painter, palette.offline, [(-1.5, -2.2), (-1.5, 2.2)], 1.5)
    _line(painter, palette.offline, [(1.5, -2.2), (1.5, 2.2)], 1.5)


def _cancelled(painter: QPainter, palette: Palette) -> None:
    _ring(painter, palette.offline)
    _line(painter, palette.offline, [(-3.9, 3.9), (3.9, -3.9)], 1.4)


_PAINTERS: Mapping[GlyphState, Callable[[QPainter, Palette], None]] = {
    GlyphState.ONLINE: _online,
    GlyphState.SELECTED: _selected,
    GlyphState.RECEIVING: _receiving,
    GlyphState.CHECKING: _checking,
    GlyphState.VERIFIED: _verified,
    GlyphState.LAGGING: _lagging,
    GlyphState.FAILED: _failed,
    GlyphState.OFFLINE: _offline,
    GlyphState.QUEUED: _queued,
    GlyphState.PAUSED: _paused,
    GlyphState.CANCELLED: _cancelled,
}
