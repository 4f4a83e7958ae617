"""The keyboard on the node graph: which node it is at, and what the keys do there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QPoint, QRect, Qt
from PySide6.QtGui import (
    QAccessible,
    QAccessibleAnnouncementEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QFocusEvent,
    QKeyEvent,
)

from castray_desktop.ui.graph.graph_scene import GraphScene
from castray_desktop.ui.model.recipient_selection import RecipientSelection

if TYPE_CHECKING:
    from castray_desktop.ui.graph.graph_view import GraphView


DIRECTIONS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}


class GraphKeys:
    """Tells through the view's signals; the space bar ticks a node, and pans when it is held."""

    def __init__(self, view: GraphView, scene: GraphScene, selection: RecipientSelection) -> None:
        self._view, self._graph, self._selection = view, scene, selection
        self.space = False  # held down
        self._space_used = False

    def use_space(self) -> None:
        """It was held for something else, and ticks nothing when it is let go."""
        self._space_used = True

    def description(self) -> str:
        """Of the node that the keyboard is at; else where a screen reader finds the same nodes."""
        return self._graph.words(self._graph.focus_node) or QCoreApplication.translate(
            "GraphView", "The recipient list beside this shows the same nodes and the same selection."
        )

    def focus(self, name: str) -> None:
        """Be at this node, and show and say so; "" is none."""
        view = self._view
        self._graph.focus_node = name
        self._graph.refresh()
        view.setAccessibleDescription(self.description())
        if name and QAccessible.isActive():
            QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(view, self.description()))
        view.reveal(name)
        view.current_changed.emit(name)

    def _move(self, key: Qt.Key) -> None:
        """To the nearest node in that direction, sideways steps counting double."""
        places = self._graph.places()
        here = places.get(self._graph.focus_node)
        if here is None:
            self.focus(next(iter(self._graph.plan.nodes), ""))
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
        """A key went down."""
        view, key = self._view, event.key()
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if key in DIRECTIONS:
            self._move(Qt.Key(key))
        elif key == Qt.Key.Key_Space:
            if not event.isAutoRepeat():
                self.space, self._space_used = True, False
        elif key == Qt.Key.Key_A and control:
            self._selection.select_all()
        elif key == Qt.Key.Key_Escape:
            self._selection.clear() if view.side_card.isHidden() else view.facts_requested.emit("")
        elif key == Qt.Key.Key_I and not control:
            self._toggle_facts(self._graph.focus_node or self._only_selected())
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and not control:
            view.send_requested.emit()
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            view.zoom_in()
        elif key == Qt.Key.Key_Minus:
            view.zoom_out()
        elif key == Qt.Key.Key_0:
            view.fit()
        else:
            event.ignore()

    def release(self, event: QKeyEvent) -> bool:
        """A key came up; says whether it is one of these."""
        if event.key() != Qt.Key.Key_Space:
            return False
        if not event.isAutoRepeat() and self.space:
            self.space = False
            if not self._space_used and self._graph.focus_node:
                self._selection.toggle(self._graph.focus_node)
        return True

    def focus_in(self, event: QFocusEvent) -> None:
        """The view has the keyboard; by Tab it is at a node at once."""
        by_keyboard = event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        if by_keyboard and not self._graph.focus_node:
            self.focus(next(iter(sorted(self._selection.selected() or self._selection.recipients())), ""))

    def focus_out(self, event: QFocusEvent) -> None:
        """Something else has it."""
        self.space = False
        if event.reason() is not Qt.FocusReason.PopupFocusReason and self._graph.focus_node:
            self._graph.focus_node = ""
            self._graph.refresh()

    def _toggle_facts(self, name: str) -> None:
        card = self._view.side_card
        closes = card.isVisible() and card.shown is not None and card.shown.name == name
        self._view.facts_requested.emit("" if closes else name)

    def _only_selected(self) -> str:
        selected = self._selection.selected()
        return next(iter(selected)) if len(selected) == 1 else ""


class GraphDrops:
    """Hits a node, a selected node (all that are selected and ready), or *All nodes*; else the window.

    Tells it through the view's `drop_hint` and `files_dropped`.
    """

    def __init__(self, view: GraphView, scene: GraphScene, selection: RecipientSelection) -> None:
        self._view, self._graph, self._selection = view, scene, selection

    def enter(self, event: QDragEnterEvent) -> None:
        """Files come over the graph."""
        if not event.mimeData().hasUrls():
            event.ignore()
            return
        self._show(frozenset(), dragging=True)
        self._to_window(event, QDragEnterEvent)
        event.acceptProposedAction()

    def move(self, event: QDragMoveEvent) -> None:
        """They are somewhere else."""
        if not event.mimeData().hasUrls():
            event.ignore()
            return
        place = event.position().toPoint()
        targets = self._targets_at(place)
        self._show(targets, dragging=True, place=place)
        if targets:
            event.acceptProposedAction()
        else:
            self._to_window(event, QDragMoveEvent)

    def leave(self) -> None:
        """They are gone."""
        self._show(frozenset(), dragging=False)
        self._view.window().event(QDragLeaveEvent())

    def drop(self, event: QDropEvent) -> None:
        """They were let go."""
        targets = self._targets_at(event.position().toPoint())
        self._show(frozenset(), dragging=False)
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        if not targets:
            self._to_window(event, QDropEvent)
            return
        self._view.window().event(QDragLeaveEvent())
        if paths:
            event.acceptProposedAction()
            self._view.files_dropped.emit(paths, targets)

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
        pill = self._view.pill
        return pill.isVisible() and pill.geometry().contains(place)

    def _show(self, targets: frozenset[str], *, dragging: bool, place: QPoint | None = None) -> None:
        pill = self._view.pill
        on_pill = place is not None and self._on_pill(place)
        self._graph.targets, self._graph.dragging = targets, dragging
        self._graph.refresh()
        everyone = sum(self._selection.selectable(name) for name in self._selection.recipients())
        words = QCoreApplication.translate("GraphView", "All nodes ({count})")
        pill.show_state(words.format(count=everyone), target=on_pill)
        pill.move(self._pill_place(), 8)
        pill.setVisible(dragging and everyone > 1)
        self._view.drop_hint.emit(_words(targets))

    def _pill_place(self) -> int:
        """In the middle of the upper edge, or beside it where a node lies there."""
        pill = self._view.pill
        free = max(0, self._view.viewport().width() - pill.width())
        covered = self._view.room.covered()
        for share in (0.5, 0.25, 0.75, 0.0, 1.0):
            place = QRect(round(free * share), 8, pill.width(), pill.height())
            if not any(place.intersects(other) for other in covered):
                return place.x()
        return free // 2

    def _to_window(self, event: QDropEvent, kind: type[QDropEvent]) -> None:
        """A drag that is on no node is the window's: its whole area takes files for the send list."""
        window = self._view.window()
        place = self._view.viewport().mapTo(window, event.position())
        arguments = (event.possibleActions(), event.mimeData(), event.buttons(), event.modifiers())
        at = place if kind is QDropEvent else place.toPoint()  # the others take whole pixels
        copy = kind(at, *arguments)
        copy.ignore()
        window.event(copy)  # not through the application, which would send it back here
        event.setAccepted(copy.isAccepted())


def _words(targets: frozenset[str]) -> str:
    translate = QCoreApplication.translate
    if not targets:
        return ""
    if len(targets) == 1:
        return translate("GraphView", "Drop to send to {name}").format(name=next(iter(targets)))
    return translate("GraphView", "Drop to send to {count} nodes").format(count=len(targets))
