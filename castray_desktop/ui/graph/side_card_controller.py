"""Opens and closes the side card, and places it where it covers the least."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject, QPoint, QRect, QSize, QTimer, Signal
from PySide6.QtWidgets import QWidget

from castray_desktop.ui.graph.graph_view import GraphView
from castray_desktop.ui.graph.overlays import ViewContainer
from castray_desktop.ui.graph.side_card import CastOnNode, facts_of
from castray_desktop.ui.model.node_list import NodeList

STEP = 16

MAX_FINE_PARTS = 80  # parts; with more of them only the edges are looked at

OVERLAP_COST = 2000.0  # covering any of a part costs as much as this area, in square pixels


@dataclass(frozen=True)
class OccupiedArea:
    """A part that is better not covered; `weight` says by how much."""

    area: QRect
    weight: float = 1.0


def least_covering(size: QSize, room: QRect, parts: Sequence[OccupiedArea], near: QPoint) -> QPoint:
    """A place in the room that covers nothing, else the least, and among equals lies near a point."""
    return min(
        _places(size, room, fine=len(parts) <= MAX_FINE_PARTS),
        key=lambda place: (_cost(QRect(place, size), parts), _distance(QRect(place, size), near)),
    )


def _places(size: QSize, room: QRect, *, fine: bool) -> Iterator[QPoint]:
    free_x, free_y = max(0, room.width() - size.width()), max(0, room.height() - size.height())
    for y in _steps(free_y, fine=fine):
        for x in _steps(free_x, fine=fine):
            yield room.topLeft() + QPoint(x, y)


def _steps(free: int, *, fine: bool) -> list[int]:
    return sorted({*range(0, free, STEP), free}) if fine else sorted({0, free // 2, free})


def _cost(place: QRect, parts: Sequence[OccupiedArea]) -> float:
    total = 0.0
    for part in parts:
        if place.intersects(part.area):
            both = place.intersected(part.area)
            total += part.weight * (OVERLAP_COST + both.width() * both.height())
    return total


def _distance(place: QRect, near: QPoint) -> int:
    return (place.center() - near).manhattanLength()


REFRESH_MS = 250

OWN_NODE_WEIGHT = 4.0  # how much worse it is to cover the node that the card is about

EDGE = 10

NARROWEST = 440  # of what is left of the view beside the card

LOWEST = 120  # of what is left of it above the card

LEAST_CARD = 90  # below the view; a lower one lies over it


class SideCardController(QObject):
    """Opens the card for a node, keeps it true and in place, and closes it.

    It is opened by the view's `facts_requested`, goes along with `current_changed` while it is open, and is
    closed by Esc, by its button, by the key that opened it, and when the node is gone. Signal: `moved()`:
    it covers another part of the view, or none any more.
    """

    moved = Signal()

    def __init__(
        self,
        stage: ViewContainer,
        view: GraphView,
        nodes: NodeList,
        under_way_on: Callable[[str], Iterable[CastOnNode]],
        now: Callable[[], float],
    ) -> None:
        super().__init__(view)
        self._stage, self._view, self._nodes = stage, view, nodes
        self._under_way_on, self._now = under_way_on, now
        self._card = view.side_card
        self.node = ""  # "" while it is closed
        self._placed_for: tuple[object, ...] = ()
        self._covers = QRect()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(REFRESH_MS)
        self._soon.timeout.connect(self.refresh)
        view.facts_requested.connect(self.show)
        view.current_changed.connect(self._follow)
        view.resized.connect(self.refresh)
        view.drop_hint.connect(self._update_visibility)
        self._card.close_requested.connect(self.close)

    def show(self, name: str) -> None:
        """Show this node's facts; "" closes the card."""
        if not name:
            self.close()
            return
        self.node = name
        self._placed_for = ()
        self.refresh()
        self._view.reveal(name)

    def close(self) -> None:
        """Take the card away; the keyboard goes back to the graph if it was on the card."""
        name, self.node = self.node, ""
        focused: QWidget | None = self._view.window().focusWidget()
        had_keyboard = focused is not None and self._card.isAncestorOf(focused)
        self._soon.stop()
        self._card.hide()
        self._stage.set_side(0)
        self._stage.set_below(0)
        self._emit_moved()
        if had_keyboard:
            self._view.go_to(name)

    def _follow(self, name: str) -> None:
        if self.node and name and name != self.node:
            self.show(name)

    def refresh_soon(self) -> None:
        """Bring the card up to date in a moment, however often this is asked for."""
        if self.node and not self._soon.isActive():
            self._soon.start()

    def refresh(self) -> None:
        """Bring the card up to date."""
        node = self._nodes.get(self.node)
        if not self.node:
            return
        if node is None:
            self.close()
            return
        self._card.show_facts(facts_of(node, self._nodes, self._under_way_on(self.node), self._now()))
        self._place()
        self._update_visibility()

    def _update_visibility(self) -> None:
        """For files that are dragged to what lies below."""
        self._card.setVisible(bool(self.node) and not self._view.dragging)
        self._emit_moved()

    def _emit_moved(self) -> None:
        covers = self._card.geometry() if not self._card.isHidden() else QRect()
        if covers != self._covers:
            self._covers = covers
            self.moved.emit()

    def _place(self) -> None:
        """Find the place again when the card is resized or something else moves."""
        room = self._stage.rect().adjusted(EDGE, EDGE, -EDGE, -EDGE)
        key = (self.node, room, self._sizes(room), self._snapshot())
        if key != self._placed_for:
            self._card.setGeometry(self._find_place(room))
            self._card.set_columns(2 if self._stage.below else 1)
            self._placed_for = (self.node, room, self._sizes(room), self._snapshot())

    def _sizes(self, room: QRect) -> tuple[QSize, QSize]:
        return self._card.wanted_size(room.size(), 1), self._card.wanted_size(room.size(), 2)

    def _snapshot(self) -> tuple[object, ...]:
        margins = (self._stage.side, self._stage.below, self._stage.strip)
        return *margins, self._view.placer.state(), len(self._view.placer.label_rects())

    def _find_place(self, room: QRect) -> QRect:
        """Over the view where it covers no node and no figures; else the view makes room for it.

        That is at its right where the view is wide, else below it.
        """
        size = self._card.wanted_size(room.size(), 1)
        beside = size.width() + 2 * EDGE
        wide = self._stage.width() - beside >= NARROWEST
        lowest = room.height() + EDGE - self._stage.strip - LOWEST
        if wide:
            self._stage.set_below(0)
        else:
            self._stage.set_side(0)
        if not self._stage.side and not self._stage.below:
            place = self._free_place(size, room)
            covered = (*self._view.placer.node_rects(), *self._view.placer.label_rects())
            if not any(place.intersects(area) for area in covered):
                return place
            if not wide and lowest < LEAST_CARD:
                return place
        if wide:
            self._stage.set_side(beside)
            return QRect(room.topRight() - QPoint(size.width() - 1, 0), size)
        size = self._card.wanted_size(QSize(room.width(), lowest), 2)
        self._stage.set_below(size.height() + EDGE)
        return QRect(room.bottomLeft() - QPoint(0, size.height() - 1), size)

    def _free_place(self, size: QSize, room: QRect) -> QRect:
        """Over the view, where it covers the least."""
        spot = self._view.placer.node_rect(self.node)
        near = spot.center() if spot is not None else room.center()
        over = room.adjusted(0, 0, 0, -self._stage.strip)
        return QRect(least_covering(size, over, self._parts(spot), near), size)

    def _parts(self, spot: QRect | None) -> list[OccupiedArea]:
        parts = [
            OccupiedArea(area) for area in (*self._view.placer.node_rects(), *self._view.placer.label_rects())
        ]
        if spot is not None:
            parts.append(OccupiedArea(spot, OWN_NODE_WEIGHT))
        if self._view.legend.isVisible():
            parts.append(OccupiedArea(self._view.legend.geometry(), 0.5))
        if self._view.read_out.isVisible():
            parts.append(OccupiedArea(self._view.read_out.geometry()))
        return parts
