"""What stands around the nodes of the graph: zones, hops, rates and the figures in the middle.

The items only paint what they are told and know nothing of models; `NodeGraph` tells them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import (
    QBrush,
    QColor,
    QLinearGradient,
    QPainter,
    QPainterPath,
    QPainterPathStroker,
    QPen,
)
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from castray_desktop.ui.controls.painting import CENTRE, metrics, paint_text
from castray_desktop.ui.graph.graph_layout import Box, Curve, Point, ZonePlan
from castray_desktop.ui.theme import Theme, mix

REPAIR_DASHES, SHORT_DASHES = [4.0, 2.5], [1.6, 1.2]  # in widths of the line
Z_ZONE, Z_HOP, Z_NODE, Z_RATE, Z_MIDDLE = 1, 2, 3, 4, 5
DOT_GAP = 11.0
DIM = 0.4
CALM = 0.45  # once a cast has ended


def to_rect(box: Box) -> QRectF:
    """The box as Qt's rectangle."""
    return QRectF(*box)


def to_point(point: Point) -> QPointF:
    """The place as Qt's point."""
    return QPointF(*point)


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

    def keep_clear_of(self, others: list[QRectF]) -> None:
        """Move the name along the border until it covers none of these."""
        for other in others:
            if self.label.intersects(other):
                self.prepareGeometryChange()
                ahead = self.label.center().x() >= other.center().x()
                self.label.moveLeft(other.right() + 4 if ahead else other.left() - 4 - self.label.width())

    def keep_within(self, width: float) -> None:
        """Move the name until it lies in a scene of that width."""
        left = max(2.0, min(self.label.left(), width - 2 - self.label.width()))
        if left != self.label.left():
            self.prepareGeometryChange()
            self.label.moveLeft(left)

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
    failed: bool = False  # dashed, with a cross: bytes will not take this way any more
    repair: bool = False  # thin and in long dashes: only what datagrams did not bring takes this way


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
        return self._line.boundingRect().united(self._head.boundingRect()).adjusted(-8, -8, 8, 8)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        palette, look = self._theme.palette, self.look
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if look.failed:
            self._paint_failed(painter)
            return
        opacity = DIM if look.dim else CALM if look.calm else 1.0
        first = mix(palette.path_start, palette.path_end, look.first)
        last = mix(palette.path_start, palette.path_end, look.last)
        first, last = (mix(palette.card, color.name(), opacity) for color in (first, last))
        gradient = QLinearGradient(to_point(look.curve.start), to_point(look.curve.end))
        gradient.setColorAt(0, first)
        gradient.setColorAt(1, last)
        pen = QPen(QBrush(gradient), look.width)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        if look.repair:
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)
            pen.setDashPattern(REPAIR_DASHES if look.head else SHORT_DASHES)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(self._line)
        if look.head:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(last)
            painter.drawPath(self._head)

    def _paint_failed(self, painter: QPainter) -> None:
        """Told from a whole one by its dashes and its cross, whatever the colours."""
        palette = self._theme.palette
        color = mix(palette.card, palette.bad_fill, DIM if self.look.dim else 1.0)
        pen = QPen(color, 2)
        pen.setDashPattern([2.5, 2.5])
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(self._line)
        middle = to_point(self.look.curve.at(0.5))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(palette.card))
        painter.drawEllipse(middle, 7, 7)
        pen = QPen(color, 2)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        for slope in (1, -1):
            painter.drawLine(middle + QPointF(-3.5, -3.5 * slope), middle + QPointF(3.5, 3.5 * slope))


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


Thread = tuple[Point, Point]


class ThreadsItem(QGraphicsItem):
    """The hops between dots: as many as there are nodes, painted as a path for each kind."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.threads: tuple[tuple[Thread, ...], ...] = ((), (), ())
        self._lines: tuple[list[QLineF], ...] = ([], [], [])
        self._box = QRectF()
        self._dim = False
        self.setZValue(Z_HOP)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    def show_threads(self, threads: tuple[tuple[Thread, ...], ...], box: QRectF, *, dim: bool) -> None:
        """Draw these from now on, all of them inside `box`: whole hops, failed ones and repairs."""
        if (threads, box, dim) == (self.threads, self._box, self._dim):
            return
        if box != self._box:
            self.prepareGeometryChange()
        self.threads, self._box, self._dim = threads, box, dim
        self._lines = tuple(_lines(kind) for kind in threads)
        self.update()

    def boundingRect(self) -> QRectF:
        return self._box

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        palette = self._theme.palette
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setOpacity((DIM if self._dim else 1.0) * 0.6)
        painter.setPen(QPen(QColor(palette.path_start), 1))
        painter.drawLines(self._lines[0])
        pen = QPen(QColor(palette.bad_fill), 1)
        pen.setDashPattern([3, 3])
        painter.setPen(pen)
        painter.drawLines(self._lines[1])
        pen = QPen(QColor(palette.path_end), 1)
        pen.setDashPattern(SHORT_DASHES)
        painter.setPen(pen)
        painter.drawLines(self._lines[2])


def _lines(threads: tuple[Thread, ...]) -> list[QLineF]:
    return [QLineF(to_point(start), to_point(end)) for start, end in threads]


class RateItem(QGraphicsItem):
    """A hop's rate, in a pill when the hop lags."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.text, self.lagging, self.dim, self._over = "", False, False, False
        self._box = QRectF()
        self.setZValue(Z_RATE)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    @staticmethod
    def room(text: str, lagging: bool) -> tuple[float, float]:
        """Width and height of a rate."""
        width = metrics(11, 600, True).horizontalAdvance(text)
        return (width + 18, 20.0) if lagging else (width + 8, 16.0)

    def show_rate(self, text: str, box: Box, *, lagging: bool, dim: bool, over: bool = False) -> None:
        """Stand at `box` from now on; `over` a line it gets a ground to be read on."""
        rect, now = to_rect(box), (text, lagging, dim, over)
        if (now, rect) != ((self.text, self.lagging, self.dim, self._over), self._box):
            self.prepareGeometryChange()
            (self.text, self.lagging, self.dim, self._over), self._box = now, rect
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
        elif self._over:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(_ground(palette.card))
            painter.drawRoundedRect(self._box, 6, 6)
        color = palette.warn if self.lagging else palette.text
        paint_text(painter, self._box, self.text, color, 11, 600, CENTRE, tabular=True)


def _ground(card: str) -> QColor:
    """What lies below stays visible, but does not make words hard to read."""
    color = QColor(card)
    color.setAlphaF(0.8)
    return color


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

    def _clear_behind(self, painter: QPainter) -> None:
        """Hops that cross the figures' room stay visible, but don't make them hard to read."""
        ground = _ground(self._theme.palette.card)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        sizes = ((0, 18, 13, 400), (18, 36, 28, 600), (56, 18, 12, 400))
        for text, (down, height, size, weight) in zip(self._lines, sizes, strict=True):
            width = min(self._box.width(), metrics(size, weight, True).horizontalAdvance(text) + 12)
            left = self._box.center().x() - width / 2
            painter.drawRoundedRect(QRectF(left, self._box.y() + down, width, height), 6, 6)

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
        self._clear_behind(painter)
        top = QRectF(box.x(), box.y(), box.width(), 18)
        paint_text(painter, top, name, palette.text_2, 13, 400, CENTRE, elide=Qt.TextElideMode.ElideMiddle)
        middle = QRectF(box.x(), box.y() + 18, box.width(), 36)
        paint_text(painter, middle, figure, palette.text, 28, 600, CENTRE, tabular=True)
        low = QRectF(box.x(), box.y() + 56, box.width(), 18)
        paint_text(painter, low, facts, palette.text_2, 12, 400, CENTRE, tabular=True)
