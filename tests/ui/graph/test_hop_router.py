"""Hops, their rates, the legend and the read-out keep clear of each other, of nodes and of their names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import pytest
from PySide6.QtCore import QRect
from pytestqt.qtbot import QtBot

from castray_desktop.core.protocol.messages import DeliverySnapshot
from castray_desktop.ui.graph.edge_geometry import sampled
from castray_desktop.ui.graph.graph_appearance import hops
from castray_desktop.ui.graph.hop_router import BentLine, HopEnds, route_line
from castray_desktop.ui.graph.node_layout import Box, NodeShape, Point, source_boxes
from castray_desktop.ui.graph.scene_items import to_point, to_rect
from tests.helpers.samples import GB, make_cast, make_delivery, make_node
from tests.ui.graph.test_graph_card import Stage

LONG = "ml-cluster-worker-gpu-node-eu-west-1a-{:02}"  # 40 characters
SIZES = ((736, 472), (440, 392), (900, 440))


def names(count: int, pattern: str = LONG) -> list[str]:
    return [pattern.format(number) for number in range(1, count + 1)]


def deliveries(count: int, feeds: int) -> list[DeliverySnapshot]:
    """A route in which each node feeds so many others."""
    path = ["desk", *names(count)]
    return [
        make_delivery(
            name,
            upstream=path[(number - 1) // feeds],
            bytes=(count + 2 - number) * GB // 4,
            rate=2e6 if number == 3 else 1.18e8,
            lagging=number == 3,
        )
        for number, name in enumerate(path[1:], 1)
    ]


def show(qtbot: QtBot, size: tuple[int, int], count: int, zones: int, feeds: int) -> Stage:
    stage = Stage(qtbot, 0)
    stage.window.resize(*size)
    racks = [f"rack {'abc'[number * zones // count]}" if zones else "" for number in range(count)]
    recipients = [make_node(name, zone=zone) for name, zone in zip(names(count), racks, strict=True)]
    stage.nodes.apply([make_node("desk", this_computer=True), *recipients])
    stage.graph._legend_clicked(shown=True)
    cast = make_cast(recipients=count, chain=("desk", *names(count)))
    stage.nodes.watch(cast, deliveries(count, feeds))
    return stage


def painted(stage: Stage) -> dict[str, tuple[Box, Box]]:
    """What each node paints: its circle and its name."""
    layout = stage.scene.layout
    nodes = {name: layout.painted(place) for name, place in layout.nodes.items()}
    return {"desk": source_boxes(layout.source), **nodes}


def drawn(stage: Stage) -> Iterator[tuple[str, str, list[Point]]]:
    for hop in hops(stage.nodes):
        yield hop.upstream, hop.node, list(sampled(stage.scene.path.hops[hop.node].appearance.curve))


CASES = [
    (size, count, zones, feeds)
    for size, count, zones, feeds in product(SIZES, (1, 3, 8, 24), (0, 3), (1, 2))
    if count > zones or not zones
]


@pytest.mark.parametrize(("size", "count", "zones", "feeds"), CASES)
def test_nothing_on_the_graph_covers_anything_else(
    qtbot: QtBot, size: tuple[int, int], count: int, zones: int, feeds: int
) -> None:
    stage = show(qtbot, size, count, zones, feeds)
    parts = painted(stage)
    summary = stage.scene.layout.summary if stage.scene.has_summary else None
    points: list[Point] = []
    for upstream, node, line in drawn(stage):
        points += line
        for name, (circle, title) in parts.items():
            own = name in (upstream, node)
            assert not any(title.contains(point) for point in line), f"{upstream} → {node} over {name}"
            assert own or not any(circle.contains(point) for point in line), f"{upstream} → {node}: {name}"
        if summary is not None and stage.scene._summary.isVisible():
            assert not any(summary.contains(point) for point in line), f"{upstream} → {node} over the figures"
    shown = [item.boundingRect() for item in stage.scene.path.rates.values() if item.isVisible()]
    rates = [rect.adjusted(1, 1, -1, -1) for rect in shown]
    assert rates or stage.scene.layout.cell not in (NodeShape.FULL, NodeShape.COMPACT)
    for rate in rates:
        assert not any(rate.contains(to_point(point)) for point in points)
        assert not any(
            rate.intersects(to_rect(box)) for boxes in parts.values() for box in boxes if box.width
        )
    overlays = stage.view.overlays
    for over in (overlays.legend, overlays.read_out):
        if over.isVisible():
            assert is_clear(stage, over.geometry())
    assert overlays.legend.isVisible()
    assert not overlays.legend.geometry().intersects(overlays.read_out.geometry())


@pytest.mark.parametrize(("size", "count"), [((736, 472), 24), ((440, 392), 8)])
def test_a_hop_to_the_next_row_does_not_cover_other_hops(
    qtbot: QtBot, size: tuple[int, int], count: int
) -> None:
    stage = show(qtbot, size, count, 0, 1)
    lines = list(drawn(stage))
    places = stage.scene.places()
    level = [line for upstream, node, line in lines if places[upstream].y == places[node].y]
    bent = [line for upstream, node, line in lines if upstream != "desk" and line not in level]
    assert level
    assert bent
    for line, other in product(bent, level):
        left, top = min(point.x for point in other), min(point.y for point in other)
        right, bottom = max(point.x for point in other), max(point.y for point in other)
        area = Box(left, top - 4, right - left, bottom - top + 8)
        assert not any(area.contains(point) for point in line)


@pytest.mark.parametrize("count", [2, 4, 6])
@pytest.mark.parametrize("size", [(440, 392), (520, 400), (736, 472)])
def test_hops_stay_inside_the_view(qtbot: QtBot, size: tuple[int, int], count: int) -> None:
    stage = show(qtbot, size, count, 0, 1)
    for upstream, node, line in drawn(stage):
        assert max(point.x for point in line) <= stage.scene.layout.width - 2, f"{upstream} → {node}"


def is_clear(stage: Stage, place: QRect) -> bool:
    """Whether a widget covers no node, no name of a zone, no rate and no hop that can be seen."""
    seen = place.intersected(stage.view.geometry())
    overlays, scene = stage.view.overlays, stage.scene
    names = [stage.view.mapFromScene(to_rect(box)).boundingRect() for box in scene.caption_boxes()]
    rects = [*overlays.node_rects(), *overlays.label_rects(), *names]
    if any(seen.intersects(rect) for rect in rects):
        return False
    points = [stage.view.mapFromScene(to_point(point)) for point in scene.path.line_points()]
    return not any(seen.contains(point) for point in points)


def test_long_names_that_differ_at_their_ends_are_told_apart(qtbot: QtBot) -> None:
    stage = show(qtbot, SIZES[0], 3, 0, 1)
    first, second = (stage.view.grab(rect_of_name(stage, name)).toImage() for name in names(2))
    assert first != second


def rect_of_name(stage: Stage, name: str) -> QRect:
    box = painted(stage)[name][1]
    return stage.view.mapFromScene(to_rect(Box(box.x, box.y, box.width, 18))).boundingRect()


def test_a_line_is_bent_round_what_is_between_its_ends() -> None:
    between = Box(140, 70, 40, 60)
    ends = HopEnds(Point(40, 100), Point(280, 100), (30, 30))
    line = route_line(ends, [between], (320, 200), 8)
    assert line is not None
    assert (math.dist(line.start, ends.start), math.dist(line.end, ends.end)) == (30, 30)
    assert not any(between.contains(point) for point in sampled(line))
    assert all(a.x == b.x or a.y == b.y for a, b in zip(line.points, line.points[1:], strict=False))


def test_no_line_leads_through_a_wall() -> None:
    wall = Box(140, -10, 40, 220)
    assert route_line(HopEnds(Point(40, 100), Point(280, 100), (30, 30)), [wall], (320, 200), 8) is None


def test_a_point_of_a_bent_line_is_found_by_its_length() -> None:
    line = BentLine((Point(0, 0), Point(100, 0), Point(100, 300)))
    assert line.at(0.125) == Point(50, 0)
    assert line.at(0.5) == Point(100, 100)
    assert line.at(1.0) == Point(100, 300)
