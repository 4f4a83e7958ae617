"""The multicast bus ends at each receiver, and crosses no node; hops avoid what is near them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

from castray_desktop.ui.graph.edge_geometry import Bus, clears, line_boxes, route_bus, route_hop
from castray_desktop.ui.graph.hop_router import HopEnds
from castray_desktop.ui.graph.node_layout import (
    Box,
    GraphLayout,
    NodeShape,
    Point,
    compute_layout,
)
from tests.ui.graph.test_node_layout import RECIPIENTS, ROOMS


def ends(layout: GraphLayout, bus: Bus) -> list[Point]:
    return [line[-1] for line in (bus.lines if layout.ring else bus.branches)]


def circle(layout: GraphLayout, place: Point) -> Box:
    radius = layout.cell.radius - 0.5
    return Box(place.x - radius, place.y - radius, 2 * radius, 2 * radius)


@given(ROOMS, RECIPIENTS)
@settings(max_examples=100, deadline=None)
def test_the_bus_ends_at_each_receiver_and_crosses_no_circle(
    room: tuple[int, int], recipients: list[tuple[str, str]]
) -> None:
    layout = compute_layout(*room, recipients)
    bus = route_bus(layout, layout.nodes.keys())
    places = sorted(layout.nodes.values())
    found = sorted(min(places, key=lambda place: math.dist(place, end)) for end in ends(layout, bus))
    assert found == places
    for end in ends(layout, bus):
        nearest = min(math.dist(place, end) for place in places)
        assert layout.cell.radius <= nearest <= layout.cell.radius + 10
    for line in line_boxes(bus, 0.5):
        assert not any(line.intersects(circle(layout, place)) for place in places)


@given(ROOMS, RECIPIENTS)
@settings(max_examples=100, deadline=None)
def test_the_bus_does_not_cross_figures_that_fit_between_the_rows(
    room: tuple[int, int], recipients: list[tuple[str, str]]
) -> None:
    layout = compute_layout(*room, recipients)
    if layout.summary is None or len(layout.nodes) < 2:
        return
    bus = route_bus(layout, layout.nodes.keys())
    high, low = layout.summary.y, layout.summary.y + layout.summary.height
    fits = all(
        box.y + box.height <= high or box.y >= low
        for place in layout.nodes.values()
        if abs(place.y - layout.source.y) > 1
        for box in layout.painted(place)
    )
    beside_spine = layout.summary.x >= bus.lines[0][1].x
    assert not (fits and beside_spine) or clears(bus, layout.summary)


@pytest.mark.parametrize(
    ("count", "cell"),
    [(4, NodeShape.FULL), (12, NodeShape.COMPACT), (100, NodeShape.GLYPH), (900, NodeShape.DOT)],
)
def test_bus_lines_share_their_first_segment(count: int, cell: NodeShape) -> None:
    layout = compute_layout(736, 424, [(f"n{i:03}", "") for i in range(count)])
    assert layout.cell is cell
    bus = route_bus(layout, layout.nodes.keys())
    assert {line[:2] for line in bus.lines} == {bus.lines[0][:2]}
    assert all(line[1].x > layout.source.x + 60 for line in bus.lines)


def test_a_grid_has_a_line_for_each_row_and_a_branch_for_each_receiver() -> None:
    layout = compute_layout(736, 424, [(f"n{i:03}", "") for i in range(900)])
    receivers = [name for number, name in enumerate(layout.nodes) if number % 3]
    bus = route_bus(layout, receivers)
    assert len(bus.lines) == len({place.y for place in layout.nodes.values()})
    assert len(bus.branches) == len(receivers)


def test_a_bus_without_receivers_has_no_lines() -> None:
    layout = compute_layout(736, 424, [("n1", "")])
    assert route_bus(layout, ["gone"]).lines == ()


def test_the_points_of_a_hop_are_compared_with_near_obstacles_only(monkeypatch: pytest.MonkeyPatch) -> None:
    between, far = Box(140.0, -30.0, 20.0, 40.0), Box(140.0, 900.0, 20.0, 20.0)
    compared: set[Box] = set()
    contains = Box.contains

    def note(box: Box, point: Point) -> bool:
        compared.add(box)
        return contains(box, point)

    monkeypatch.setattr(Box, "contains", note)
    ends = HopEnds(Point(0.0, 0.0), Point(300.0, 0.0), (32.0, 35.0))
    curve = route_hop(ends, Point(150.0, 200.0), 84.0, [between, far], 0.0)
    assert compared == {between}
    assert not any(contains(between, curve.at(step / 24)) for step in range(2, 23))
