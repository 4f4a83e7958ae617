"""Keyboard and drag-and-drop input of the node graph."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QObject, QPoint, QRect, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QDragEnterEvent,
    QDragMoveEvent,
    QDropEvent,
    QFocusEvent,
    QKeyEvent,
)
from PySide6.QtWidgets import QGraphicsView

from castray_desktop.ui.graph.graph_scene import GraphScene
from castray_desktop.ui.graph.overlays import Overlays
from castray_desktop.ui.graph.side_card import SideCard
from castray_desktop.ui.model.desktop_services import sendable_paths
from castray_desktop.ui.model.recipient_selection import RecipientSelection

DIRECTIONS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


class GraphKeys(QObject):
    """Handles the view's key events and the focused node. Space selects a node, and pans while it is held.

    Signals: `current_changed(name)` when the focus moves to a node, "" for none; `facts_requested(name)`, ""
    to close the card; `zoom_requested(steps)`: 1 closer, -1 back, 0 to fit.
    """

    current_changed = Signal(str)
    facts_requested = Signal(str)
    zoom_requested = Signal(int)

    def __init__(
        self, view: QGraphicsView, scene: GraphScene, selection: RecipientSelection, side_card: SideCard
    ) -> None:
        super().__init__(view)
        self._view, self._graph, self._selection, self._side_card = view, scene, selection, side_card
        self.space = False  # held down
        self._space_used = False

    def use_space(self) -> None:
        """Keep the release of the space key from selecting a node: it was held for panning."""
        self._space_used = True

    def description(self) -> str:
        """The accessible description: the focused node, else where the same nodes are in a list."""
        return self._graph.spoken_description(self._graph.focus_node) or QCoreApplication.translate(
            "GraphView", "The recipient list shows the same nodes and the same selection."
        )

    def focus(self, name: str) -> None:
        """Move the focus to this node, and announce it; "" is none."""
        view = self._view
        self._graph.focus_node = name
        self._graph.refresh()
        view.setAccessibleDescription(self.description())
        if name and QAccessible.isActive():
            QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(view, self.description()))
        self.current_changed.emit(name)

    def _move(self, key: Qt.Key) -> None:
        """Focus the nearest node in that direction; distance to the side counts double."""
        places = self._graph.places()
        here = places.get(self._graph.focus_node)
        if here is None:
            self.focus(next(iter(self._graph.layout.nodes), ""))
            return
        dx, dy = DIRECTIONS[key]
        best, least = "", 1e9
        for name, place in places.items():
            x, y = place.x - here.x, place.y - here.y
            ahead, aside = x * dx + y * dy, abs(x * dy) + abs(y * dx)
            if ahead > 1 and ahead + 2 * aside < least:
                best, least = name, ahead + 2 * aside
        if best:
            self.focus(best)

    def press(self, event: QKeyEvent) -> None:
        """Handle a key press."""
        key = event.key()
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if key in DIRECTIONS:
            self._move(Qt.Key(key))
        elif key == Qt.Key.Key_Space:
            if not event.isAutoRepeat():
                self.space, self._space_used = True, False
        elif key == Qt.Key.Key_A and control:
            self._selection.select_all()
        elif key == Qt.Key.Key_Escape:
            self._selection.clear() if self._side_card.isHidden() else self.facts_requested.emit("")
        elif key in (Qt.Key.Key_I, Qt.Key.Key_Return, Qt.Key.Key_Enter) and not control:
            self._toggle_facts(self._graph.focus_node or self._only_selected())
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_requested.emit(1)
        elif key == Qt.Key.Key_Minus:
            self.zoom_requested.emit(-1)
        elif key == Qt.Key.Key_0:
            self.zoom_requested.emit(0)
        else:
            event.ignore()

    def release(self, event: QKeyEvent) -> bool:
        """Handle a key release; returns whether the key is handled here."""
        if event.key() != Qt.Key.Key_Space:
            return False
        if not event.isAutoRepeat() and self.space:
            self.space = False
            if not self._space_used and self._graph.focus_node:
                self._selection.toggle(self._graph.focus_node)
        return True

    def focus_in(self, event: QFocusEvent) -> None:
        """Focus a node at once when the view gets the focus by Tab."""
        by_keyboard = event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        if by_keyboard and not self._graph.focus_node:
            self.focus(min(self._selection.selected() or self._selection.recipients(), default=""))

    def focus_out(self, event: QFocusEvent) -> None:
        """Drop the focused node, except while a menu is open."""
        self.space = False
        if event.reason() is not Qt.FocusReason.PopupFocusReason and self._graph.focus_node:
            self._graph.focus_node = ""
            self._graph.refresh()

    def _toggle_facts(self, name: str) -> None:
        card = self._side_card
        closes = card.isVisible() and card.shown is not None and card.shown.name == name
        self.facts_requested.emit("" if closes else name)

    def _only_selected(self) -> str:
        selected = self._selection.selected()
        return next(iter(selected)) if len(selected) == 1 else ""


class GraphDrops(QObject):
    """Handles files that are dragged over the graph.

    The target is a node, every selected node that is ready (when the pointer is on one of them), or all nodes
    (on the pill). Elsewhere there is no target, and the whole window takes the files for the send list.

    Signals: `drag_entered(paths)` and `drag_left()`, around each drag; `drop_hint(text)`: what a drop at the
    pointer would do, "" without a target; `files_dropped(paths, recipients)`, with no recipients where the
    drop has no target.
    """

    drag_entered = Signal(list)
    drag_left = Signal()
    drop_hint = Signal(str)
    files_dropped = Signal(list, object)

    def __init__(
        self,
        view: QGraphicsView,
        scene: GraphScene,
        selection: RecipientSelection,
        overlays: Overlays,
    ) -> None:
        super().__init__(view)
        self._view, self._graph, self._selection = view, scene, selection
        self._overlays, self._pill = overlays, overlays.pill

    def enter(self, event: QDragEnterEvent) -> None:
        """Begin a drag of files; other data is ignored."""
        paths = sendable_paths(event.mimeData())
        if not paths:
            event.ignore()
            return
        self.drag_entered.emit(paths)
        self._show(frozenset(), dragging=True)
        _accept_copy(event)

    def move(self, event: QDragMoveEvent) -> None:
        """Show the target below the pointer."""
        place = event.position().toPoint()
        self._show(self._targets_at(place), dragging=True, place=place)
        _accept_copy(event)

    def leave(self) -> None:
        """End a drag."""
        self._show(frozenset(), dragging=False)
        self.drag_left.emit()

    def drop(self, event: QDropEvent) -> None:
        """End a drag with a drop."""
        targets = self._targets_at(event.position().toPoint())
        self.leave()
        _accept_copy(event)
        self.files_dropped.emit(sendable_paths(event.mimeData()), targets)

    def _targets_at(self, place: QPoint) -> frozenset[str]:
        if self._on_pill(place):
            return frozenset(
                name for name in self._selection.recipients() if self._selection.selectable(name)
            )
        name = self._graph.node_at(self._view.mapToScene(place))
        if not name or not self._selection.selectable(name):
            return frozenset()
        ready = self._selection.ready()
        return ready if name in ready else frozenset({name})

    def _on_pill(self, place: QPoint) -> bool:
        pill = self._pill
        return pill.isVisible() and pill.geometry().contains(place)

    def _show(self, targets: frozenset[str], *, dragging: bool, place: QPoint | None = None) -> None:
        pill = self._pill
        on_pill = place is not None and self._on_pill(place)
        self._graph.targets, self._graph.dragging = targets, dragging
        self._graph.refresh()
        everyone = sum(self._selection.selectable(name) for name in self._selection.recipients())
        words = QCoreApplication.translate("GraphView", "All nodes ({count})")
        pill.show_state(words.format(count=everyone), target=on_pill)
        pill.move(self._pill_place(), 8)
        pill.setVisible(dragging and everyone > 1)
        self.drop_hint.emit(_drop_hint(targets))

    def _pill_place(self) -> int:
        """The middle of the upper edge, or another position there that covers no node."""
        pill = self._pill
        free = max(0, self._view.viewport().width() - pill.width())
        covered = self._overlays.node_rects()
        for share in (0.5, 0.25, 0.75, 0.0, 1.0):
            place = QRect(round(free * share), 8, pill.width(), pill.height())
            if not any(place.intersects(other) for other in covered):
                return place.x()
        return free // 2


def _accept_copy(event: QDropEvent) -> None:
    event.setDropAction(Qt.DropAction.CopyAction)  # files stay where they are, whatever keys are held
    event.accept()


def _drop_hint(targets: frozenset[str]) -> str:
    translate = QCoreApplication.translate
    if not targets:
        return ""
    if len(targets) == 1:
        return translate("GraphView", "Drop to send to {name}").format(name=next(iter(targets)))
    return translate("GraphView", "Drop to send to {count} nodes").format(count=len(targets))
