"""The base class of the scene's items, their z-order, and the items around the nodes: grid, zones, the cast's
figures.
"""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPainterPathStroker, QPen, QPixmap
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from castray_desktop.ui.graph.node_layout import Box, Point, ZoneLayout
from castray_desktop.ui.theme.theme import Palette, Theme
from castray_desktop.ui.widgets.painting import CENTRE, metrics, paint_text, pixmap

STEP = 24
TILE = 10 * STEP


class GridBackground:
    """Dots on the canvas, painted from a tile that is drawn once for each theme and screen."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._tile: tuple[tuple[str, float], QPixmap] | None = None

    def paint(self, painter: QPainter, area: QRectF, ratio: float) -> None:
        """Paint this part of the scene; `ratio` is the device pixel ratio."""
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


Z_ZONE, Z_HOP, Z_NODE, Z_RATE, Z_SUMMARY = 1, 2, 3, 4, 5
Z_TAG = 6  # the name of a small node below the pointer
Z_PAUSED, Z_NAME = 2.5, 2.8  # paused hops and the names of zones, above the other hops
DOT_GAP = 11.0
DIM_OPACITY = 0.4
FADED_OPACITY = 0.45  # of the path, after the end of a cast


def path_opacity(dim: bool, faded: bool, usual: float = 1.0) -> float:
    """The opacity of a part of the path."""
    return DIM_OPACITY if dim else FADED_OPACITY if faded else usual


def to_rect(box: Box) -> QRectF:
    """The box as Qt's rectangle."""
    return QRectF(*box)


def to_point(point: Point) -> QPointF:
    """The place as Qt's point."""
    return QPointF(*point)


class SceneItem(QGraphicsItem):
    """An item that Qt caches as a pixmap: `draw` is called only after a change. `dim` makes it pale."""

    def __init__(self, theme: Theme, z: float) -> None:
        super().__init__()
        self._theme = theme
        self._rect = QRectF()  # the bounding rectangle
        self.dim = False
        self.setZValue(z)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)

    def draw(self, painter: QPainter, palette: Palette) -> None:
        """Paint the item; the painter is antialiased."""
        raise NotImplementedError

    def set_rect(self, rect: QRectF) -> None:
        """Set the bounding rectangle, and repaint."""
        if rect != self._rect:
            self.prepareGeometryChange()
            self._rect = rect
        self.update()

    def boundingRect(self) -> QRectF:
        return self._rect

    def paint(
        self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        painter.setOpacity(DIM_OPACITY if self.dim else 1.0)
        self.draw(painter, self._theme.palette)


class ZoneItem(SceneItem):
    """The enclosure of a zone. Its name is an item of its own, since hops are drawn between the two."""

    def __init__(self, theme: Theme, zone: ZoneLayout, text: str) -> None:
        super().__init__(theme, Z_ZONE)
        self.zone = zone
        self._outline = _zone_outline(zone)
        self.name = ZoneName(theme, zone, text)
        self.set_rect(self._outline.boundingRect().adjusted(-1, -1, 1, 1))

    def draw(self, painter: QPainter, palette: Palette) -> None:
        painter.setPen(QPen(QColor(palette.zone_line), 1))
        painter.setBrush(QColor(palette.zone))
        painter.drawPath(self._outline)


class ZoneName(SceneItem):
    """The name of a zone, in a pill."""

    def __init__(self, theme: Theme, zone: ZoneLayout, text: str) -> None:
        super().__init__(theme, Z_NAME)
        self._text = text
        width = metrics(11, 600).horizontalAdvance(text) + 20
        self.label = QRectF(zone.label.x - width / 2, zone.label.y - 10, width, 20)

    def move_clear(self, others: list[QRectF], scene_width: float) -> None:
        """Move the name along the border until it covers none of these, and into the scene."""
        for other in others:
            if self.label.intersects(other):
                ahead = self.label.center().x() >= other.center().x()
                self.label.moveLeft(other.right() + 4 if ahead else other.left() - 4 - self.label.width())
        self.label.moveLeft(max(2.0, min(self.label.left(), scene_width - 2 - self.label.width())))
        self.set_rect(self.label.adjusted(-1, -1, 1, 1))

    def draw(self, painter: QPainter, palette: Palette) -> None:
        painter.setBrush(QColor(palette.card))
        painter.setPen(QPen(QColor(palette.line), 1))
        painter.drawRoundedRect(self.label, 10, 10)
        paint_text(painter, self.label, self._text, palette.text_2, 11, 600, CENTRE)


def _zone_outline(zone: ZoneLayout) -> QPainterPath:
    if zone.box is not None:
        path = QPainterPath()
        path.addRoundedRect(to_rect(zone.box), 12, 12)
        return path
    stroker = QPainterPathStroker()
    stroker.setWidth(zone.width)
    stroker.setCapStyle(Qt.PenCapStyle.RoundCap)
    stroker.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    return stroker.createStroke(_smooth(zone.path)).simplified()


def _smooth(points: tuple[Point, ...]) -> QPainterPath:
    """A Catmull-Rom curve through the points; the first and the last segment are straight."""
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


def to_box(rect: QRectF) -> Box:
    """Qt's rectangle as a box."""
    return Box(rect.x(), rect.y(), rect.width(), rect.height())


def draw_icon(painter: QPainter, centre: QPointF, name: str, color: str, size: int) -> None:
    """Paint an icon in the resolution that the zoom and the screen have."""
    ratio = painter.device().devicePixelRatioF() * max(1.0, painter.worldTransform().m11())
    painter.drawPixmap(centre - QPointF(size / 2, size / 2), pixmap(name, color, size, ratio))


def translucent(card: str) -> QColor:
    """A background for text that leaves what is below it visible."""
    color = QColor(card)
    color.setAlphaF(0.8)
    return color


SUMMARY_ROWS = (  # from the top of the box, height, size and weight of the letters, colour
    (0, 18, 13, 400, "text_2"),
    (18, 36, 28, 600, "text"),
    (56, 18, 12, 400, "text_2"),
)


class CastSummaryItem(SceneItem):
    """The shown cast in figures: name, mean percent, bytes and time left."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, Z_SUMMARY)
        self._lines = ("", "", "")

    def show_lines(self, lines: tuple[str, str, str], box: Box, *, dim: bool) -> None:
        """Show name, figure and facts in `box`."""
        rect = to_rect(box)
        if (lines, rect, dim) != (self._lines, self._rect, self.dim):
            self._lines, self.dim = lines, dim
            self.set_rect(rect)

    def draw(self, painter: QPainter, palette: Palette) -> None:
        box = self._rect
        for text, (down, height, size, weight, role) in zip(self._lines, SUMMARY_ROWS, strict=True):
            width = min(box.width(), metrics(size, weight, True).horizontalAdvance(text) + 12)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(translucent(palette.card))  # keeps the text readable where hops cross it
            top = box.y() + down
            painter.drawRoundedRect(QRectF(box.center().x() - width / 2, top, width, height), 6, 6)
            named, row = down == 0, QRectF(box.x(), top, box.width(), height)
            elide = Qt.TextElideMode.ElideMiddle if named else Qt.TextElideMode.ElideRight
            color = getattr(palette, role)
            paint_text(painter, row, text, color, size, weight, CENTRE, tabular=not named, elide=elide)
