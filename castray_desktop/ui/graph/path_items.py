"""Graphics items of a cast's path: hops with arrow heads and rates, thin lines among dots, the multicast bus.

They paint what `PathLayer` tells them, and know no models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QLinearGradient, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from castray_desktop.ui.graph.edge_geometry import WIDTHS, Bus, Curve, Line
from castray_desktop.ui.graph.hop_router import BentLine, along
from castray_desktop.ui.graph.node_layout import Box, NodeShape, Point
from castray_desktop.ui.graph.scene_items import (
    DIM_OPACITY,
    DOT_GAP,
    Z_HOP,
    Z_PAUSED,
    Z_RATE,
    SceneItem,
    draw_icon,
    path_opacity,
    to_point,
    to_rect,
    translucent,
)
from castray_desktop.ui.theme.theme import Palette, Theme, mix
from castray_desktop.ui.widgets.painting import CENTRE, metrics, paint_text
from castray_desktop.ui.widgets.status_glyphs import GlyphState, paint_glyph

MARKER_SIZE = 14.0  # of a pause
HOP_CORNER = 10.0  # radius of a bent line
PAUSED_DASHES = [1.0, 4.0]
REPAIR_DASHES, SHORT_DASHES = [4.0, 2.5], [1.6, 1.2]  # in widths of the line


@dataclass(frozen=True)
class HopAppearance:
    """A hop's curve and how it is drawn: its part of the path's gradient, its width, whether data moves."""

    curve: Curve | BentLine
    first: float
    last: float
    width: float
    moving: bool
    faded: bool  # the cast has ended
    dim: bool = False
    head: bool = True
    failed: bool = False  # dashed, with a cross: no more data uses it
    repair: bool = False  # thin, in long dashes: only data that multicast has lost uses it
    paused: bool = False  # thin and pale, with a pause sign: no data uses it for now
    marker_position: float = 0.5  # of the cross or pause sign, on the curve


class HopItem(SceneItem):
    """One link of the relay chain with its arrow head; moving dots are an item above it."""

    def __init__(self, theme: Theme, appearance: HopAppearance) -> None:
        super().__init__(theme, Z_HOP)
        self.appearance = appearance
        self.dots = _HopDots(self)
        self._update_path()

    def set_appearance(self, appearance: HopAppearance) -> None:
        """Repaint if the appearance is another one."""
        if appearance != self.appearance:
            self.appearance = appearance
            self._update_path()

    def _update_path(self) -> None:
        self._line, self._head = _hop_path(self.appearance)
        self.set_rect(self._line.boundingRect().united(self._head.boundingRect()).adjusted(-8, -8, 8, 8))
        self.dots.set_path(self._line)
        self.dots.setVisible(self.appearance.moving)
        self.setZValue(Z_PAUSED if self.appearance.paused else Z_HOP)

    def draw(self, painter: QPainter, palette: Palette) -> None:
        appearance = self.appearance
        if appearance.failed:
            self._paint_failed(painter)
            return
        opacity = path_opacity(appearance.dim, appearance.faded or appearance.paused)
        first = mix(palette.path_start, palette.path_end, appearance.first)
        last = mix(palette.path_start, palette.path_end, appearance.last)
        first, last = (mix(palette.card, color.name(), opacity) for color in (first, last))
        gradient = QLinearGradient(to_point(appearance.curve.start), to_point(appearance.curve.end))
        gradient.setColorAt(0, first)
        gradient.setColorAt(1, last)
        pen = QPen(QBrush(gradient), appearance.width)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        if appearance.repair:
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)
            pen.setDashPattern(REPAIR_DASHES if appearance.head else SHORT_DASHES)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(self._line)
        if appearance.head:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(last)
            painter.drawPath(self._head)
            if appearance.paused:
                self._paint_pause(painter)

    def _paint_pause(self, painter: QPainter) -> None:
        """Distinguishes it from a hop that waits for its first data, without colour."""
        middle = to_point(self.appearance.curve.at(self.appearance.marker_position))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._theme.palette.card))
        painter.drawEllipse(middle, MARKER_SIZE / 2 + 1, MARKER_SIZE / 2 + 1)
        painter.setOpacity(DIM_OPACITY if self.appearance.dim else 1.0)
        place = QRectF(middle.x() - MARKER_SIZE / 2, middle.y() - MARKER_SIZE / 2, MARKER_SIZE, MARKER_SIZE)
        paint_glyph(painter, place, GlyphState.PAUSED, self._theme.palette)

    def _paint_failed(self, painter: QPainter) -> None:
        """Dashes and a cross distinguish a failed hop without colour."""
        palette = self._theme.palette
        color = mix(palette.card, palette.bad_fill, DIM_OPACITY if self.appearance.dim else 1.0)
        pen = QPen(color, 2)
        pen.setDashPattern([2.5, 2.5])
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(self._line)
        middle = to_point(self.appearance.curve.at(self.appearance.marker_position))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(palette.card))
        painter.drawEllipse(middle, 7, 7)
        pen = QPen(color, 2)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        for slope in (1, -1):
            painter.drawLine(middle + QPointF(-3.5, -3.5 * slope), middle + QPointF(3.5, 3.5 * slope))


class _MovingDots(QGraphicsItem):
    """White dots that move along a path, above the cached pixmap of their parent."""

    def __init__(self, parent: QGraphicsItem) -> None:
        super().__init__(parent)
        self._phase = 0.0
        self._path = QPainterPath()

    def set_path(self, path: QPainterPath) -> None:
        """Move along this path."""
        self.prepareGeometryChange()
        self._path = path

    def set_phase(self, phase: float) -> None:
        """Show the dots where they are after that many pixels."""
        self._phase = phase
        self.update()

    def boundingRect(self) -> QRectF:
        return self._path.boundingRect().adjusted(-2, -2, 2, 2)


class _HopDots(_MovingDots):
    """Draws each dot from a list of points, which is faster for curves than a dashed pen."""

    def set_path(self, path: QPainterPath) -> None:
        super().set_path(path)
        self._points = _pixel_steps(path)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(DOT_COLOR)
        whole, part = divmod(self._phase % DOT_GAP, 1.0)
        points = self._points
        for index in range(int(whole), len(points) - 1, int(DOT_GAP)):
            here, there = points[index], points[index + 1]
            painter.drawEllipse(here + (there - here) * part, 1.0, 1.0)


class _BusDots(_MovingDots):
    """Draws the dots of all branches with a dashed pen; on common parts they coincide."""

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        pen = QPen(DOT_COLOR, DOT)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setDashPattern([0.01, DOT_GAP / DOT - 0.01])
        pen.setDashOffset(-(self._phase % DOT_GAP) / DOT)
        painter.setPen(pen)
        painter.drawPath(self._path)


def _pixel_steps(line: QPainterPath) -> list[QPointF]:
    """Points on a line, a pixel apart. `QPainterPath.pointAtPercent` is too slow to find each of them."""
    points = [line.pointAtPercent(step / 60) for step in range(61)]
    result: list[QPointF] = []
    due = 4.0
    for start, end in pairwise(points):
        step = end - start
        length = math.hypot(step.x(), step.y())
        while due < length:
            result.append(start + step * (due / length))
            due += 1.0
        due -= length
    return result


def _hop_path(appearance: HopAppearance) -> tuple[QPainterPath, QPainterPath]:
    """The line, which ends inside the head, and the head: 11 long, 12 wide."""
    curve = appearance.curve
    length = 11.0 if appearance.width >= 3 else 7.0
    last = curve.points[-2] if isinstance(curve, BentLine) else curve.at(0.97)
    angle = math.atan2(curve.end.y - last.y, curve.end.x - last.x)
    along, tip = QPointF(math.cos(angle), math.sin(angle)), to_point(curve.end)
    end = tip - along * (length * 0.7 if appearance.head else 0)
    if isinstance(curve, BentLine):
        line = _rounded((*curve.points[:-1], Point(end.x(), end.y())), HOP_CORNER)
        return line, _arrow_head(tip, along * -length, 6 / 11)
    line = QPainterPath(to_point(curve.start))
    line.cubicTo(to_point(curve.control_1), to_point(curve.control_2), end)
    return line, _arrow_head(tip, along * -length, 6 / 11)


def _arrow_head(tip: QPointF, back: QPointF, slope: float) -> QPainterPath:
    """`back` leads from the tip to the middle of the base; `slope` is half the width by the length."""
    across = QPointF(back.y(), -back.x()) * slope
    head = QPainterPath(tip)
    head.lineTo(tip + back + across)
    head.lineTo(tip + back * 0.75)
    head.lineTo(tip + back - across)
    head.closeSubpath()
    return head


Segment = tuple[Point, Point]


class SegmentsItem(SceneItem):
    """The hops between dots, as thin lines: one call of the painter for each kind."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, Z_HOP)
        self.segments: tuple[tuple[Segment, ...], ...] = ((), (), (), ())
        self._lines: tuple[list[QLineF], ...] = ([], [], [], [])

    def set_segments(self, segments: tuple[tuple[Segment, ...], ...], rect: QRectF, *, dim: bool) -> None:
        """Draw these, all inside `rect`: whole hops, failed ones, repairs, paused ones."""
        if (segments, rect, dim) == (self.segments, self._rect, self.dim):
            return
        self.segments, self.dim = segments, dim
        self._lines = tuple([QLineF(to_point(a), to_point(b)) for a, b in kind] for kind in segments)
        self.set_rect(rect)

    def draw(self, painter: QPainter, palette: Palette) -> None:
        painter.setOpacity(painter.opacity() * 0.6)
        kinds: tuple[tuple[str, list[float]], ...] = (
            (palette.path_start, []),
            (palette.bad_fill, [3.0, 3.0]),
            (palette.path_end, SHORT_DASHES),
            (palette.offline, PAUSED_DASHES),
        )
        for lines, (color, dashes) in zip(self._lines, kinds, strict=True):
            pen = QPen(QColor(color), 1)
            if dashes:
                pen.setDashPattern(dashes)
            painter.setPen(pen)
            painter.drawLines(lines)


class RateItem(SceneItem):
    """A hop's rate, in a pill when the hop lags."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, Z_RATE)
        self.text, self.lagging, self._over = "", False, False
        self._box = QRectF()

    @staticmethod
    def size_of(text: str, lagging: bool) -> tuple[float, float]:
        """Width and height of a rate."""
        width = metrics(11, 600, True).horizontalAdvance(text)
        return (width + 18, 20.0) if lagging else (width + 8, 16.0)

    def show_rate(self, text: str, box: Box, *, lagging: bool, dim: bool, over: bool = False) -> None:
        """Show the rate in `box`; `over` a line it gets a background."""
        rect, now = to_rect(box), (text, lagging, dim, over)
        if (now, rect) != ((self.text, self.lagging, self.dim, self._over), self._box):
            (self.text, self.lagging, self.dim, self._over), self._box = now, rect
            self.set_rect(rect.adjusted(-1, -1, 1, 1))

    def draw(self, painter: QPainter, palette: Palette) -> None:
        if self.lagging:
            painter.setPen(QPen(QColor(palette.warn_line), 1))
            painter.setBrush(QColor(palette.warn_soft))
            painter.drawRoundedRect(self._box, 10, 10)
        elif self._over:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(translucent(palette.card))
            painter.drawRoundedRect(self._box, 6, 6)
        color = palette.warn if self.lagging else palette.text
        paint_text(painter, self._box, self.text, color, 11, 600, CENTRE, tabular=True)


LOCK_RADIUS = {NodeShape.FULL: 8.0, NodeShape.COMPACT: 7.0}
LOCK_SIZES = {NodeShape.FULL: 10, NodeShape.COMPACT: 9}  # of the icon


class LockItem(SceneItem):
    """A closed or an open lock on a hop: whether it is encrypted."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, Z_RATE)
        self.upstream, self.node, self.encrypted = "", "", False
        self._cell = NodeShape.FULL
        self.box = Box(0, 0, 0, 0)

    def show_lock(
        self, hop: tuple[str, str], middle: Point, cell: NodeShape, *, encrypted: bool, dim: bool
    ) -> None:
        """Show whether the hop from the first to the second node is encrypted."""
        box = Box.around(middle, LOCK_RADIUS[cell])
        now = (*hop, box, cell, encrypted, dim)
        if now != (self.upstream, self.node, self.box, self._cell, self.encrypted, self.dim):
            self.upstream, self.node, self.box, self._cell, self.encrypted, self.dim = now
            self.set_rect(to_rect(box).adjusted(-1, -1, 1, 1))

    def draw(self, painter: QPainter, palette: Palette) -> None:
        color = palette.text_2 if self.encrypted else palette.warn
        painter.setPen(QPen(QColor(palette.line_strong if self.encrypted else palette.warn_line), 1))
        painter.setBrush(QColor(palette.card if self.encrypted else palette.warn_soft))
        area = to_rect(self.box)
        painter.drawEllipse(area.adjusted(0.5, 0.5, -0.5, -0.5))
        name = "lock" if self.encrypted else "lock-open"
        draw_icon(painter, area.center(), name, color, LOCK_SIZES[self._cell])


BRANCH_WIDTHS = {
    NodeShape.FULL: 3.0,
    NodeShape.COMPACT: 2.0,
    NodeShape.NAMED: 1.5,
    NodeShape.GLYPH: 1.5,
    NodeShape.DOT: 1.0,
}
HEADS = {NodeShape.FULL: 11.0, NodeShape.COMPACT: 7.0}  # length; smaller cells have none
STRENGTHS = {NodeShape.DOT: 0.6}  # where there are many
DOT = 2.0  # diameter
DOT_COLOR = QColor.fromRgbF(1, 1, 1, 0.85)
CORNERS = {  # radius
    NodeShape.FULL: 14.0,
    NodeShape.COMPACT: 10.0,
    NodeShape.NAMED: 6.0,
    NodeShape.GLYPH: 6.0,
    NodeShape.DOT: 4.0,
}


@dataclass(frozen=True)
class MulticastAppearance:
    """The bus and how it is drawn."""

    bus: Bus
    cell: NodeShape
    moving: bool  # bytes move along it
    faded: bool  # everything was sent
    dim: bool = False


class MulticastItem(SceneItem):
    """The multicast bus; moving dots are an item above it."""

    def __init__(self, theme: Theme, appearance: MulticastAppearance) -> None:
        super().__init__(theme, Z_HOP)
        self.appearance = appearance
        self.dots = _BusDots(self)
        self._update_path()

    def set_appearance(self, appearance: MulticastAppearance) -> None:
        """Repaint if the appearance is another one."""
        if appearance == self.appearance:
            return
        moved = appearance.bus != self.appearance.bus
        self.appearance = appearance
        if moved:
            self._update_path()
        self.dots.setVisible(appearance.moving)
        self.update()

    def _update_path(self) -> None:
        appearance = self.appearance
        corner, head = CORNERS[appearance.cell], HEADS.get(appearance.cell, 0.0)
        on_ring = not appearance.bus.branches
        self._lines, self._heads, self._branches = QPainterPath(), QPainterPath(), list[QLineF]()
        for line in appearance.bus.lines:
            self._lines.addPath(_rounded(_shortened(line, head * 0.6) if on_ring else line, corner))
        for line in appearance.bus.lines if on_ring else appearance.bus.branches:
            if head:
                tip, before = to_point(line[-1]), to_point(line[-2])
                self._heads.addPath(_arrow_head(tip, _towards(tip, before, head) - tip, 0.55))
        for start, end in (_shortened(line, head * 0.6) for line in appearance.bus.branches):
            self._branches.append(QLineF(to_point(start), to_point(end)))
        box = self._lines.boundingRect().united(self._heads.boundingRect())
        self.set_rect(box.adjusted(-8, -8, 8, 8 + 12))
        self.dots.set_path(self._lines)
        self.dots.setVisible(appearance.moving)

    def draw(self, painter: QPainter, palette: Palette) -> None:
        appearance, cell = self.appearance, self.appearance.cell
        brush = self._brush()
        round_cap = Qt.PenCapStyle.RoundCap
        width = BRANCH_WIDTHS[cell] if appearance.bus.branches else WIDTHS[cell]
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(brush, width, Qt.PenStyle.SolidLine, round_cap))
        painter.drawLines(self._branches)
        painter.setPen(QPen(brush, WIDTHS[cell], Qt.PenStyle.SolidLine, round_cap))
        painter.drawPath(self._lines)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(brush)
        painter.drawPath(self._heads)

    def _brush(self) -> QBrush:
        """A gradient from the source's colour to that of the end of the path, as for the relay."""
        palette, appearance = self._theme.palette, self.appearance
        strength = path_opacity(appearance.dim, appearance.faded, STRENGTHS.get(appearance.cell, 1.0))
        start = appearance.bus.lines[0][0].x if appearance.bus.lines else 0.0
        gradient = QLinearGradient(start, 0, max(start + 1, appearance.bus.end), 0)
        gradient.setColorAt(0, mix(palette.card, palette.path_start, strength))
        gradient.setColorAt(1, mix(palette.card, palette.path_end, strength))
        return QBrush(gradient)


def _shortened(line: Line, by: float) -> Line:
    """The line without `by` pixels at its end, where the head is."""
    before, end = line[-2], line[-1]
    length = math.dist(before, end) or 1.0
    return (*line[:-1], along(before, end, max(0.0, 1 - by / length)))


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
    offset = end - start
    length = math.hypot(offset.x(), offset.y()) or 1.0
    return start + offset * (by / length)


LOCK_ROOM = 14


class MulticastRateItem(SceneItem):
    """The rate of the multicast stream, in a pill beside the bus, with an open lock: it is not encrypted."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, Z_RATE)
        self.text, self._faded = "", False
        self._box = QRectF()

    def show_rate(self, text: str, end: QPointF, *, faded: bool, dim: bool) -> None:
        """Show the rate left of this point."""
        width = math.ceil(metrics(11, 600, True).horizontalAdvance(text)) + 36 + LOCK_ROOM
        box = QRectF(max(4.0, end.x() - width), end.y() - 11, width, 22)
        if (text, box, faded, dim) != (self.text, self._box, self._faded, self.dim):
            self.text, self._box, self._faded, self.dim = text, box, faded, dim
            self.set_rect(box.adjusted(-1, -1, 1, 1))

    def draw(self, painter: QPainter, palette: Palette) -> None:
        box = self._box
        painter.setPen(QPen(QColor(palette.line if self._faded else palette.accent_line), 1))
        painter.setBrush(QColor(palette.card if self._faded else palette.accent_soft))
        painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 11, 11)
        color = palette.text_2 if self._faded else palette.accent
        draw_icon(painter, QPointF(box.left() + 15, box.top() + 11), "radio", color, 14)
        lock_size = LOCK_SIZES[NodeShape.FULL]
        lock = QPointF(box.right() - 8 - lock_size / 2, box.top() + 11)
        draw_icon(painter, lock, "lock-open", palette.warn, lock_size)
        rest = box.adjusted(27, 0, -8 - LOCK_ROOM, 0)
        color = palette.text_2 if self._faded else palette.text
        paint_text(painter, rest, self.text, color, 11, 600, tabular=True)
