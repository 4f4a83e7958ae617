"""The bus of a stream for many: it reaches everybody who listens, and runs over nobody."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings

from castray_desktop.ui.graph.edge_geometry import Bus, lay_bus, leaves_free, line_boxes
from castray_desktop.ui.graph.node_layout import Box, NodeShape, Plan, Point, arrange, ink
from tests.ui.graph.test_node_layout import RECIPIENTS, ROOMS


def ends(plan: Plan, bus: Bus) -> list[Point]:
    return [line[-1] for line in (bus.ways if plan.ring else bus.taps)]


def circle(plan: Plan, place: Point) -> Box:
    radius = plan.cell.radius - 0.5
    return Box(place.x - radius, place.y - radius, 2 * radius, 2 * radius)


@given(ROOMS, RECIPIENTS)
@settings(max_examples=100, deadline=None)
def test_it_ends_at_everybody_who_listens_and_crosses_no_circle(
    room: tuple[int, int], recipients: list[tuple[str, str]]
) -> None:
    plan = arrange(*room, recipients)
    bus = lay_bus(plan, plan.nodes.keys())
    places = sorted(plan.nodes.values())
    found = sorted(min(places, key=lambda place: math.dist(place, end)) for end in ends(plan, bus))
    assert found == places
    for end in ends(plan, bus):
        nearest = min(math.dist(place, end) for place in places)
        assert plan.cell.radius <= nearest <= plan.cell.radius + 10
    for line in line_boxes(bus, 0.5):
        assert not any(line.overlaps(circle(plan, place)) for place in places)


@given(ROOMS, RECIPIENTS)
@settings(max_examples=100, deadline=None)
def test_figures_that_have_room_between_the_rows_are_left_free(
    room: tuple[int, int], recipients: list[tuple[str, str]]
) -> None:
    plan = arrange(*room, recipients)
    if plan.middle is None or len(plan.nodes) < 2:
        return
    bus = lay_bus(plan, plan.nodes.keys())
    high, low = plan.middle.y, plan.middle.y + plan.middle.height
    fits = all(
        box.y + box.height <= high or box.y >= low
        for place in plan.nodes.values()
        if abs(place.y - plan.source.y) > 1
        for box in ink(plan.cell, place)
    )
    beside_spine = plan.middle.x >= bus.ways[0][1].x
    assert not (fits and beside_spine) or leaves_free(bus, plan.middle)


@pytest.mark.parametrize(
    ("count", "cell"),
    [(4, NodeShape.FULL), (12, NodeShape.COMPACT), (100, NodeShape.GLYPH), (900, NodeShape.DOT)],
)
def test_lines_leave_the_source_together(count: int, cell: NodeShape) -> None:
    plan = arrange(736, 424, [(f"n{i:03}", "") for i in range(count)])
    assert plan.cell is cell
    bus = lay_bus(plan, plan.nodes.keys())
    assert {line[:2] for line in bus.ways} == {bus.ways[0][:2]}
    assert all(line[1].x > plan.source.x + 60 for line in bus.ways)


def test_a_grid_has_one_way_for_each_row_and_a_tap_for_each_listener() -> None:
    plan = arrange(736, 424, [(f"n{i:03}", "") for i in range(900)])
    fed = [name for number, name in enumerate(plan.nodes) if number % 3]
    bus = lay_bus(plan, fed)
    assert len(bus.ways) == len({place.y for place in plan.nodes.values()})
    assert len(bus.taps) == len(fed)


def test_nobody_listens_to_an_empty_bus() -> None:
    plan = arrange(736, 424, [("n1", "")])
    assert lay_bus(plan, ["gone"]).ways == ()
