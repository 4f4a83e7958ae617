"""The ways of hops between nodes, clear of their circles and names: plain geometry, no widget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from castray_desktop.ui.graph.graph_layout import Box, Point

BADGE_REACH = 12.0
"""From a badge's centre to where a hop can end beside it."""


@dataclass(frozen=True)
class Curve:
    """A cubic curve from `start` to `end`."""

    start: Point
    control_1: Point
    control_2: Point
    end: Point

    @classmethod
    def straight(cls, start: Point, end: Point, cut_start: float, cut_end: float) -> Curve:
        """A line that begins and ends that far from the two points."""
        length = math.dist(start, end) or 1.0
        x, y = (end.x - start.x) / length, (end.y - start.y) / length
        first = Point(start.x + x * cut_start, start.y + y * cut_start)
        last = Point(end.x - x * cut_end, end.y - y * cut_end)
        third = Point((last.x - first.x) / 3, (last.y - first.y) / 3)
        return cls(
            first,
            Point(first.x + third.x, first.y + third.y),
            Point(last.x - third.x, last.y - third.y),
            last,
        )

    def at(self, t: float) -> Point:
        """The point at `t`, 0..1."""
        u = 1 - t
        a, b, c, d = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
        return Point(
            a * self.start.x + b * self.control_1.x + c * self.control_2.x + d * self.end.x,
            a * self.start.y + b * self.control_1.y + c * self.control_2.y + d * self.end.y,
        )

    def part(self, t0: float, t1: float) -> Curve:
        """The same curve between two parameters."""
        start, end = self.at(t0), self.at(t1)
        scale = (t1 - t0) / 3
        first, last = self._slope(t0), self._slope(t1)
        return Curve(
            start,
            Point(start.x + first.x * scale, start.y + first.y * scale),
            Point(end.x - last.x * scale, end.y - last.y * scale),
            end,
        )

    def _slope(self, t: float) -> Point:
        u = 1 - t
        p0, p1, p2, p3 = self.start, self.control_1, self.control_2, self.end
        return Point(
            3 * (u * u * (p1.x - p0.x) + 2 * u * t * (p2.x - p1.x) + t * t * (p3.x - p2.x)),
            3 * (u * u * (p1.y - p0.y) + 2 * u * t * (p2.y - p1.y) + t * t * (p3.y - p2.y)),
        )


def clear_curve(
    start: Point,
    end: Point,
    centre: Point,
    cuts: tuple[float, float],
    most: float,
    obstacles: Sequence[Box],
    badge: float = 0.0,
) -> Curve:
    """The way of a hop as `hop_curve` makes it, or a wider one or one on the other side, where that covers
    less of the obstacles.
    """
    best, least = hop_curve(start, end, centre, *cuts, most, badge), 1e9
    for other, wider in ((False, 1.0), (False, 1.8), (True, 1.0), (True, 1.8), (False, 2.6), (True, 2.6)):
        curve = hop_curve(start, end, centre, *cuts, most * wider, badge, other=other)
        points = [curve.at(step / 24) for step in range(2, 23)]
        covered = sum(box.holds(point) for box in obstacles for point in points)
        if covered < least:
            best, least = curve, covered
        if not least:
            break
    return best


def hop_curve(
    start: Point,
    end: Point,
    centre: Point,
    cut_start: float,
    cut_end: float,
    most: float = 84.0,
    badge: float = 0.0,
    *,
    other: bool = False,
) -> Curve:
    """The way of a hop: bent away from `centre`, by `most` at most, cut clear of both circles; with
    `other` bent towards it.

    It leaves no node downwards and enters none upwards, since the names stand there. It ends beside the
    badges, which are that far to the right of the circle's centre, and up or down.
    """
    dx, dy = end.x - start.x, end.y - start.y
    distance = math.hypot(dx, dy) or 1.0
    chord = math.atan2(dy, dx)
    # On which side of the chord the centre lies: the curve goes to the other one.
    cross = dx * (centre.y - start.y) - dy * (centre.x - start.x)
    side = -1.0 if (cross >= 0) is not other else 1.0
    steep = abs(dy) / distance
    bend = math.radians(18 + 50 * steep) * side
    reach = distance * (0.36 + 0.36 * steep * steep)
    reach = min(reach, most / (0.75 * max(0.2, abs(math.sin(bend)))))
    leaving = _clear_of_names(chord + bend)
    arriving = math.pi + _clear_of_names(chord - bend + math.pi)
    curve = Curve(
        start,
        Point(start.x + math.cos(leaving) * reach, start.y + math.sin(leaving) * reach),
        Point(end.x - math.cos(arriving) * reach, end.y - math.sin(arriving) * reach),
        end,
    )
    badges = [Point(end.x + badge, end.y - badge), Point(end.x + badge, end.y + badge)] if badge else []
    return curve.part(_leaves(curve, start, cut_start), _enters(curve, end, cut_end, badges))


def _clear_of_names(angle: float) -> float:
    """The direction seen from a circle's centre, turned out of the sector below it."""
    angle = math.remainder(angle, 2 * math.pi)
    low, high = math.radians(38), math.radians(142)
    if low < angle < high:
        return low if angle < math.pi / 2 else high
    return angle


def _leaves(curve: Curve, centre: Point, radius: float) -> float:
    for step in range(1, 50):
        if math.dist(curve.at(step / 100), centre) >= radius:
            return step / 100
    return 0.3


def _enters(curve: Curve, centre: Point, radius: float, badges: Sequence[Point]) -> float:
    for step in range(1, 50):
        place = curve.at(1 - step / 100)
        beside = all(math.dist(place, badge) >= BADGE_REACH for badge in badges)
        if beside and math.dist(place, centre) >= radius:
            return 1 - step / 100
    return 0.7
