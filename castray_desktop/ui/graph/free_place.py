"""Where something can lie over the graph so that it covers the least: plain rectangles, no widget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPoint, QRect, QSize

STEP = 16
MANY = 80  # parts; with more of them only the edges are looked at
HIT = 2000.0  # covering any of a part costs as much as this area, in square pixels


@dataclass(frozen=True)
class Taken:
    """A part that is better not covered; `weight` says by how much."""

    area: QRect
    weight: float = 1.0


def least_covering(size: QSize, room: QRect, parts: Sequence[Taken], near: QPoint) -> QPoint:
    """A place in the room that covers nothing, else the least, and among equals lies near a point."""
    return min(
        _places(size, room, fine=len(parts) <= MANY),
        key=lambda place: (_cost(QRect(place, size), parts), _distance(QRect(place, size), near)),
    )


def _places(size: QSize, room: QRect, *, fine: bool) -> Iterator[QPoint]:
    free_x, free_y = max(0, room.width() - size.width()), max(0, room.height() - size.height())
    for y in _steps(free_y, fine=fine):
        for x in _steps(free_x, fine=fine):
            yield room.topLeft() + QPoint(x, y)


def _steps(free: int, *, fine: bool) -> list[int]:
    return sorted({*range(0, free, STEP), free}) if fine else sorted({0, free // 2, free})


def _cost(place: QRect, parts: Sequence[Taken]) -> float:
    total = 0.0
    for part in parts:
        if place.intersects(part.area):
            both = place.intersected(part.area)
            total += part.weight * (HIT + both.width() * both.height())
    return total


def _distance(place: QRect, near: QPoint) -> int:
    return (place.center() - near).manhattanLength()
