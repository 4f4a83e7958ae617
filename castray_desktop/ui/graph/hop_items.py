"""How the hops of a relay are drawn: lines with arrow heads and rates, or threads among dots.

The items only paint what they are told and know nothing of models; `PathLayer` tells them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QLinearGradient, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from castray_desktop.ui.graph.edge_geometry import Curve
from castray_desktop.ui.graph.node_layout import Box, Point
from castray_desktop.ui.graph.zone_items import (
    CALM,
    DIM,
    DOT_GAP,
    Z_HOP,
    Z_PAUSED,
    Z_RATE,
    ground,
    to_point,
    to_rect,
)
from castray_desktop.ui.theme.theme import Theme, mix
from castray_desktop.ui.widgets.painting import CENTRE, metrics, paint_text
from castray_desktop.ui.widgets.status_glyphs import GlyphState, paint_glyph

SIGN = 14.0  # of a pause
PAUSED_DASHES = [1.0, 4.0]
REPAIR_DASHES, SHORT_DASHES = [4.0, 2.5], [1.6, 1.2]  # in widths of the line


@dataclass(frozen=True)
class HopAppearance:
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
    paused: bool = False  # thin and pale, with the sign of a pause: no bytes take this way for now
    sign_at: float = 0.5  # where on the curve the cross or the sign is


class HopItem(QGraphicsItem):
    """One link of the relay chain with its arrow head, kept as a picture; its dots run on top of it."""

    def __init__(self, theme: Theme, look: HopAppearance) -> None:
        super().__init__()
        self._theme, self.appearance = theme, look
        self._line, self._head = _hop_path(look)
        self._dots = _RunningDots(self, self._line)
        self._dots.setVisible(look.moving)
        self.setZValue(Z_PAUSED if look.paused else Z_HOP)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    def show_look(self, look: HopAppearance) -> None:
        """Draw this from now on."""
        if look == self.appearance:
            return
        if look.curve != self.appearance.curve:
            self.prepareGeometryChange()
        self.appearance = look
        self._line, self._head = _hop_path(look)
        self._dots.follow(self._line)
        self._dots.setVisible(look.moving)
        self.setZValue(Z_PAUSED if look.paused else Z_HOP)
        self.update()

    def run_dots(self, phase: float) -> None:
        """Move the dots to where they are after that many pixels; does nothing for a hop without them."""
        if self.appearance.moving:
            self._dots.run(phase)

    def boundingRect(self) -> QRectF:
        return self._line.boundingRect().united(self._head.boundingRect()).adjusted(-8, -8, 8, 8)

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        palette, look = self._theme.palette, self.appearance
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if look.failed:
            self._paint_failed(painter)
            return
        opacity = DIM if look.dim else CALM if look.calm or look.paused else 1.0
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
            if look.paused:
                self._paint_pause(painter)

    def _paint_pause(self, painter: QPainter) -> None:
        """Told from a hop that waits for its first bytes, whatever the colours."""
        middle = to_point(self.appearance.curve.at(self.appearance.sign_at))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self._theme.palette.card))
        painter.drawEllipse(middle, SIGN / 2 + 1, SIGN / 2 + 1)
        painter.setOpacity(DIM if self.appearance.dim else 1.0)
        place = QRectF(middle.x() - SIGN / 2, middle.y() - SIGN / 2, SIGN, SIGN)
        paint_glyph(painter, place, GlyphState.PAUSED, self._theme.palette)

    def _paint_failed(self, painter: QPainter) -> None:
        """Told from a whole one by its dashes and its cross, whatever the colours."""
        palette = self._theme.palette
        color = mix(palette.card, palette.bad_fill, DIM if self.appearance.dim else 1.0)
        pen = QPen(color, 2)
        pen.setDashPattern([2.5, 2.5])
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(self._line)
        middle = to_point(self.appearance.curve.at(self.appearance.sign_at))
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


def _hop_path(look: HopAppearance) -> tuple[QPainterPath, QPainterPath]:
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
        self.threads: tuple[tuple[Thread, ...], ...] = ((), (), (), ())
        self._lines: tuple[list[QLineF], ...] = ([], [], [], [])
        self._box = QRectF()
        self._dim = False
        self.setZValue(Z_HOP)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    def show_threads(self, threads: tuple[tuple[Thread, ...], ...], box: QRectF, *, dim: bool) -> None:
        """Draw these from now on, all inside `box`: whole hops, failed ones, repairs, paused ones."""
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
        pen = QPen(QColor(palette.offline), 1)
        pen.setDashPattern(PAUSED_DASHES)
        painter.setPen(pen)
        painter.drawLines(self._lines[3])


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
            painter.setBrush(ground(palette.card))
            painter.drawRoundedRect(self._box, 6, 6)
        color = palette.warn if self.lagging else palette.text
        paint_text(painter, self._box, self.text, color, 11, 600, CENTRE, tabular=True)
