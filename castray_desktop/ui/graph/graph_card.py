"""The card with the node graph: title, selection, zoom, legend, and the graph itself.

It draws the watched cast of the `NodeList`. Signals of `GraphCard`:

- `browse_requested(frozenset[str] names)`: "Send files here…" was chosen for these nodes.
- `receiving_changed(str cast, str node, bool)`: that node's share of the drawn cast is to go on, or to pause.
- `add_node_requested()`, `remove_node_requested(str)`: from the context menu.
- `inbox_requested(str folder)`: an inbox on this computer is to be opened.

Those of `drops` are about files that are dragged over the graph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial

from PySide6.QtCore import QObject, QPoint, QRect, QRectF, QSize, QTimer, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QVBoxLayout, QWidget

from castray_desktop.core.protocol.messages import NodeState
from castray_desktop.ui.graph.graph_appearance import cast_line
from castray_desktop.ui.graph.graph_scene import GraphScene
from castray_desktop.ui.graph.graph_view import ZOOM_MOST, GraphView
from castray_desktop.ui.graph.node_layout import NodeShape
from castray_desktop.ui.graph.overlays import LEGEND_SIDE, STRIP, ViewContainer
from castray_desktop.ui.graph.side_card import CastOnNode, facts_of
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.model.desktop_services import BackgroundChecks, copy
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_actions import can_pause_delivery, can_resume_delivery
from castray_desktop.ui.transfers.path_text import path_lines
from castray_desktop.ui.widgets.basic_widgets import Card, ElidedLabel, icon_button, label, lay_in
from castray_desktop.ui.widgets.fields import SegmentedButtons
from castray_desktop.ui.widgets.popups import open_menu

TITLE_BAR = 48
COMPACT_WIDTH, COMPACT_HEIGHT = 600, 420
REFRESH_AGES_MS, REFRESH_CARD_MS = 30_000, 250


class SideCardController(QObject):
    """Opens the side card for a node, keeps its facts and its place up to date, and closes it.

    The view's `facts_requested` opens it, and `current_changed` moves it to another node. It closes by Esc,
    its button, the key that opened it, and when the node is gone. Signal: `moved()` when it covers another
    area.
    """

    moved = Signal()

    def __init__(
        self,
        container: ViewContainer,
        view: GraphView,
        nodes: NodeList,
        under_way_on: Callable[[str], Iterable[CastOnNode]],
        now: Callable[[], float],
    ) -> None:
        super().__init__(view)
        self._container, self._view, self._nodes = container, view, nodes
        self._under_way_on, self._now = under_way_on, now
        self._card = view.overlays.side_card
        self.node = ""  # "" while it is closed
        self._covers = QRect()
        self._refresh_timer = QTimer(self, singleShot=True, interval=REFRESH_CARD_MS)
        self._refresh_timer.timeout.connect(self.refresh)
        view.facts_requested.connect(self.show)
        view.current_changed.connect(self._follow_current)
        view.resized.connect(self.refresh)
        view.drops.drop_hint.connect(self._update_visibility)
        self._card.close_requested.connect(self.close)

    def show(self, name: str) -> None:
        """Show this node's facts; "" closes the card."""
        if not name:
            self.close()
            return
        self.node = name
        self.refresh()
        self._view.reveal(name)

    def close(self) -> None:
        """Hide the card; the keyboard focus returns to the graph if it was on the card."""
        name, self.node = self.node, ""
        focused: QWidget | None = self._view.window().focusWidget()
        had_focus = focused is not None and self._card.isAncestorOf(focused)
        self._refresh_timer.stop()
        self._card.hide()
        self._container.reserve(side=0, below=0)
        self._emit_moved()
        if had_focus:
            self._view.go_to(name)

    def _follow_current(self, name: str) -> None:
        if self.node and name and name != self.node:
            self.show(name)

    def refresh_soon(self) -> None:
        """Refresh the card once within a quarter of a second, however often this is called."""
        if self.node and not self._refresh_timer.isActive():
            self._refresh_timer.start()

    def refresh(self) -> None:
        """Bring the card's facts and place up to date."""
        if not self.node:
            return
        node = self._nodes.get(self.node)
        if node is None:
            self.close()
            return
        self._card.show_facts(facts_of(node, self._nodes, self._under_way_on(self.node), self._now()))
        self._view.overlays.place_side_card(self.node)
        self._update_visibility()

    def _update_visibility(self) -> None:
        """Hide the card during a drag, so that files can be dropped on what it covers."""
        self._card.setVisible(bool(self.node) and not self._view.dragging)
        self._emit_moved()

    def _emit_moved(self) -> None:
        covers = self._card.geometry() if not self._card.isHidden() else QRect()
        if covers != self._covers:
            self._covers = covers
            self.moved.emit()


class GraphCard(Card):
    """See the module."""

    browse_requested = Signal(object)
    receiving_changed = Signal(str, str, bool)
    add_node_requested = Signal()
    remove_node_requested = Signal(str)
    inbox_requested = Signal(str)

    def __init__(
        self,
        theme: Theme,
        nodes: NodeList,
        selection: RecipientSelection,
        now: Callable[[], float] = time.time,
        *,
        under_way_on: Callable[[str], Iterable[CastOnNode]] = lambda node: (),
    ) -> None:
        """`under_way_on` returns the running casts of a node, for its facts."""
        super().__init__(theme)
        self._nodes, self._selection = nodes, selection
        self.nodes_editable = False  # whether the context menu offers to add nodes, as in a local cluster
        self._checks = BackgroundChecks()
        self._legend_wanted: bool | None = None
        self._no_place_key: tuple[object, ...] = ()  # the layout in which the read-out found no place
        self._no_legend_key: tuple[object, ...] = ()  # and the one in which the legend found none
        self.scene_ = GraphScene(theme, nodes, selection, self, now)
        self._container = ViewContainer(self)
        self.view = GraphView(theme, self.scene_, selection, self._container)
        self.drops = self.view.drops
        self.scene_.setParent(self.view)  # a view that outlives its scene scrolls, and emits signals
        self.side_card = SideCardController(self._container, self.view, nodes, under_way_on, now)
        self._build(theme)
        self._connect()
        self._ages = QTimer(self, interval=REFRESH_AGES_MS)
        self._ages.timeout.connect(self.scene_.refresh)
        self._ages.timeout.connect(self.side_card.refresh)
        self._ages.start()
        self.setMinimumSize(360, 240)
        Retranslator(self, self._retranslate)

    def _build(self, theme: Theme) -> None:
        self._count = ElidedLabel(size=12, tone="2")
        self._count.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._pick = SegmentedButtons(
            theme,
            [
                (lambda: self.tr("All"), lambda: self.tr("Select all nodes")),
                (lambda: self.tr("None"), lambda: self.tr("Select no nodes")),
                (lambda: self.tr("Invert"), lambda: self.tr("Invert the selection")),
            ],
        )
        self._zoom = SegmentedButtons(
            theme,
            [
                (":minus", lambda: self.tr("Zoom out")),
                ("100%", lambda: self.tr("Show all")),
                (":plus", lambda: self.tr("Zoom in")),
            ],
            widths=[28, 48, 28],
        )
        self._fit = icon_button(theme, "maximize", lambda: self.tr("Fit"))
        self._legend = icon_button(theme, "list", lambda: self.tr("Legend"))
        self._legend.setCheckable(True)
        title = label(lambda: self.tr("Nodes"), 14, 600)
        bar = QWidget(self)
        bar.setFixedHeight(TITLE_BAR)
        buttons = (self._pick, self._zoom, self._fit, self._legend)
        lay_in(QHBoxLayout(bar), title, (self._count, 1), *buttons, spacing=8, margins=(16, 0, 16, 0))
        lay_in(QVBoxLayout(self), bar, (self._container, 1), spacing=0, margins=(1, 1, 1, 1))
        self._container.set_view(self.view)

    def _connect(self) -> None:
        self._pick.pressed.connect(self._pick_pressed)
        self._zoom.pressed.connect(lambda which: self.view.zoom_by(which - 1))
        self._fit.clicked.connect(lambda: self.view.zoom_by(0))
        self._legend.clicked.connect(self._legend_clicked)
        self.view.zoomed.connect(self._refresh_zoom)
        self.view.menu_requested.connect(self.show_menu)
        self._nodes.changed.connect(self._nodes_changed)
        self._nodes.activity_changed.connect(self._activity_changed)
        self._selection.changed.connect(self._selection_changed)
        self._selection.source_changed.connect(self._nodes_changed)
        self.scene_.layout_changed.connect(self._refresh_title)
        self.scene_.layout_changed.connect(self._refresh_read_out)
        self.scene_.layout_changed.connect(self.side_card.refresh_soon)
        self.side_card.moved.connect(self._refresh_read_out)
        self.view.shown.connect(self._refresh_read_out)

    def _retranslate(self) -> None:
        self.scene_.retranslate()
        self.side_card.refresh()
        self._refresh_title()
        self._refresh_read_out()

    # --- what the window calls -------------------------------------------------------------

    def prepare(self, size: QSize) -> None:
        """Lay everything out for a card of that size that is not shown yet; showing it is quick then."""
        if self.isVisible():
            return
        self.resize(size)
        width, height = size.width() - 2.0, size.height() - 2.0 - TITLE_BAR
        cell = self.scene_.preview_layout(width, height).cell
        self._make_strip(cell)
        if cell is NodeShape.DOT and not self.view.overlays.legend.isHidden():
            self._reserve_legend()
        self.view.prepare(width, height - self._container.strip - self._container.legend)

    def context_menu(self, name: str) -> QMenu:
        """The menu for a node, or for the empty canvas when there is no node of that name."""
        menu = QMenu(self)
        node = self._nodes.get(name)
        if node is not None:
            if self._selection.selectable(name):
                ready = self._selection.ready()
                names = ready if name in ready else frozenset({name})
                menu.addAction(self.tr("Send files here…"), partial(self.browse_requested.emit, names))
                menu.addSeparator()
            self._add_pause(menu, name)
            if name != self._selection.source and node.state is NodeState.ONLINE:
                menu.addAction(self.tr("Use as source"), partial(self._selection.use_source, name))
            menu.addAction(self.tr("Details"), partial(self.side_card.show, name))
            if node.address:
                menu.addAction(self.tr("Copy address"), partial(copy, node.address))
            if node.inbox and self._nodes.runs_here(name):
                opens = menu.addAction(self.tr("Open inbox"), partial(self.inbox_requested.emit, node.inbox))
                self._checks.enable_for_folder(opens, node.inbox)
            if node.inbox:
                menu.addAction(self.tr("Copy inbox path"), partial(copy, node.inbox))
        if self.nodes_editable:
            menu.addSeparator()
            menu.addAction(self.tr("Add node…"), self.add_node_requested.emit)
            if node is not None and node.removable:
                menu.addAction(self.tr("Remove node"), partial(self.remove_node_requested.emit, name))
        return menu

    def _add_pause(self, menu: QMenu, name: str) -> None:
        """What can be done with the delivery that is drawn on the node."""
        cast, delivery = self._nodes.cast, self._nodes.activity(name)
        if cast is None or delivery is None:
            return
        change = partial(self.receiving_changed.emit, cast.cast, name)
        if can_pause_delivery(cast, delivery):
            menu.addAction(self.tr("Pause receiving"), partial(change, False))
            menu.addSeparator()
        elif can_resume_delivery(cast, delivery):
            menu.addAction(self.tr("Resume receiving"), partial(change, True))
            menu.addSeparator()

    # --- changes ---------------------------------------------------------------------------

    def _nodes_changed(self) -> None:
        if self.view.isVisible() and not self.view.relayout():  # else it is laid out when it is shown
            self.scene_.refresh()
        self.side_card.refresh_soon()
        self._refresh_title()

    def _activity_changed(self) -> None:
        if self.view.isVisible() and not (self.scene_.layout_outdated and self.view.relayout()):
            self.scene_.refresh()
        self.side_card.refresh_soon()
        self._refresh_read_out()
        self.view.refresh_motion()
        self._refresh_title()

    def _selection_changed(self) -> None:
        if self.view.isVisible():
            self.scene_.refresh()
        self._refresh_title()

    def _refresh_title(self) -> None:
        chosen, total = len(self._selection.selected()), len(self._selection.recipients())
        text = self.tr("{chosen} of {total} selected").format(chosen=chosen, total=total) if total else ""
        cast = self._nodes.cast
        if cast is not None and not self.scene_.has_summary:
            text = f"{text} · {cast_line(cast)}" if text and not self._compact else cast_line(cast)
        self._count.set_full_text(text)

    def _refresh_read_out(self) -> None:
        lines, icon = path_lines(self._nodes)
        self._place_legend()
        self._make_strip(self.scene_.layout.cell)
        shown = self.view.overlays.show_read_out(lines, icon)
        if not shown and not self._container.strip and self.view.isVisible():
            self._no_place_key = self._places_key()
            self._make_strip(self.scene_.layout.cell)
            self.view.overlays.show_read_out(lines, icon)

    def _place_legend(self) -> None:
        """In a corner where it covers nothing; else in rows of its own below the view."""
        overlays, container = self.view.overlays, self._container
        if self.view.zoom > 1.0:
            return  # the widgets below it move
        if overlays.legend.isHidden():
            container.reserve(legend=0)
            return
        if not self.view.isVisible():
            return  # it is placed when it is shown
        key = (container.size(), container.side, container.below, self.scene_.layout_input())
        crowded = self.scene_.layout.cell is NodeShape.DOT  # otherwise it would be laid out twice
        if crowded:
            self._reserve_legend()
        elif self._no_legend_key != key:
            self._no_legend_key = ()
            container.reserve(legend=0)
        if not overlays.place_legend():
            self._no_legend_key = key
            self._reserve_legend()
            overlays.place_legend()

    def _reserve_legend(self) -> None:
        """Make room for rows of the legend below the view."""
        width = self.width() - 2 - self._container.side - 2 * LEGEND_SIDE
        self._container.reserve(legend=self.view.overlays.legend.rows_height(width))

    def _make_strip(self, cell: NodeShape) -> None:
        """Reserve a strip for the read-out where it has no place among the nodes, even before it has text."""
        cast = self._nodes.cast
        relayed = cast is not None and not cast.state.finished and len(cast.recipients) > 1
        if not relayed:
            self._no_place_key = ()
        crowded = self._compact or cell is NodeShape.DOT or self._no_place_key == self._places_key()
        self._container.reserve(strip=STRIP if relayed and crowded else 0)

    def _places_key(self) -> tuple[object, ...]:
        """Everything but its own size that decides whether the read-out has a place among the nodes."""
        container, view = self._container, self.view
        over = (view.overlays.legend.isVisible(), view.overlays.side_card.isVisible())
        return container.size(), container.side, container.below, over, self.scene_.layout_input()

    def _refresh_zoom(self, zoom: float) -> None:
        self._zoom.button(1).setText(f"{round(zoom * 100)}%")
        self._zoom.button(0).setEnabled(zoom > 1.0)
        self._zoom.button(2).setEnabled(zoom < ZOOM_MOST)
        self._fit.setEnabled(zoom > 1.0)

    # --- slots -----------------------------------------------------------------------------

    def _pick_pressed(self, which: int) -> None:
        (self._selection.select_all, self._selection.clear, self._selection.invert)[which]()

    def _legend_clicked(self, shown: bool) -> None:
        self._legend_wanted = shown
        self.view.overlays.legend.setVisible(shown)
        self._refresh_read_out()
        self.side_card.refresh()

    def show_menu(self, name: str, place: QPoint) -> None:
        """Open the menu of a node, or of the canvas, at a place on the screen."""
        menu = self.context_menu(name)
        if menu.isEmpty():
            menu.deleteLater()
        else:
            open_menu(menu, place, self.view)

    @property
    def _compact(self) -> bool:
        return self.width() < COMPACT_WIDTH or self.height() < COMPACT_HEIGHT

    # --- Qt --------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        compact = self._compact
        self._zoom.button(1).setVisible(not compact)
        self._fit.setVisible(not compact)
        shown = not compact if self._legend_wanted is None else self._legend_wanted
        self._legend.setChecked(shown)
        self.view.overlays.legend.setVisible(shown)
        self._refresh_title()
        self._refresh_read_out()

    def sizeHint(self) -> QSize:
        return QSize(736, 472)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        painter = QPainter(self)
        painter.fillRect(QRectF(1, TITLE_BAR, self.width() - 2, 1), self._theme.color("line"))
        painter.end()
