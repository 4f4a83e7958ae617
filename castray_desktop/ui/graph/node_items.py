"""Graphics items of nodes: a circle with its state, or one dot among many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPen, QPixmap

from castray_desktop.ui.graph.node_layout import (
    NAME_WIDTHS,
    SMALL_NAME_HEIGHT,
    SMALL_NAME_TOP,
    SOURCE_HALF,
    SOURCE_RADIUS,
    NodeShape,
    Point,
)
from castray_desktop.ui.graph.scene_items import (
    DIM_OPACITY,
    Z_NODE,
    Z_TAG,
    SceneItem,
    draw_icon,
    to_point,
    to_rect,
)
from castray_desktop.ui.theme.theme import ON_GRADIENT, SOURCE_END, SOURCE_START, Palette, Theme
from castray_desktop.ui.transfers.transfer_text import percent_text
from castray_desktop.ui.widgets.painting import CENTRE, metrics, paint_text
from castray_desktop.ui.widgets.status_glyphs import GlyphState, paint_glyph

ELIDED = Qt.TextElideMode.ElideMiddle
"""Names of a cluster often begin alike, and differ at their ends."""


@dataclass(frozen=True)
class NodeHighlights:
    """What pointer, keyboard and drags change in a node's appearance."""

    selected: bool
    focused: bool  # by the keyboard
    target: bool  # of a drag
    dim: bool


@dataclass(frozen=True)
class NodeAppearance:
    """Everything that is drawn of a node."""

    title: str
    facts: str
    facts_role: str
    source: bool
    offline: bool
    highlights: NodeHighlights
    share: float | None  # of a cast's bytes, 0..1; None: not part of it
    bar_role: str
    glyph: GlyphState
    badge: GlyphState | None


SMALL = (NodeShape.NAMED, NodeShape.GLYPH)

TAG_HEIGHT = 20.0

EASED_PART, EASED_ENOUGH = 0.35, 0.002  # share of the remaining distance at each step; distance to stop at


class NodeItem(SceneItem):
    """A node: ring, percent or icon, badges, name and facts, as far as its cell has space."""

    def __init__(self, theme: Theme, appearance: NodeAppearance, cell: NodeShape) -> None:
        super().__init__(theme, Z_NODE)
        self.appearance, self.cell = appearance, cell
        self._name_width = 0.0  # 0: the usual one of the cell
        self._tag = QRectF()  # the name of a small node; empty while it is not shown
        self.shown = appearance.share  # of the ring; `ease` moves it to the appearance's
        self.hovered = False
        self.setAcceptHoverEvents(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def set_appearance(
        self, appearance: NodeAppearance, cell: NodeShape, name_width: float = 0.0, *, eased: bool = False
    ) -> None:
        """Draw this from now on; paints only when something is different.

        Eased, the ring stays where it is, and `ease` moves it.
        """
        snaps = not eased or appearance.share is None or self.shown is None
        if snaps and self.shown != appearance.share:
            self.shown = appearance.share
            self.update()
        if (appearance, cell, name_width) == (self.appearance, self.cell, self._name_width):
            return
        before = (self.cell, self._name_width, self.appearance.source)
        if (cell, name_width, appearance.source) != before:
            self.prepareGeometryChange()
        self.appearance, self.cell, self._name_width = appearance, cell, name_width
        self._place_tag()
        self.update()

    def _place_tag(self) -> None:
        """Show the name of a small node, if that is not to be seen, while pointer or keyboard are there."""
        tag = self._new_tag() if self.hovered or self.appearance.highlights.focused else QRectF()
        if tag != self._tag:
            self.prepareGeometryChange()
            self._tag = tag
            self.setZValue(Z_NODE if tag.isNull() else Z_TAG)
            self.update()

    def _new_tag(self) -> QRectF:
        """Above the node, and inside of the scene."""
        width = metrics(11, 600).horizontalAdvance(self.appearance.title)
        if self.appearance.source or self.cell not in SMALL or width <= self._small_name().width():
            return QRectF()
        tag = QRectF(0, -self.radius - 8 - TAG_HEIGHT, width + 16, TAG_HEIGHT)
        tag.moveLeft(-tag.width() / 2)
        scene = self.scene().sceneRect().translated(-self.pos()) if self.scene() is not None else QRectF()
        if tag.top() < scene.top() + 2:
            tag.moveTop(self.radius + 8)
        tag.moveLeft(max(scene.left() + 2, min(tag.left(), scene.right() - 2 - tag.width())))
        return tag

    def _small_name(self) -> QRectF:
        """Where the name is below a glyph; empty where there is none."""
        if self.cell is not NodeShape.NAMED:
            return QRectF()
        width = self._name_width or NAME_WIDTHS[self.cell]
        return QRectF(-width / 2, SMALL_NAME_TOP, width, SMALL_NAME_HEIGHT)

    def ease(self) -> None:
        """Move the ring a part of the remaining distance."""
        if self.shown is None or self.appearance.share is None or self.shown == self.appearance.share:
            return
        left = self.appearance.share - self.shown
        self.shown = self.appearance.share if abs(left) < EASED_ENOUGH else self.shown + left * EASED_PART
        self.update()

    @property
    def radius(self) -> float:
        return SOURCE_RADIUS if self.appearance.source else self.cell.radius

    # --- parts -----------------------------------------------------------------------------

    def _paint_source(self, painter: QPainter, palette: Palette) -> None:
        radius = SOURCE_RADIUS
        gradient = QLinearGradient(-radius, -radius, radius, radius)
        gradient.setColorAt(0, QColor(SOURCE_START))
        gradient.setColorAt(1, QColor(SOURCE_END))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawEllipse(QPointF(0, 0), radius, radius)
        draw_icon(painter, QPointF(0, 0), "monitor-up", ON_GRADIENT, 24)
        self._paint_labels(painter, palette)

    def _paint_ring(self, painter: QPainter, palette: Palette) -> None:
        appearance, radius = self.appearance, float(self.cell.radius)
        painter.setBrush(QColor(palette.card))
        if appearance.offline:
            pen = QPen(QColor(palette.offline), 1.5)
            pen.setDashPattern([2.6, 2.2])
            painter.setPen(pen)
            painter.drawEllipse(QPointF(0, 0), radius, radius)
            size = 20 if self.cell is NodeShape.FULL else 16
            draw_icon(painter, QPointF(0, 0), "unplug", palette.offline, size)
            return
        width = 4.0 if self.cell is NodeShape.FULL else 3.0
        inner = radius - width / 2
        painter.setPen(QPen(QColor(palette.track), width))
        painter.drawEllipse(QPointF(0, 0), inner, inner)
        if self.shown is not None and self.shown > 0:
            pen = QPen(QColor(getattr(palette, appearance.bar_role)), width)
            pen.setCapStyle(Qt.PenCapStyle.RoundCap)
            painter.setPen(pen)
            arc = QRectF(-inner, -inner, 2 * inner, 2 * inner)
            painter.drawArc(arc, 90 * 16, -round(min(1.0, self.shown) * 360 * 16))
        self._paint_inside(painter, palette, radius)

    def _paint_inside(self, painter: QPainter, palette: Palette, radius: float) -> None:
        appearance, full = self.appearance, self.cell is NodeShape.FULL
        if appearance.share is None:
            draw_icon(painter, QPointF(0, 0), "server", palette.text_2, 20 if full else 16)
            return
        area, size = QRectF(-radius, -radius, 2 * radius, 2 * radius), 13 if full else 11
        text = percent_text(appearance.share)
        paint_text(painter, area, text, palette.text, size, 600, CENTRE, tabular=True)

    def _paint_marks(self, painter: QPainter, palette: Palette) -> None:
        highlights, badge = self.appearance.highlights, self.appearance.badge
        radius, full = float(self.cell.radius), self.cell is NodeShape.FULL
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if highlights.target or highlights.selected:
            gap = 7 if full or highlights.target else 5
            painter.setPen(QPen(QColor(palette.accent), 3 if highlights.target else 2))
            painter.drawEllipse(QPointF(0, 0), radius + gap, radius + gap)
        if highlights.focused:
            pen = QPen(QColor(palette.accent), 1.5)
            pen.setDashPattern([3, 2])
            painter.setPen(pen)
            painter.drawEllipse(QPointF(0, 0), radius + 11, radius + 11)
        at = self.cell.badge
        if highlights.selected:
            self._paint_tick_badge(painter, palette, QPointF(at, -at), 9 if full else 7)
        if badge is not None:
            self._paint_badge(painter, palette, QPointF(at, at), badge, 18 if full else 14)

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
        appearance = self.appearance
        name_color = palette.text_3 if appearance.offline else palette.text
        if self.cell is not NodeShape.FULL and not appearance.source:
            half = NAME_WIDTHS[NodeShape.COMPACT] / 2
            name = QRectF(-half, self.cell.radius + 7, 2 * half, 15)
            paint_text(painter, name, appearance.title, name_color, 11, 600, CENTRE, elide=ELIDED)
            return
        half = SOURCE_HALF - 1 if appearance.source else NAME_WIDTHS[NodeShape.FULL] / 2
        name = QRectF(-half, 37, 2 * half, 18)
        paint_text(painter, name, appearance.title, name_color, 13, 600, CENTRE, elide=ELIDED)
        color = getattr(palette, appearance.facts_role)
        paint_text(painter, QRectF(-half, 54, 2 * half, 16), appearance.facts, color, 11, 400, CENTRE)

    def _paint_small(self, painter: QPainter, palette: Palette) -> None:
        """A glyph with a ring round it when the node is selected, and the name where it has space."""
        appearance, highlights = self.appearance, self.appearance.highlights
        radius = float(self.cell.radius)
        paint_glyph(painter, QRectF(-8, -8, 16, 16), appearance.badge or appearance.glyph, palette)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(palette.accent), 2))
        if highlights.selected or highlights.target:
            painter.drawEllipse(QPointF(0, 0), radius + 4, radius + 4)
        if highlights.focused or highlights.target:
            below = 1 if self.cell is NodeShape.NAMED else -1  # the name reaches down to the cell's edge
            painter.drawRect(self._cell_rect().adjusted(1, 1, -1, below))
        name = self._small_name()
        color = palette.text_3 if appearance.offline else palette.text
        if not name.isNull():
            paint_text(painter, name, appearance.title, color, 11, 500, CENTRE, elide=ELIDED)
        if not self._tag.isNull():
            painter.setPen(QPen(QColor(palette.line_strong), 1))
            painter.setBrush(QColor(palette.card))
            painter.drawRoundedRect(self._tag.adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
            paint_text(painter, self._tag, appearance.title, palette.text, 11, 600, CENTRE)

    # --- Qt --------------------------------------------------------------------------------

    def _cell_rect(self) -> QRectF:
        cell = NodeShape.FULL if self.appearance.source else self.cell
        rect = to_rect(cell.box(Point(0, 0)))
        return rect if self.appearance.source else rect.united(self._small_name())

    def boundingRect(self) -> QRectF:
        return self._cell_rect().adjusted(-2, -2, 2, 2).united(self._tag)

    def draw(self, painter: QPainter, palette: Palette) -> None:
        if self.appearance.highlights.dim:
            painter.setOpacity(DIM_OPACITY)
        if self.appearance.source:
            self._paint_source(painter, palette)
            self._paint_source_marks(painter, palette)
        elif self.cell in (NodeShape.FULL, NodeShape.COMPACT):
            if self.hovered and not self.appearance.highlights.selected and not self.appearance.offline:
                painter.setPen(QPen(QColor(palette.line_strong), 2))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                gap = 7 if self.cell is NodeShape.FULL else 5
                painter.drawEllipse(QPointF(0, 0), self.radius + gap, self.radius + gap)
            self._paint_ring(painter, palette)
            self._paint_marks(painter, palette)
            self._paint_labels(painter, palette)
        else:
            self._paint_small(painter, palette)

    def _paint_source_marks(self, painter: QPainter, palette: Palette) -> None:
        """The shown cast's source may be a recipient of the next one."""
        highlights = self.appearance.highlights
        if highlights.focused or highlights.selected or highlights.target:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(palette.accent), 3 if highlights.target else 2))
            painter.drawEllipse(QPointF(0, 0), SOURCE_RADIUS + 4, SOURCE_RADIUS + 4)
        if highlights.selected:
            self._paint_tick_badge(painter, palette, QPointF(SOURCE_RADIUS * 0.8, -SOURCE_RADIUS * 0.8), 9)

    def hoverEnterEvent(self, event: object) -> None:
        self._set_hovered(True)

    def hoverLeaveEvent(self, event: object) -> None:
        self._set_hovered(False)

    def _set_hovered(self, hovered: bool) -> None:
        self.hovered = hovered
        self._place_tag()
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
    GlyphState.CANCELLED: "offline",
}


class Dot(NamedTuple):
    """A node as a dot. A tuple, since a thousand are made ten times a second."""

    place: Point
    state: GlyphState
    selected: bool
    marked: bool  # the keyboard's, or a drag's target


class DotsItem(SceneItem):
    """Every recipient as a dot, painted in a few strokes: up to 1,000 of them change ten times a second."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, Z_NODE)
        self._dots: tuple[Dot, ...] = ()

    def show_dots(self, dots: tuple[Dot, ...], box: QRectF, *, dim: bool) -> None:
        """Draw these, all inside `box`."""
        if (dots, box, dim) != (self._dots, self._rect, self.dim):
            self._dots, self.dim = dots, dim
            self.set_rect(box)

    def draw(self, painter: QPainter, palette: Palette) -> None:
        ratio = painter.device().devicePixelRatioF()
        stamps: dict[tuple[GlyphState, bool], QPixmap] = {}
        for dot in self._dots:
            appearance = (dot.state, dot.selected)
            stamp = stamps.get(appearance)
            if stamp is None:
                stamp = stamps[appearance] = _dot_stamp(palette, *appearance, ratio)
            painter.drawPixmap(QPointF(dot.place.x - DOT_STAMP / 2, dot.place.y - DOT_STAMP / 2), stamp)
        painter.setOpacity(1.0)
        painter.setPen(QPen(QColor(palette.text), 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for dot in self._dots:
            if dot.marked:
                painter.drawEllipse(to_point(dot.place), 6.5, 6.5)


DOT_STAMP = 12


def _dot_stamp(palette: Palette, state: GlyphState, selected: bool, ratio: float) -> QPixmap:
    """A pixmap of a dot: drawing it a thousand times is faster than stroking."""
    stamp = QPixmap(round(DOT_STAMP * ratio), round(DOT_STAMP * ratio))
    stamp.setDevicePixelRatio(ratio)
    stamp.fill(Qt.GlobalColor.transparent)
    painter = QPainter(stamp)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.translate(DOT_STAMP / 2, DOT_STAMP / 2)
    if selected:
        painter.setPen(QPen(QColor(palette.accent), 1.5))
        painter.drawEllipse(QPointF(0, 0), 4.75, 4.75)
    paint_dot(painter, state, QColor(getattr(palette, DOT_ROLES[state])))
    painter.end()
    return stamp


def paint_dot(painter: QPainter, state: GlyphState, color: QColor) -> None:
    """A state in six pixels around the origin; each state has its own shape."""
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)
    match state:
        case GlyphState.ONLINE:
            painter.drawEllipse(QPointF(0, 0), 2, 2)
        case GlyphState.VERIFIED:
            painter.drawRect(QRectF(-2.75, -2.75, 5.5, 5.5))
        case GlyphState.LAGGING:
            painter.drawPolygon([QPointF(0, -3.4), QPointF(3.4, 2.6), QPointF(-3.4, 2.6)])
        case GlyphState.CHECKING:
            painter.drawPie(QRectF(-3, -3, 6, 6), 90 * 16, 180 * 16)
            painter.setPen(QPen(color, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(QPointF(0, 0), 2.75, 2.75)
        case GlyphState.FAILED:
            painter.setPen(QPen(color, 2))
            for slope in (1, -1):
                painter.drawLine(QPointF(-2.5, -2.5 * slope), QPointF(2.5, 2.5 * slope))
        case GlyphState.OFFLINE | GlyphState.QUEUED | GlyphState.PAUSED | GlyphState.CANCELLED:
            painter.setPen(QPen(color, 1.25))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            if state is GlyphState.OFFLINE:
                painter.drawEllipse(QPointF(0, 0), 2.5, 2.5)
            elif state is GlyphState.QUEUED:
                painter.drawLine(QPointF(-2.5, 0), QPointF(2.5, 0))
            elif state is GlyphState.CANCELLED:
                painter.drawLine(QPointF(-2.5, 2.5), QPointF(2.5, -2.5))
            else:
                painter.drawRect(QRectF(-2.25, -2.25, 4.5, 4.5))
        case _:
            painter.drawEllipse(QPointF(0, 0), 3, 3)
