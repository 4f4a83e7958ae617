"""The relay on the graph: the read-out is always visible, and paused hops differ from others."""

from __future__ import annotations

from itertools import pairwise

import pytest
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import (
    CastState,
    DeliverySnapshot,
    DeliveryState,
    MulticastSnapshot,
)
from castray_desktop.ui.graph.node_layout import Box, GraphLayout, NodeShape, Point, compute_layout
from castray_desktop.ui.graph.overlays import STRIP
from castray_desktop.ui.graph.scene_items import to_point, to_rect
from tests.helpers.samples import GB, make_cast, make_delivery, make_node
from tests.ui.graph.test_graph_card import Stage

STOPPED = MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NOTHING_ARRIVES)


def relay(count: int, prefix: str = "node_") -> list[DeliverySnapshot]:
    """A chain of so many, of which the third has a slow disk."""
    names = ["desk", *(f"{prefix}{number}" for number in range(1, count + 1))]
    return [
        make_delivery(
            name,
            upstream=upstream,
            bytes=(count + 2 - number) * GB // 4,
            rate=2e6 if number == 3 else 1e8,
            writing=0.9,
        )
        for number, (upstream, name) in enumerate(pairwise(names), 1)
    ]


def read_out_covers_nothing(stage: Stage) -> bool:
    place = stage.view.overlays.read_out.geometry()
    inside = place.intersected(stage.view.geometry())
    card = stage.view.overlays.side_card
    return not (
        any(inside.intersects(part) for part in stage.view.overlays.node_rects())
        or (card.isVisible() and card.geometry().intersects(place))
        or not stage.view.overlays.read_out.parentWidget().rect().contains(place)
    )


@pytest.mark.parametrize("count", range(1, 17))
@pytest.mark.parametrize("size", [(736, 472), (610, 430), (900, 440)])
def test_the_read_out_is_visible_and_covers_nothing(qtbot: QtBot, count: int, size: tuple[int, int]) -> None:
    stage = Stage(qtbot, count)
    stage.window.resize(*size)
    stage.nodes.watch(make_cast(recipients=count, multicast=STOPPED), relay(count))
    assert stage.view.overlays.read_out.isVisible()
    assert read_out_covers_nothing(stage)


def test_the_read_out_gets_a_strip_where_nodes_leave_no_place(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 0)
    names = [f"a-machine-with-a-long-name-{number}" for number in range(1, 13)]
    stage.nodes.apply([make_node(name, zone="rack a" if n < 6 else "rack b") for n, name in enumerate(names)])
    cast = make_cast(recipients=12, multicast=STOPPED)
    stage.nodes.watch(cast, relay(12, "a-machine-with-a-long-name-"))
    read_out = stage.view.overlays.read_out
    assert stage.scene.layout.cell is NodeShape.COMPACT
    assert len(read_out.lines) == 3
    assert read_out.isVisible()
    assert read_out.height() == STRIP
    assert not read_out.geometry().intersects(stage.view.geometry())
    places = stage.scene.places()
    stage.nodes.watch(cast, relay(11, "a-machine-with-a-long-name-"))
    assert stage.scene.places() == places
    stage.nodes.watch(make_cast(state=CastState.COMPLETED), [])
    legend = stage.view.overlays.legend
    assert stage.view.geometry().bottom() == legend.geometry().top() - 1  # which has rows of its own here


@pytest.mark.parametrize("name", ["node_1", "node_3", "desk"])
@pytest.mark.parametrize("count", [3, 6, 12])
@pytest.mark.parametrize("size", [(736, 472), (1000, 520), (700, 700), (1300, 600), (600, 480)])
def test_the_side_card_does_not_cover_the_read_out(
    qtbot: QtBot, size: tuple[int, int], count: int, name: str
) -> None:
    stage = Stage(qtbot, count)
    stage.window.resize(*size)
    stage.nodes.watch(make_cast(recipients=count), relay(count))
    before = stage.view.overlays.read_out.geometry()
    stage.graph.side_card.show(name)
    assert stage.view.overlays.side_card.isVisible()
    assert stage.view.overlays.read_out.isVisible()
    assert read_out_covers_nothing(stage)
    stage.graph.side_card.close()
    assert stage.view.overlays.read_out.geometry() == before


def paused(*nodes: str) -> list[DeliverySnapshot]:
    return [
        make_delivery(
            item.node,
            DeliveryState.PAUSED if item.node in nodes else DeliveryState.RECEIVING,
            upstream=item.upstream,
            rate=0.0 if item.node in nodes else 1e8,
        )
        for item in relay(3)
    ]


def picture(stage: Stage, node: str) -> tuple[QImage, Box]:
    """The view, and where the middle of that node's hop is in it."""
    middle = stage.view.mapFromScene(to_point(stage.scene.path.hops[node].appearance.curve.at(0.5)))
    return stage.view.grab().toImage(), Box(middle.x() - 8, middle.y() - 8, 16, 16)


def count_pixels(image: QImage, box: Box, color: QColor) -> int:
    """The number of pixels with about that colour."""
    return sum(
        abs(seen.red() - color.red()) + abs(seen.green() - color.green()) + abs(seen.blue() - color.blue())
        < 60
        for x in range(round(box.x), round(box.x + box.width))
        for y in range(round(box.y), round(box.y + box.height))
        for seen in [image.pixelColor(x, y)]
    )


def test_a_paused_hop_is_pale_and_has_a_sign(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 3)
    stage.nodes.watch(make_cast(), paused())
    going = stage.scene.path.hops["node_2"].appearance
    before, box = picture(stage, "node_2")
    stage.nodes.watch(make_cast(paused=1), paused("node_2"))
    appearance = stage.scene.path.hops["node_2"].appearance
    assert (going.paused, appearance.paused, appearance.moving) == (False, True, False)
    assert appearance.width < going.width
    assert "node_2" not in stage.scene.path.rates
    after, box = picture(stage, "node_2")
    sign = QColor(stage.graph._theme.palette.offline)
    assert count_pixels(after, box, sign) >= count_pixels(before, box, sign) + 20
    assert stage.scene.path.hops["node_3"].appearance.paused is False
    assert stage.scene.tool_tip("node_2").splitlines()[0] == "node_2 — Paused"
    stage.nodes.watch(make_cast(), paused())
    assert stage.scene.path.hops["node_2"].appearance == going


def test_among_dots_paused_hops_are_separate_segments(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 400)
    deliveries = relay(400)
    stage.nodes.watch(make_cast(recipients=400), deliveries)
    assert [len(kind) for kind in stage.scene.path.segments.segments] == [400, 0, 0, 0]
    deliveries[8] = make_delivery("node_9", DeliveryState.PAUSED, upstream="node_8", rate=0.0)
    stage.nodes.watch(make_cast(recipients=400), deliveries)
    assert [len(kind) for kind in stage.scene.path.segments.segments] == [399, 0, 0, 1]


@pytest.mark.parametrize("count", range(2, 13))
def test_names_of_zones_on_the_ring_cover_no_node(qtbot: QtBot, count: int) -> None:
    recipients = [(f"node_{n:02}", "rack a" if n < count // 2 else "rack b") for n in range(count)]
    layout = compute_layout(736, 424, recipients)
    assert layout.ring
    for zone in layout.zones:
        label = Box(zone.label.x - 48, zone.label.y - 10, 96, 20)
        circles = [circle_of(layout, place) for place in layout.nodes.values()]
        assert not any(label.intersects(circle) for circle in circles)
        assert to_rect(Box(0, 0, 736, 424)).contains(to_rect(label))


def circle_of(layout: GraphLayout, place: Point) -> Box:
    """What is always seen of a node: its circle, without what highlights it."""
    circle, _ = layout.painted(place)
    return Box(circle.x + 6, circle.y + 6, circle.width - 12, circle.height - 12)


def test_the_signs_of_hops_cover_no_names(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 3)
    stage.window.resize(440, 392)
    upstreams = {"node_1": "node_3", "node_2": "desk", "node_3": "node_2"}
    moved = set()
    for state in (DeliveryState.FAILED, DeliveryState.PAUSED):
        deliveries = [
            make_delivery(node, state, upstream=upstream, rate=0.0) for node, upstream in upstreams.items()
        ]
        stage.nodes.watch(make_cast(state=CastState.FAILED), deliveries)
        layout = stage.scene.layout
        assert layout.cell is NodeShape.FULL
        taken = [box for place in layout.nodes.values() for box in layout.painted(place)]
        appearances = [item.appearance for item in stage.scene.path.hops.values()]
        for x, y in (appearance.curve.at(appearance.marker_position) for appearance in appearances):
            sign = Box(x - 8, y - 8, 16, 16)
            assert not any(sign.intersects(box) for box in taken)
        moved.add(any(appearance.marker_position != 0.5 for appearance in appearances))
    assert moved == {True}
