"""What stands in the node graph's scene: zones, hops, nodes, rates and the figures in the middle.

The items only paint what they are told and know nothing of models; `NodeGraph` tells them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import (
    QBrush,
    QColor,
    QLinearGradient,
    QPainter,
    QPainterPath,
    QPainterPathStroker,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from castray_desktop.ui.glyphs import GlyphState, paint_glyph
from castray_desktop.ui.graph_layout import SOURCE_RADIUS, Box, Cell, Curve, Point, ZonePlan
from castray_desktop.ui.icons import pixmap
from castray_desktop.ui.painting import CENTRE, metrics, paint_text
from castray_desktop.ui.theme import ON_GRADIENT, SOURCE_END, SOURCE_START, Palette, Theme, mix

Z_ZONE, Z_HOP, Z_NODE, Z_RATE, Z_MIDDLE = 1, 2, 3, 4, 5
DOT_GAP = 11.0
DIM = 0.4


def to_rect(box: Box) -> QRectF:
    """The box as Qt's rectangle."""
    return QRectF(*box)


def to_point(point: Point) -> QPointF:
    """The place as Qt's point."""
    return QPointF(*point)


@dataclass(frozen=True)
class NodeLook:
    """Everything that is drawn of a node."""

    name: str
    title: str
    facts: str = ""
    facts_role: str = "text_2"
    source: bool = False
    offline: bool = False
    selected: bool = False
    focused: bool = False  # by the keyboard
    target: bool = False  # of a drag
    dim: bool = False
    share: float | None = None  # of a cast's bytes, 0..1; None: not part of it
    bar_role: str = "accent"
    glyph: GlyphState = GlyphState.ONLINE
    badge: GlyphState | None = None


class NodeItem(QGraphicsItem):
    """A node: ring, percent or icon, badges, name and facts, as much as its cell has room for."""

    def __init__(self, theme: Theme, look: NodeLook, cell: Cell) -> None:
        super().__init__()
        self._theme, self.look, self.cell = theme, look, cell
        self.hovered = False
        self.setZValue(Z_NODE)
        self.setAcceptHoverEvents(True)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_look(self, look: NodeLook, cell: Cell) -> None:
        """Draw this from now on; paints only when something is different."""
        if look == self.look and cell is self.cell:
            return
        if cell is not self.cell or look.source != self.look.source:
            self.prepareGeometryChange()
        self.look, self.cell = look, cell
        self.update()

    @property
    def radius(self) -> float:
        return SOURCE_RADIUS if self.look.source else self.cell.radius

    # --- parts -----------------------------------------------------------------------------

    def _paint_source(self, painter: QPainter, palette: Palette) -> None:
        radius = SOURCE_RADIUS
        gradient = QLinearGradient(-radius, -radius, radius, radius)
        gradient.setColorAt(0, QColor(SOURCE_START))
        gradient.setColorAt(1, QColor(SOURCE_END))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawEllipse(QPointF(0, 0), radius, radius)
        self._paint_icon(painter, "monitor-up", ON_GRADIENT, 24)
        self._paint_labels(painter, palette)

    def _paint_icon(self, painter: QPainter, name: str, color: str, size: int) -> None:
        ratio = painter.device().devicePixelRatioF() * max(1.0, painter.worldTransform().m11())
        painter.drawPixmap(QPointF(-size / 2, -size / 2), pixmap(name, color, size, ratio))

    def _paint_ring(self, painter: QPainter, palette: Palette) -> None:
        look, radius = self.look, float(self.cell.radius)
        painter.setBrush(QColor(palette.card))
        if look.offline:
            pen = QPen(QColor(palette.offline), 1.5)
            pen.setDashPattern([2.6, 2.2])
            painter.setPen(pen)
            painter.drawEllipse(QPointF(0, 0), radius, radius)
            self._paint_icon(painter, "unplug", palette.offline, 20 if self.cell is Cell.FULL else 16)
            return
        width = 4.0 if self.cell is Cell.FULL else 3.0
        inner = radius - width / 2
        painter.setPen(QPen(QColor(palette.track), width))
        painter.drawEllipse(QPointF(0, 0), inner, inner)
        if look.share is not None and look.share > 0:
            pen = QPen(QColor(getattr(palette, look.bar_role)), width)
            pen.setCapStyle(Qt.PenCapStyle.RoundCap)
            painter.setPen(pen)
            arc = QRectF(-inner, -inner, 2 * inner, 2 * inner)
            painter.drawArc(arc, 90 * 16, -round(min(1.0, look.share) * 360 * 16))
        self._paint_inside(painter, palette, radius)

    def _paint_inside(self, painter: QPainter, palette: Palette, radius: float) -> None:
        look, full = self.look, self.cell is Cell.FULL
        if look.share is None:
            self._paint_icon(painter, "server", palette.text_2, 20 if full else 16)
            return
        text = f"{int(look.share * 100 + 1e-9)}%"
        area = QRectF(-radius, -radius, 2 * radius, 2 * radius)
        size = 13 if full else 11
        paint_text(painter, area, text, palette.text, size, 600, CENTRE, tabular=True)

    def _paint_marks(self, painter: QPainter, palette: Palette) -> None:
        look, radius, full = self.look, float(self.cell.radius), self.cell is Cell.FULL
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if look.target:
            painter.setPen(QPen(QColor(palette.accent), 3))
            painter.drawEllipse(QPointF(0, 0), radius + 7, radius + 7)
        elif look.selected:
            painter.setPen(QPen(QColor(palette.accent), 2))
            painter.drawEllipse(QPointF(0, 0), radius + (7 if full else 5), radius + (7 if full else 5))
        if look.focused:
            pen = QPen(QColor(palette.accent), 1.5)
            pen.setDashPattern([3, 2])
            painter.setPen(pen)
            painter.drawEllipse(QPointF(0, 0), radius + 11, radius + 11)
        at = radius * 0.92
        if look.selected:
            self._paint_tick_badge(painter, palette, QPointF(at, -at), 9 if full else 7)
        if look.badge is not None:
            self._paint_badge(painter, palette, QPointF(at, at), look.badge, 18 if full else 14)

    def _paint_tick_badge(self, painter: QPainter, palette: Palette, at: QPointF, radius: float) -> None:
        painter.setPen(QPen(QColor(palette.card), 1.5))
        painter.setBrush(QColor(palette.accent))
        painter.drawEllipse(at, radius, radius)
        pen = QPen(QColor(palette.on_accent), radius * 0.2)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        unit = radius / 9
        points = [QPointF(-3.4, 0.3), QPointF(-1.0, 2.7), QPointF(3.6, -2.6)]
        painter.drawPolyline([at + point * unit for point in points])

    def _paint_badge(
        self, painter: QPainter, palette: Palette, at: QPointF, glyph: GlyphState, size: float
    ) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(palette.card))
        painter.drawEllipse(at, size / 2 + 1.5, size / 2 + 1.5)
        paint_glyph(painter, QRectF(at.x() - size / 2, at.y() - size / 2, size, size), glyph, palette)

    def _paint_labels(self, painter: QPainter, palette: Palette) -> None:
        look = self.look
        name_color = palette.text_3 if look.offline else palette.text
        if self.cell is not Cell.FULL and not look.source:
            name = QRectF(-36, self.cell.radius + 7, 72, 15)
            paint_text(painter, name, look.title, name_color, 11, 600, CENTRE)
            return
        half = 61 if look.source else 60
        paint_text(painter, QRectF(-half, 37, 2 * half, 18), look.title, name_color, 13, 600, CENTRE)
        color = getattr(palette, look.facts_role)
        paint_text(painter, QRectF(-half, 54, 2 * half, 16), look.facts, color, 11, 400, CENTRE)

    def _paint_small(self, painter: QPainter, palette: Palette) -> None:
        """A glyph, and a ring round it when the node is selected."""
        look, radius = self.look, float(self.cell.radius)
        paint_glyph(painter, QRectF(-8, -8, 16, 16), look.badge or look.glyph, palette)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(palette.accent), 2))
        if look.selected or look.target:
            painter.drawEllipse(QPointF(0, 0), radius + 4, radius + 4)
        if look.focused or look.target:
            painter.drawRect(self.boundingRect().adjusted(3, 3, -3, -3))

    # --- Qt --------------------------------------------------------------------------------

    def boundingRect(self) -> QRectF:
        cell = Cell.FULL if self.look.source else self.cell
        return to_rect(cell.box(Point(0, 0))).adjusted(-2, -2, 2, 2)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        palette = self._theme.palette
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.look.dim:
            painter.setOpacity(DIM)
        if self.look.source:
            self._paint_source(painter, palette)
            if self.look.focused:
                self._paint_source_focus(painter, palette)
        elif self.cell in (Cell.FULL, Cell.COMPACT):
            if self.hovered and not self.look.selected and not self.look.offline:
                painter.setPen(QPen(QColor(palette.line_strong), 2))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                gap = 7 if self.cell is Cell.FULL else 5
                painter.drawEllipse(QPointF(0, 0), self.radius + gap, self.radius + gap)
            self._paint_ring(painter, palette)
            self._paint_marks(painter, palette)
            self._paint_labels(painter, palette)
        else:
            self._paint_small(painter, palette)

    def _paint_source_focus(self, painter: QPainter, palette: Palette) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(palette.accent), 2))
        painter.drawEllipse(QPointF(0, 0), SOURCE_RADIUS + 4, SOURCE_RADIUS + 4)

    def hoverEnterEvent(self, event: object) -> None:
        self.hovered = True
        self.update()

    def hoverLeaveEvent(self, event: object) -> None:
        self.hovered = False
        self.update()


DOT_ROLES = {
    GlyphState.ONLINE: "ok_fill",
    GlyphState.SELECTED: "accent",
    GlyphState.RECEIVING: "accent",
    GlyphState.CHECKING: "accent",
    GlyphState.VERIFIED: "ok_fill",
    GlyphState.LAGGING: "warn_fill",
    GlyphState.FAILED: "bad_fill",
    GlyphState.OFFLINE: "offline",
    GlyphState.QUEUED: "offline",
    GlyphState.PAUSED: "offline",
}


@dataclass(frozen=True)
class Dot:
    """A node as a dot."""

    place: Point
    role: str  # of its colour
    selected: bool
    marked: bool  # the keyboard's, or a drag's target


class DotsItem(QGraphicsItem):
    """Every recipient as a dot, painted in a few strokes: up to 1,000 of them change ten times a second."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._dots: tuple[Dot, ...] = ()
        self._box = QRectF()
        self._dim = False
        self.setZValue(Z_NODE)

    def show_dots(self, dots: tuple[Dot, ...], box: QRectF, *, dim: bool) -> None:
        """Draw these from now on, all of them inside `box`."""
        if (dots, box, dim) != (self._dots, self._box, self._dim):
            if box != self._box:
                self.prepareGeometryChange()
            self._dots, self._box, self._dim = dots, box, dim
            self.update()

    def boundingRect(self) -> QRectF:
        return self._box

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        palette = self._theme.palette
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setOpacity(DIM if self._dim else 1.0)
        ratio = painter.device().devicePixelRatioF()
        stamps: dict[tuple[str, bool], QPixmap] = {}
        for dot in self._dots:
            look = (dot.role, dot.selected)
            stamp = stamps.get(look)
            if stamp is None:
                stamp = stamps[look] = _dot_stamp(palette, *look, ratio)
            painter.drawPixmap(QPointF(dot.place.x - DOT_STAMP / 2, dot.place.y - DOT_STAMP / 2), stamp)
        painter.setOpacity(1.0)
        painter.setPen(QPen(QColor(palette.text), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for dot in self._dots:
            if dot.marked:
                painter.drawEllipse(to_point(dot.place), 6.5, 6.5)


DOT_STAMP = 12


def _dot_stamp(palette: Palette, role: str, selected: bool, ratio: float) -> QPixmap:
    """A dot drawn once, since stamping it a thousand times is quick and stroking it is not."""
    stamp = QPixmap(round(DOT_STAMP * ratio), round(DOT_STAMP * ratio))
    stamp.setDevicePixelRatio(ratio)
    stamp.fill(Qt.GlobalColor.transparent)
    painter = QPainter(stamp)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    middle = QPointF(DOT_STAMP / 2, DOT_STAMP / 2)
    if selected:
        painter.setPen(QPen(QColor(palette.accent), 1.5))
        painter.drawEllipse(middle, 4.75, 4.75)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(getattr(palette, role)))
    painter.drawEllipse(middle, 3, 3)
    painter.end()
    return stamp


class ZoneItem(QGraphicsItem):
    """The enclosure of a zone, with its name on the border."""

    def __init__(self, theme: Theme, plan: ZonePlan, text: str) -> None:
        super().__init__()
        self._theme, self.plan, self._text = theme, plan, text
        self._outline = _zone_outline(plan)
        width = metrics(11, 600).horizontalAdvance(text) + 20
        self.label = QRectF(plan.label.x - width / 2, plan.label.y - 10, width, 20)
        self.setZValue(Z_ZONE)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    def boundingRect(self) -> QRectF:
        return self._outline.boundingRect().united(self.label).adjusted(-1, -1, 1, 1)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        palette = self._theme.palette
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(palette.zone_line), 1))
        painter.setBrush(QColor(palette.zone))
        painter.drawPath(self._outline)
        painter.setBrush(QColor(palette.card))
        painter.setPen(QPen(QColor(palette.line), 1))
        painter.drawRoundedRect(self.label, 10, 10)
        paint_text(painter, self.label, self._text, palette.text_2, 11, 600, CENTRE)


def _zone_outline(plan: ZonePlan) -> QPainterPath:
    if plan.box is not None:
        path = QPainterPath()
        path.addRoundedRect(to_rect(plan.box), 12, 12)
        return path
    stroker = QPainterPathStroker()
    stroker.setWidth(plan.width)
    stroker.setCapStyle(Qt.PenCapStyle.RoundCap)
    stroker.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    return stroker.createStroke(_smooth(plan.path)).simplified()


def _smooth(points: tuple[Point, ...]) -> QPainterPath:
    """A Catmull-Rom curve through the points; the first and the last stretch are straight."""
    path = QPainterPath(to_point(points[0]))
    if len(points) < 4:
        for point in points[1:]:
            path.lineTo(to_point(point))
        return path
    inner = points[1:-1]
    path.lineTo(to_point(inner[0]))
    for index in range(len(inner) - 1):
        before, start = inner[max(0, index - 1)], inner[index]
        end, after = inner[index + 1], inner[min(len(inner) - 1, index + 2)]
        path.cubicTo(
            start.x + (end.x - before.x) / 6,
            start.y + (end.y - before.y) / 6,
            end.x - (after.x - start.x) / 6,
            end.y - (after.y - start.y) / 6,
            end.x,
            end.y,
        )
    path.lineTo(to_point(points[-1]))
    return path


@dataclass(frozen=True)
class HopLook:
    """A hop's way and how it is drawn: its slice of the path's gradient, its width, whether bytes move."""

    curve: Curve
    first: float
    last: float
    width: float
    moving: bool
    calm: bool  # the cast has ended
    dim: bool = False
    head: bool = True


class HopItem(QGraphicsItem):
    """One link of the relay chain with its arrow head, kept as a picture; its dots run on top of it."""

    def __init__(self, theme: Theme, look: HopLook) -> None:
        super().__init__()
        self._theme, self.look = theme, look
        self._line, self._head = _hop_path(look)
        self._dots = _RunningDots(self, self._line)
        self._dots.setVisible(look.moving)
        self.setZValue(Z_HOP)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    def show_look(self, look: HopLook) -> None:
        """Draw this from now on."""
        if look == self.look:
            return
        if look.curve != self.look.curve:
            self.prepareGeometryChange()
        self.look = look
        self._line, self._head = _hop_path(look)
        self._dots.follow(self._line)
        self._dots.setVisible(look.moving)
        self.update()

    def run_dots(self, phase: float) -> None:
        """Move the dots to where they are after that many pixels; does nothing for a hop without them."""
        if self.look.moving:
            self._dots.run(phase)

    def boundingRect(self) -> QRectF:
        return self._line.boundingRect().united(self._head.boundingRect()).adjusted(-4, -4, 4, 4)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        palette, look = self._theme.palette, self.look
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        opacity = DIM if look.dim else 0.45 if look.calm else 1.0
        first = mix(palette.path_start, palette.path_end, look.first)
        last = mix(palette.path_start, palette.path_end, look.last)
        first, last = (mix(palette.card, color.name(), opacity) for color in (first, last))
        gradient = QLinearGradient(to_point(look.curve.start), to_point(look.curve.end))
        gradient.setColorAt(0, first)
        gradient.setColorAt(1, last)
        pen = QPen(QBrush(gradient), look.width)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(self._line)
        if look.head:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(last)
            painter.drawPath(self._head)


class _RunningDots(QGraphicsItem):
    """White dots along a hop."""

    def __init__(self, hop: QGraphicsItem, line: QPainterPath) -> None:
        super().__init__(hop)
        self._phase = 0.0
        self._places: list[QPointF] = []
        self._box = QRectF()
        self._line = line
        self.follow(line)

    def follow(self, line: QPainterPath) -> None:
        """Run along this line from now on."""
        self.prepareGeometryChange()
        self._line = line
        self._box = line.boundingRect().adjusted(-2, -2, 2, 2)
        self._places = _pixel_steps(line)

    def run(self, phase: float) -> None:
        """Move to where they are after that many pixels."""
        self._phase = phase
        self.update()

    def boundingRect(self) -> QRectF:
        return self._box

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        color = QColor("#FFFFFF")
        color.setAlphaF(0.85)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        whole, part = divmod(self._phase % DOT_GAP, 1.0)
        places = self._places
        for index in range(int(whole), len(places) - 1, int(DOT_GAP)):
            here, there = places[index], places[index + 1]
            painter.drawEllipse(here + (there - here) * part, 1.0, 1.0)


def _pixel_steps(line: QPainterPath) -> list[QPointF]:
    """Points on a line, a pixel apart. Qt's own walk along a path is too slow for this."""
    points = [line.pointAtPercent(step / 60) for step in range(61)]
    result: list[QPointF] = []
    due = 4.0
    for start, end in pairwise(points):
        way = end - start
        length = math.hypot(way.x(), way.y())
        while due < length:
            result.append(start + way * (due / length))
            due += 1.0
        due -= length
    return result


def _hop_path(look: HopLook) -> tuple[QPainterPath, QPainterPath]:
    """The line, ending inside the head, and the head: 11 long, 12 wide."""
    curve = look.curve
    length = 11.0 if look.width >= 3 else 7.0
    wide = length * 6 / 11
    last = curve.at(0.97)
    angle = math.atan2(curve.end.y - last.y, curve.end.x - last.x)
    along, across = QPointF(math.cos(angle), math.sin(angle)), QPointF(-math.sin(angle), math.cos(angle))
    tip = to_point(curve.end)
    base = tip - along * length
    head = QPainterPath(tip)
    head.lineTo(base + across * wide)
    head.lineTo(base + along * (length * 0.25))
    head.lineTo(base - across * wide)
    head.closeSubpath()
    end = tip - along * (length * 0.7 if look.head else 0)
    line = QPainterPath(to_point(curve.start))
    line.cubicTo(to_point(curve.control_1), to_point(curve.control_2), end)
    return line, head


class RateItem(QGraphicsItem):
    """A hop's rate, in a pill when the hop lags."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.text, self.lagging, self.dim = "", False, False
        self._box = QRectF()
        self.setZValue(Z_RATE)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    @staticmethod
    def room(text: str, lagging: bool) -> tuple[float, float]:
        """Width and height of a rate."""
        width = metrics(11, 600, True).horizontalAdvance(text)
        return (width + 18, 20.0) if lagging else (width + 8, 16.0)

    def show_rate(self, text: str, box: Box, *, lagging: bool, dim: bool) -> None:
        """Stand at `box` from now on."""
        rect = to_rect(box)
        if (text, lagging, dim, rect) != (self.text, self.lagging, self.dim, self._box):
            self.prepareGeometryChange()
            self.text, self.lagging, self.dim, self._box = text, lagging, dim, rect
            self.update()

    def boundingRect(self) -> QRectF:
        return self._box.adjusted(-1, -1, 1, 1)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        palette = self._theme.palette
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setOpacity(DIM if self.dim else 1.0)
        if self.lagging:
            painter.setPen(QPen(QColor(palette.warn_line), 1))
            painter.setBrush(QColor(palette.warn_soft))
            painter.drawRoundedRect(self._box, 10, 10)
        color = palette.warn if self.lagging else palette.text
        paint_text(painter, self._box, self.text, color, 11, 600, CENTRE, tabular=True)


class MiddleItem(QGraphicsItem):
    """The shown cast in figures: name, mean percent, bytes and time left."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._box = QRectF()
        self._lines = ("", "", "")
        self.dim = False
        self.setZValue(Z_MIDDLE)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    def show_lines(self, name: str, figure: str, facts: str, box: Box) -> None:
        """Show these lines in `box` from now on."""
        if ((name, figure, facts), to_rect(box)) != (self._lines, self._box):
            self.prepareGeometryChange()
            self._lines, self._box = (name, figure, facts), to_rect(box)
            self.update()

    def boundingRect(self) -> QRectF:
        return self._box

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        palette, box = self._theme.palette, self._box
        name, figure, facts = self._lines
        painter.setOpacity(DIM if self.dim else 1.0)
        top = QRectF(box.x(), box.y(), box.width(), 18)
        paint_text(painter, top, name, palette.text_2, 13, 400, CENTRE, elide=Qt.TextElideMode.ElideMiddle)
        middle = QRectF(box.x(), box.y() + 18, box.width(), 36)
        paint_text(painter, middle, figure, palette.text, 28, 600, CENTRE, tabular=True)
        low = QRectF(box.x(), box.y() + 56, box.width(), 18)
        paint_text(painter, low, facts, palette.text_2, 12, 400, CENTRE, tabular=True)
