"""How the one stream for all listeners is drawn: a bus with its branches, and its rate in a pill."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QLinearGradient, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from castray_desktop.ui.graph.edge_geometry import WIDTHS, Bus, Line
from castray_desktop.ui.graph.node_layout import NodeShape
from castray_desktop.ui.graph.zone_items import CALM, DIM, DOT_GAP, Z_HOP, Z_RATE, to_point
from castray_desktop.ui.theme.theme import Theme, mix
from castray_desktop.ui.widgets.painting import metrics, paint_text, pixmap

TAP_WIDTHS = {NodeShape.FULL: 3.0, NodeShape.COMPACT: 2.0, NodeShape.GLYPH: 1.5, NodeShape.DOT: 1.0}
HEADS = {NodeShape.FULL: 11.0, NodeShape.COMPACT: 7.0}  # length; smaller cells have no room for one
STRENGTHS = {NodeShape.DOT: 0.6}  # where there are many
DOT = 2.0  # wide
CORNERS = {NodeShape.FULL: 14.0, NodeShape.COMPACT: 10.0, NodeShape.GLYPH: 6.0, NodeShape.DOT: 4.0}  # radius


@dataclass(frozen=True)
class MulticastAppearance:
    """The bus and how it is drawn."""

    bus: Bus
    cell: NodeShape
    moving: bool  # bytes move along it
    calm: bool  # everything was sent
    dim: bool = False


class MulticastItem(QGraphicsItem):
    """The bus, kept as a picture; its dots run on top of it."""

    def __init__(self, theme: Theme, look: MulticastAppearance) -> None:
        super().__init__()
        self._theme, self.appearance = theme, look
        self._dots = _BusDots(self)
        self._follow()
        self.setZValue(Z_HOP)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    def show_look(self, look: MulticastAppearance) -> None:
        """Draw this from now on."""
        if look == self.appearance:
            return
        moved = look.bus != self.appearance.bus
        if moved:
            self.prepareGeometryChange()
        self.appearance = look
        if moved:
            self._follow()
        self._dots.setVisible(look.moving)
        self.update()

    def _follow(self) -> None:
        look = self.appearance
        corner, head = CORNERS[look.cell], HEADS.get(look.cell, 0.0)
        on_ring = not look.bus.taps
        self._ways, self._heads, self._taps = QPainterPath(), QPainterPath(), list[QLineF]()
        for line in look.bus.ways:
            self._ways.addPath(_rounded(_shortened(line, head * 0.6) if on_ring else line, corner))
        for line in look.bus.ways if on_ring else look.bus.taps:
            if head:
                self._heads.addPath(_head(line, head))
        for start, end in (_shortened(line, head * 0.6) for line in look.bus.taps):
            self._taps.append(QLineF(to_point(start), to_point(end)))
        self._dots.follow(self._ways)
        self._dots.setVisible(look.moving)

    def run_dots(self, phase: float) -> None:
        """Move the dots to where they are after that many pixels."""
        if self.appearance.moving:
            self._dots.run(phase)

    def boundingRect(self) -> QRectF:
        box = self._ways.boundingRect().united(self._heads.boundingRect())
        return box.adjusted(-8, -8, 8, 8 + 12)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        look, cell = self.appearance, self.appearance.cell
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        brush = self._brush()
        round_cap = Qt.PenCapStyle.RoundCap
        width = TAP_WIDTHS[cell] if look.bus.taps else WIDTHS[cell]
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(brush, width, Qt.PenStyle.SolidLine, round_cap))
        painter.drawLines(self._taps)
        painter.setPen(QPen(brush, WIDTHS[cell], Qt.PenStyle.SolidLine, round_cap))
        painter.drawPath(self._ways)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(brush)
        painter.drawPath(self._heads)

    def _brush(self) -> QBrush:
        """A gradient from the source's colour to that of the end of the path, as for the relay."""
        palette, look = self._theme.palette, self.appearance
        strength = DIM if look.dim else CALM if look.calm else STRENGTHS.get(look.cell, 1.0)
        start = look.bus.ways[0][0].x if look.bus.ways else 0.0
        gradient = QLinearGradient(start, 0, max(start + 1, look.bus.end), 0)
        gradient.setColorAt(0, mix(palette.card, palette.path_start, strength))
        gradient.setColorAt(1, mix(palette.card, palette.path_end, strength))
        return QBrush(gradient)


class _BusDots(QGraphicsItem):
    """White dots that run from the source along every branch at once: what ways share, their dots do too."""

    def __init__(self, bus: QGraphicsItem) -> None:
        super().__init__(bus)
        self._phase = 0.0
        self._ways = QPainterPath()

    def follow(self, ways: QPainterPath) -> None:
        """Run along these from now on."""
        self.prepareGeometryChange()
        self._ways = ways

    def run(self, phase: float) -> None:
        """Move to where they are after that many pixels."""
        self._phase = phase
        self.update()

    def boundingRect(self) -> QRectF:
        return self._ways.boundingRect().adjusted(-2, -2, 2, 2)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = QColor("#FFFFFF")
        color.setAlphaF(0.85)
        pen = QPen(color, DOT)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setDashPattern([0.01, DOT_GAP / DOT - 0.01])
        pen.setDashOffset(-(self._phase % DOT_GAP) / DOT)
        painter.setPen(pen)
        painter.drawPath(self._ways)


def _shortened(line: Line, by: float) -> Line:
    """Without so much of its end, where the head is."""
    before, end = line[-2], line[-1]
    length = math.dist(before, end) or 1.0
    share = max(0.0, 1 - by / length)
    return (
        *line[:-1],
        type(end)(before.x + (end.x - before.x) * share, before.y + (end.y - before.y) * share),
    )


def _rounded(line: Line, radius: float) -> QPainterPath:
    """The line with its corners rounded."""
    path = QPainterPath(to_point(line[0]))
    for before, corner, after in zip(line, line[1:], line[2:], strict=False):
        reach = min(radius, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
        at = to_point(corner)
        path.lineTo(_towards(at, to_point(before), reach))
        path.quadTo(at, _towards(at, to_point(after), reach))
    path.lineTo(to_point(line[-1]))
    return path


def _towards(start: QPointF, end: QPointF, by: float) -> QPointF:
    way = end - start
    length = math.hypot(way.x(), way.y()) or 1.0
    return start + way * (by / length)


def _head(line: Line, length: float) -> QPainterPath:
    """An arrow head at the line's end, a little wider than it is long."""
    tip, before = to_point(line[-1]), to_point(line[-2])
    back = _towards(tip, before, length) - tip
    across = QPointF(-back.y(), back.x()) * 0.55
    head = QPainterPath(tip)
    head.lineTo(tip + back + across)
    head.lineTo(tip + back * 0.75)
    head.lineTo(tip + back - across)
    head.closeSubpath()
    return head


class MulticastRateItem(QGraphicsItem):
    """The stream's rate, once for all, in a pill that ends at the bus."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.text, self._calm, self._dim = "", False, False
        self._box = QRectF()
        self.setZValue(Z_RATE)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    def show_rate(self, text: str, end: QPointF, *, calm: bool, dim: bool) -> None:
        """Say this from now on, left of that place."""
        width = math.ceil(metrics(11, 600, True).horizontalAdvance(text)) + 36
        box = QRectF(max(4.0, end.x() - width), end.y() - 11, width, 22)
        if (text, box, calm, dim) != (self.text, self._box, self._calm, self._dim):
            self.prepareGeometryChange()
            self.text, self._box, self._calm, self._dim = text, box, calm, dim
            self.update()

    def boundingRect(self) -> QRectF:
        return self._box.adjusted(-1, -1, 1, 1)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        palette, box = self._theme.palette, self._box
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setOpacity(DIM if self._dim else 1.0)
        painter.setPen(QPen(QColor(palette.line if self._calm else palette.accent_line), 1))
        painter.setBrush(QColor(palette.card if self._calm else palette.accent_soft))
        painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 11, 11)
        ratio = painter.device().devicePixelRatioF() * max(1.0, painter.worldTransform().m11())
        color = palette.text_2 if self._calm else palette.accent
        painter.drawPixmap(box.topLeft() + QPointF(8, 4), pixmap("radio", color, 14, ratio))
        rest = box.adjusted(27, 0, -8, 0)
        paint_text(
            painter, rest, self.text, palette.text_2 if self._calm else palette.text, 11, 600, tabular=True
        )
