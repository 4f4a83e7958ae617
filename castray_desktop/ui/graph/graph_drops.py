"""Files that are dragged over the node graph: what a drop would hit, and what is shown meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QPoint, QRect
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent

from castray_desktop.ui.graph.graph_scene import GraphScene
from castray_desktop.ui.selection import RecipientSelection

if TYPE_CHECKING:
    from castray_desktop.ui.graph.graph_view import GraphView


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
