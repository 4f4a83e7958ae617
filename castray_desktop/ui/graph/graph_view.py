"""The view of the node graph: zoom, panning, pointer and wheel, and the widgets over the scene."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPoint, QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QFocusEvent,
    QHelpEvent,
    QHideEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPen,
    QPixmapCache,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QGraphicsView, QToolTip

from castray_desktop.ui.graph.graph_input import GraphDrops, GraphKeys
from castray_desktop.ui.graph.graph_scene import GraphScene
from castray_desktop.ui.graph.node_layout import NodeShape
from castray_desktop.ui.graph.overlays import Overlays, ViewContainer
from castray_desktop.ui.graph.scene_items import GridBackground, to_point, to_rect
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import bind_text

ZOOM_MOST = 4.0
ZOOM_STEP = 1.25
DOT_INTERVAL_MS = 60
MAX_EASED = 12  # nodes whose rings glide; each step paints all of them
DOT_SPEED = 11 / 0.6  # pixels a second
CLICK_TOLERANCE = 4
PIXMAP_CACHE_KB = 48 * 1024


class GraphView(QGraphicsView):
    """Shows the scene, and turns the pointer into selections. `keys` and `drops` handle other input.

    Signals: `zoomed(factor)`; `menu_requested(name, global place)`, "" when not on a node;
    `facts_requested(name)`, "" to close the card; `current_changed(name)` when a node was clicked or has
    the keyboard focus; `resized()`, also after zooming and panning; `shown()`.

    The overlays are children of `parent`, since screen readers don't find a view's own children.
    """

    zoomed = Signal(float)
    menu_requested = Signal(str, QPoint)
    facts_requested = Signal(str)
    current_changed = Signal(str)
    resized = Signal()
    shown = Signal()

    def __init__(
        self, theme: Theme, scene: GraphScene, selection: RecipientSelection, parent: ViewContainer
    ) -> None:
        super().__init__(scene, parent)
        self._theme, self._graph, self._selection, self._container = theme, scene, selection, parent
        self.still = False  # nothing moves
        self.zoom = 1.0  # shows the whole scene
        self._press: QPoint | None = None
        self._band: QRect | None = None
        self._pan_from: QPoint | None = None
        self._run = 0.0
        self._laid_out_for: tuple[object, ...] = ()
        self._small_for: tuple[object, ...] = ()  # the size in which the whole scene has small cells
        self._canvas = GridBackground(theme)
        self._dots = QTimer(self, interval=DOT_INTERVAL_MS)
        self._dots.timeout.connect(self._advance_dots)
        self.overlays = Overlays(theme, self, scene, parent)
        self.drops = GraphDrops(self, scene, selection, self.overlays)
        self.keys = GraphKeys(self, scene, selection, self.overlays.side_card)
        self._set_up()
        self._connect_input()
        theme.changed.connect(self._repaint_all)

    def _set_up(self) -> None:
        # The items cache their pixmaps there; a smaller cache would repaint them each time.
        QPixmapCache.setCacheLimit(max(QPixmapCache.cacheLimit(), PIXMAP_CACHE_KB))
        self.setFrameShape(QGraphicsView.Shape.NoFrame)
        self.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.setStyleSheet("QGraphicsView { background: transparent; border: none; }")
        self.viewport().setAutoFillBackground(False)
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.SmartViewportUpdate)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAcceptDrops(True)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(200, 120)
        bind_text(self, self.setAccessibleName, lambda: self.tr("Nodes"))
        bind_text(self, self.viewport().setAccessibleName, lambda: self.tr("Nodes"))
        bind_text(self, self.setAccessibleDescription, self.keys.description)

    def _connect_input(self) -> None:
        keys = self.keys
        keys.current_changed.connect(self.reveal)
        keys.current_changed.connect(self.current_changed)
        keys.facts_requested.connect(self.facts_requested)
        keys.zoom_requested.connect(self.zoom_by)

    # --- size and zoom ---------------------------------------------------------------------

    def set_zoom(self, zoom: float, anchor: QPoint | None = None) -> None:
        """Magnify the scene, up to 4 times, around a position in the view."""
        zoom = min(ZOOM_MOST, max(1.0, zoom))
        if abs(zoom - 1.0) < 0.05:
            zoom = 1.0
        size = self.viewport().size()
        at = anchor or QPoint(size.width() // 2, size.height() // 2)
        share = self._share_at(at)
        self.zoom = zoom
        self.relayout()
        width, height = self._graph.sceneRect().width(), self._graph.sceneRect().height()
        wanted = QPointF(share.x() * width, share.y() * height)
        shift = QPointF(size.width() / 2 - at.x(), size.height() / 2 - at.y()) / self.transform().m11()
        self.centerOn(wanted + shift)
        self.zoomed.emit(zoom)

    def zoom_by(self, steps: int) -> None:
        """Magnify the scene in steps, negative ones back; with 0, show all of it."""
        self.set_zoom(self.zoom * ZOOM_STEP**steps if steps else 1.0)

    def _share_at(self, at: QPoint) -> QPointF:
        scene, rect = self.mapToScene(at), self._graph.sceneRect()
        return QPointF(scene.x() / max(1.0, rect.width()), scene.y() / max(1.0, rect.height()))

    def relayout(self) -> bool:
        """Lay out again if something changed; returns whether it did.

        Large cells grow with the zoom; small ones get more room, and so larger cells.
        """
        if self.zoom > 1.0:
            self._show_bar(False)  # first, since it changes the size
        size = self.viewport().size()
        key = (size.width(), size.height(), self.zoom, self._graph.layout_input())
        if key == self._laid_out_for:
            return False
        self._laid_out_for = key
        centre = self._share_at(self.viewport().rect().center())
        width, height = float(size.width()), float(size.height())
        self.resetTransform()
        whole = (self.size(), self._container.below, self._graph.layout_input())
        if self.zoom == 1.0 or whole != self._small_for:
            self._show_whole(width, height)
            self._small_for = whole if self._graph.layout.cell is not NodeShape.FULL else ()
        if self.zoom > 1.0:
            if self._small_for:
                self._graph.fit(width * self.zoom, height * self.zoom)
            else:
                self.scale(self.zoom, self.zoom)
            scene = self._graph.sceneRect()
            self.centerOn(centre.x() * scene.width(), centre.y() * scene.height())
        self._show_bar(self.zoom == 1.0 and self._graph.layout.height > height + 0.5)
        self.refresh_motion()
        return True

    def prepare(self, width: float, height: float) -> None:
        """Compute the layout for the size that the view will have when it is shown."""
        self._laid_out_for = ()  # the same nodes may be there again by then
        self._show_bar(taller := self._graph.preview_layout(width, height).height > height + 0.5)
        self._graph.fit(width - taller * self.verticalScrollBar().sizeHint().width(), height)

    def _show_bar(self, shown: bool) -> None:
        policy = Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(policy.ScrollBarAlwaysOn if shown else policy.ScrollBarAlwaysOff)

    def _show_whole(self, width: float, height: float) -> None:
        self._graph.fit(width, height)
        if self._container.below and self._graph.layout.cell in (NodeShape.GLYPH, NodeShape.DOT):
            # Show a part in the size without a card below rather than everything in tiny cells.
            self._graph.fit(width, height + self._container.below)

    # --- motion ----------------------------------------------------------------------------

    def reduce_motion(self, still: bool) -> None:
        """Stop the dots, or let them move while a cast moves data."""
        self.still = still
        self.refresh_motion()

    def refresh_motion(self) -> None:
        """Run the dots' timer only while a cast moves data and the view is visible."""
        run = self._graph.path.moving and self.isVisible() and not self.still
        if run != self._dots.isActive():
            self._dots.start() if run else self._dots.stop()
        eased = run and len(self._graph.items_by_name) <= MAX_EASED
        if eased is not self._graph.easing:
            self._graph.easing = eased
            self._graph.refresh()  # rings jump from now on, or glide from where they are

    def _advance_dots(self) -> None:
        if self.window().isMinimized():
            return
        self._run = (self._run + DOT_SPEED * DOT_INTERVAL_MS / 1000) % 1100
        self._graph.path.advance_dots(self._run)
        if self._graph.easing:
            self._graph.ease()

    # --- pointer ---------------------------------------------------------------------------

    def _click(self, name: str, *, adds: bool) -> None:
        self.current_changed.emit(name)
        if name and name != self._selection.source:
            self._selection.toggle(name) if adds else self._selection.select_only(name)
        elif not name and not adds:
            self._selection.clear()

    def _finish_band(self, band: QRect, *, adds: bool) -> None:
        area = self.mapToScene(band).boundingRect()
        found = self._graph.nodes_in(area)
        self._selection.set_selected(found | self._selection.selected() if adds else found)

    def _pan(self, place: QPoint) -> None:
        if self._pan_from is not None:
            moved = place - self._pan_from
            self._pan_from = place
            self.horizontalScrollBar().setValue(self.horizontalScrollBar().value() - moved.x())
            self.verticalScrollBar().setValue(self.verticalScrollBar().value() - moved.y())

    # --- single nodes ----------------------------------------------------------------------

    def reveal(self, name: str) -> None:
        """Scroll to this node; does nothing for an unknown one."""
        place = self._graph.place(name)
        if place is not None:
            self.ensureVisible(to_rect(self._graph.layout.cell.box(place)), 8, 8)

    def go_to(self, name: str) -> None:
        """Move the keyboard focus to this node."""
        self.setFocus(Qt.FocusReason.OtherFocusReason)
        self.keys.focus(name if self._graph.place(name) is not None else "")

    @property
    def dragging(self) -> bool:
        """Whether files are dragged over the graph."""
        return self._graph.dragging

    # --- Qt --------------------------------------------------------------------------------

    def drawBackground(self, painter: QPainter, rect: QRectF | QRect) -> None:
        self._canvas.paint(painter, QRectF(rect), self.devicePixelRatioF())

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:
        if self._band is not None:
            fill = self._theme.color("accent")
            painter.setPen(QPen(fill, 1))
            fill.setAlphaF(0.12)
            painter.setBrush(fill)
            painter.drawRect(self.mapToScene(self._band).boundingRect())

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() is QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self._graph.tool_tip_at(self.mapToScene(event.pos())), self)
            return True
        return super().viewportEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        place = event.position().toPoint()
        if event.button() is Qt.MouseButton.MiddleButton or (
            event.button() is Qt.MouseButton.LeftButton and self.keys.space
        ):
            self._pan_from = place
            self.keys.use_space()
            self.viewport().setCursor(Qt.CursorShape.ClosedHandCursor)
        elif event.button() is Qt.MouseButton.LeftButton:
            self._press = place
            self._graph.focus_node = ""
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = event.position().toPoint()
        if self._pan_from is not None:
            self._pan(place)
            return
        if self._press is not None:
            on_canvas = not self._graph.node_at(self.mapToScene(self._press))
            far = (place - self._press).manhattanLength() > CLICK_TOLERANCE
            if self._band is not None or (on_canvas and far):
                self._band = QRect(self._press, place).normalized()
                self.viewport().update()
                return
        super().mouseMoveEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._pan_from is not None:
            self._pan_from = None
            self.viewport().unsetCursor()
            return
        if self._press is None or event.button() is not Qt.MouseButton.LeftButton:
            return
        adds = bool(
            event.modifiers() & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
        )
        press, band = self._press, self._band
        self._press = self._band = None
        if band is not None:
            self._finish_band(band, adds=adds)
        else:
            scene = self.mapToScene(press)
            members = self._graph.zone_at(scene)
            if members:
                self._selection.set_selected({*members, *(self._selection.selected() if adds else ())})
            else:
                self._click(self._graph.node_at(scene), adds=adds)
        self._graph.refresh()
        self.viewport().update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        name = self._graph.node_at(self.mapToScene(event.position().toPoint()))
        plain = event.button() is Qt.MouseButton.LeftButton and not event.modifiers()
        self.mousePressEvent(event)
        if name and plain and not self.keys.space:
            self.facts_requested.emit(name)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            steps = event.angleDelta().y() / 120
            self.set_zoom(self.zoom * ZOOM_STEP**steps, event.position().toPoint())
            event.accept()
        else:
            super().wheelEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        self.keys.press(event)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        if not self.keys.release(event):
            super().keyReleaseEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.keys.focus_in(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.keys.focus_out(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if event.reason() is QContextMenuEvent.Reason.Keyboard:
            name = self._graph.focus_node
            spot = self._graph.places().get(name)
            place = self.mapFromScene(to_point(spot)) if spot else self.viewport().rect().center()
        else:
            place = event.pos()
            name = self._graph.node_at(self.mapToScene(place))
        self.menu_requested.emit(name, self.viewport().mapToGlobal(place))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        self.drops.enter(event)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        self.drops.move(event)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.drops.leave()

    def dropEvent(self, event: QDropEvent) -> None:
        self.drops.drop(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self.isVisible():  # else it is laid out when it is shown
            self.relayout()
        self.zoomed.emit(self.zoom)
        self.resized.emit()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        super().scrollContentsBy(dx, dy)
        self.resized.emit()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self.relayout():
            self._graph.refresh()
        self.refresh_motion()
        self.shown.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.refresh_motion()

    def sizeHint(self) -> QSize:
        return QSize(736, 424)

    def _repaint_all(self) -> None:
        for item in self._graph.items():  # each keeps a picture in the old colours
            item.update()
        self.viewport().update()
