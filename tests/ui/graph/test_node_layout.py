"""The graph's layout: deterministic, everything inside, no two nodes over each other."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castray_desktop.ui.graph.edge_geometry import hop_curve
from castray_desktop.ui.graph.hop_router import HopEnds
from castray_desktop.ui.graph.node_layout import Box, GraphLayout, NodeShape, Point, compute_layout

ROOMS = st.tuples(st.integers(360, 1600), st.integers(200, 1000))
RECIPIENTS = st.lists(st.sampled_from(["", "rack a", "rack b", "rack c"]), min_size=0, max_size=60).map(
    lambda zones: [(f"node_{i:04}", zone) for i, zone in enumerate(zones)]
)


def boxes(layout: GraphLayout) -> list[Box]:
    return [layout.cell.box(place) for place in layout.nodes.values()]


def check(layout: GraphLayout, width: float, height: float, count: int) -> None:
    assert len(layout.nodes) == count
    assert layout.width == width
    assert layout.height >= height
    cells = boxes(layout)
    source = Box(layout.source.x - 60, layout.source.y - 38, 120, 112)
    for number, box in enumerate(cells):
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= layout.width
        assert box.y + box.height <= layout.height
        assert not box.intersects(source)
        if count <= 100:
            assert not any(box.intersects(other) for other in cells[number + 1 :])
    if layout.summary is not None:
        assert not any(layout.summary.intersects(box) for box in (*cells, source))


@given(ROOMS, RECIPIENTS)
@settings(max_examples=200, deadline=None)
def test_nodes_do_not_overlap_and_are_inside(
    room: tuple[int, int], recipients: list[tuple[str, str]]
) -> None:
    width, height = room
    check(compute_layout(width, height, recipients), width, height, len(recipients))


@given(ROOMS, RECIPIENTS)
@settings(max_examples=50, deadline=None)
def test_the_layout_is_deterministic(room: tuple[int, int], recipients: list[tuple[str, str]]) -> None:
    assert compute_layout(*room, recipients) == compute_layout(*room, recipients)


@pytest.mark.parametrize(
    ("count", "cell"),
    [
        (3, NodeShape.FULL),
        (6, NodeShape.FULL),
        (12, NodeShape.COMPACT),
        (60, NodeShape.NAMED),
        (100, NodeShape.GLYPH),
    ],
)
def test_the_largest_cell_that_fits_is_taken(count: int, cell: NodeShape) -> None:
    assert compute_layout(736, 424, [(f"n{i:03}", "") for i in range(count)]).cell is cell


@pytest.mark.parametrize("size", [(734, 422), (574, 330), (438, 311)])
@pytest.mark.parametrize("zones", [0, 3])
@pytest.mark.parametrize("letters", [10, 40])
def test_two_dozen_nodes_have_names(size: tuple[int, int], zones: int, letters: int) -> None:
    """At the sizes that the graph has in windows of 1440x900, 1280x800 and 1024x700."""
    names = [f"{number:02}".rjust(letters, "n") for number in range(24)]
    recipients = [
        (name, f"rack {number * zones // 24}" if zones else "") for number, name in enumerate(names)
    ]
    layout = compute_layout(*size, recipients)
    check(layout, *size, 24)
    assert layout.height == size[1]
    circles, texts = zip(*map(layout.painted, layout.nodes.values()), strict=True)
    assert all(text.width >= 56 for text in texts)
    painted = (*circles, *texts)
    for number, one in enumerate(circles):
        assert not any(one.intersects(other) for other in circles[number + 1 :])
        others = (text for place, text in enumerate(texts) if place != number)
        assert not any(one.intersects(other) for other in others)
    for number, one in enumerate(texts):
        assert not any(one.intersects(other) for other in texts[number + 1 :])
    for zone in layout.zones:
        assert zone.box is not None
        mine = {layout.nodes[name] for name in zone.members}
        for place in layout.nodes.values():
            assert all(box.intersects(zone.box) is (place in mine) for box in layout.painted(place))
    assert all(box.x >= 0 and box.x + box.width <= size[0] for box in painted)


def test_names_get_the_width_that_they_need() -> None:
    def width(letters: int) -> float:
        names = [(f"{number:02}".rjust(letters, "n"), f"rack {number // 8}") for number in range(24)]
        return compute_layout(734, 422, names).name_width

    assert width(10) < width(20) < width(40)


def test_a_thousand_nodes_are_dots_that_do_not_touch() -> None:
    layout = compute_layout(736, 424, [(f"n{i:04}", f"rack {i // 250}") for i in range(1000)])
    assert layout.cell is NodeShape.DOT
    check(layout, 736, 424, 1000)
    assert len({(round(p.x), round(p.y)) for p in layout.nodes.values()}) == 1000
    assert [zone.name for zone in layout.zones] == ["rack 0", "rack 1", "rack 2", "rack 3"]


def test_six_nodes_in_two_zones_form_two_arcs() -> None:
    recipients = [(f"a{i}", "rack a") for i in range(3)] + [(f"b{i}", "rack b") for i in range(3)]
    layout = compute_layout(736, 424, recipients)
    upper, lower = [layout.nodes[f"a{i}"] for i in range(3)], [layout.nodes[f"b{i}"] for i in range(3)]
    assert upper[0].x < upper[1].x < upper[2].x
    assert lower[0].x > lower[1].x > lower[2].x
    assert max(p.y for p in upper) < layout.source.y < min(p.y for p in lower)
    assert [zone.members for zone in layout.zones] == [("a0", "a1", "a2"), ("b0", "b1", "b2")]
    assert layout.summary is not None


@given(ROOMS, RECIPIENTS)
@settings(max_examples=200, deadline=None)
def test_enclosures_on_a_ring_are_inside_and_apart(
    room: tuple[int, int], recipients: list[tuple[str, str]]
) -> None:
    layout = compute_layout(*room, recipients)
    rings = [zone for zone in layout.zones if zone.path]
    for zone in rings:
        for place in zone.path:
            assert zone.width / 2 <= place.x <= layout.width - zone.width / 2
            assert zone.width / 2 <= place.y <= layout.height - zone.width / 2
        assert 10 <= zone.label.y <= layout.height - 10  # half of its height
    for one, other in pairwise(rings):
        assert math.dist(one.path[-1], other.path[0]) > one.width


def test_the_hop_to_the_last_node_of_the_upper_row_does_not_end_below_a_label() -> None:
    layout = compute_layout(736, 424, [("a", "rack a"), ("b", "rack b"), ("c", "rack c")])
    assert layout.zones[1].label.y > layout.nodes["b"].y > layout.nodes["a"].y


def test_nodes_without_a_zone_have_no_enclosure() -> None:
    assert compute_layout(736, 424, [("node_1", ""), ("node_2", "")]).zones == ()


@given(
    st.tuples(st.floats(0, 700), st.floats(0, 400)),
    st.tuples(st.floats(0, 700), st.floats(0, 400)),
)
@settings(max_examples=100, deadline=None)
def test_a_hop_starts_and_ends_clear_of_both_circles(
    first: tuple[float, float], second: tuple[float, float]
) -> None:
    start, end = Point(*first), Point(*second)
    if math.dist(start, end) < 120:
        return
    curve = hop_curve(HopEnds(start, end, (38, 35)), Point(350, 200), 84, 0)
    assert math.dist(curve.start, start) >= 37
    assert math.dist(curve.end, end) >= 34


@pytest.mark.parametrize("cell", [NodeShape.FULL, NodeShape.COMPACT])
@pytest.mark.parametrize("degrees", range(0, 360, 5))
def test_no_badge_covers_the_head_of_a_hop(cell: NodeShape, degrees: int) -> None:
    angle, end = math.radians(degrees), Point(400, 300)
    start = Point(end.x + 200 * math.cos(angle), end.y + 200 * math.sin(angle))
    curve = hop_curve(HopEnds(start, end, (38, cell.radius + 9)), Point(350, 250), 84, cell.badge)
    for side in (-1, 1):
        assert math.dist(curve.end, (end.x + cell.badge, end.y + side * cell.badge)) > 11
