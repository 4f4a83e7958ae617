"""Locks on the hops of the graph, and what tool tips, details and screen readers say of encryption."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QRect
from PySide6.QtGui import QImage
from pytestqt.qtbot import QtBot

from castray_desktop.core.multicast.datagrams import MulticastState
from castray_desktop.core.protocol.messages import (
    CastState,
    DeliverySnapshot,
    DeliveryState,
    MulticastSnapshot,
)
from castray_desktop.ui.graph.node_layout import Box, NodeShape, Point
from castray_desktop.ui.graph.scene_items import to_point
from castray_desktop.ui.graph.side_card import facts_of
from castray_desktop.ui.transfers.cast_sheets import cast_facts, delivery_rows
from tests.helpers.samples import GB, NOW, make_cast, make_delivery
from tests.ui.graph.test_graph_card import Stage
from tests.ui.graph.test_path_layer import relay


def chain(*encrypted: bool | None, **values: object) -> list[DeliverySnapshot]:
    """A chain from the source, whose hops are encrypted, are not, or stay inside a machine."""
    return [
        make_delivery(f"node_{n}", upstream=f"node_{n - 1}" if n > 1 else "desk", encrypted=hop, **values)
        for n, hop in enumerate(encrypted, 1)
    ]


def test_each_hop_between_machines_has_a_lock(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 3)
    stage.nodes.watch(make_cast(), chain(True, False, None))
    locks = stage.scene.path.locks
    assert {name: lock.encrypted for name, lock in locks.items()} == {"node_1": True, "node_2": False}
    stage.nodes.watch(make_cast(state=CastState.COMPLETED), chain(True, True, None, rate=0.0))
    assert {name: lock.encrypted for name, lock in locks.items()} == {"node_1": True, "node_2": True}
    stage.nodes.watch(None, [])
    assert locks == {}
    assert "LockItem" not in stage.item_counts()


def test_open_and_closed_locks_are_other_shapes(qtbot: QtBot) -> None:
    """Also to somebody who sees no colours."""
    stage = Stage(qtbot, 3)
    shapes = []
    for encrypted in (True, False):
        stage.nodes.watch(make_cast(), chain(encrypted, None, None, rate=0.0))
        lock = stage.scene.path.locks["node_1"].box
        corner = stage.view.mapFromScene(to_point(Point(lock.x, lock.y)))
        area = QRect(corner.x() + 3, corner.y() + 1, 10, 7)  # where the shackle is
        image = stage.view.grab(area).toImage().convertToFormat(QImage.Format.Format_Grayscale8)
        rows = [[image.pixelColor(x, y).value() for x in range(image.width())] for y in range(image.height())]
        dark = [[value < 200 for value in row] for row in rows]
        assert any(map(any, dark))
        shapes.append(dark)
    assert shapes[0] != shapes[1]


def test_signs_of_failed_and_paused_hops_take_the_place_of_the_lock(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 3)
    first, second, third = chain(True, True, True)
    failed = make_delivery("node_2", DeliveryState.FAILED, upstream="node_1", encrypted=True)
    paused = make_delivery("node_3", DeliveryState.PAUSED, upstream="node_2", encrypted=True)
    stage.nodes.watch(make_cast(), [first, second, third])
    assert len(stage.scene.path.locks) == 3
    stage.nodes.watch(make_cast(), [first, failed, paused])
    assert stage.scene.path.locks.keys() == {"node_1"}


@pytest.mark.parametrize("count", [3, 7, 12, 20, 40])
@pytest.mark.parametrize("size", [(736, 472), (440, 392), (1300, 600)])
def test_locks_cover_no_circle_and_no_rate(qtbot: QtBot, count: int, size: tuple[int, int]) -> None:
    stage = Stage(qtbot, count)
    stage.window.resize(*size)
    stage.nodes.watch(make_cast(recipients=count), chain(*[True] * count))
    layout, path = stage.scene.layout, stage.scene.path
    if layout.cell not in (NodeShape.FULL, NodeShape.COMPACT):
        assert path.locks == {}
        return
    assert len(path.locks) == count
    circles = [layout.painted(place)[0] for place in layout.nodes.values()]
    locks = [lock.box for lock in path.locks.values()]
    clear = [lock for lock in locks if not any(inner(lock).intersects(inner(circle)) for circle in circles)]
    assert len(clear) >= 0.9 * len(locks)
    rates = [rate._box for rate in path.rates.values() if rate.isVisible()]
    covered = [
        rate
        for rate in rates
        if any(inner(lock).intersects(Box(rate.x(), rate.y(), rate.width(), rate.height())) for lock in locks)
    ]
    assert covered == []


def inner(box: Box) -> Box:
    """The square in a disc."""
    edge = 0.15 * box.width
    return Box(box.x + edge, box.y + edge, box.width - 2 * edge, box.height - 2 * edge)


def test_the_tool_tip_of_a_lock(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 3)
    stage.nodes.watch(make_cast(), chain(True, False, None))

    def tip(node: str) -> str:
        box = stage.scene.path.locks[node].box
        return stage.scene.tool_tip_at(to_point(Point(box.x + box.width / 2, box.y + box.height / 2)))

    assert tip("node_1") == "Encrypted: desk → node_1"
    assert tip("node_2") == "Not encrypted: data from node_1 → node_2 can be read in transit"
    assert "Encrypted: desk → node_1" in stage.scene.tool_tip("node_1").splitlines()
    assert "ncrypted" not in stage.scene.tool_tip("node_3")


def test_a_screen_reader_says_it(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 3)
    stage.nodes.watch(make_cast(), chain(True, False, None))
    said = [stage.scene.spoken_description(f"node_{n}").split(", ") for n in (1, 2, 3)]
    assert ["encrypted" in words for words in said] == [True, False, False]
    assert ["not encrypted" in words for words in said] == [False, True, False]


def test_the_side_card_says_it(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 3)
    stage.nodes.watch(make_cast(), chain(True, False, None))
    told = []
    for n in (1, 2, 3):
        node = stage.nodes.get(f"node_{n}")
        assert node is not None
        facts = {fact.title: fact.value for fact in facts_of(node, stage.nodes, [], NOW).facts}
        told.append(facts.get("Connection"))
    assert told == ["encrypted", "not encrypted", None]


def test_multicast_has_an_open_lock(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 3)
    sending = MulticastSnapshot(MulticastState.SENDING, listeners=("node_1", "node_2", "node_3"), rate=1e8)
    heard = [
        make_delivery(f"node_{n}", upstream="desk", listening=True, datagram_bytes=4 * GB, encrypted=False)
        for n in (1, 2, 3)
    ]
    stage.nodes.watch(make_cast(multicast=sending, encrypted=False), heard)
    assert stage.scene.path.locks == {}
    [box] = stage.scene.path.bus_figures()
    tip = stage.scene.tool_tip_at(to_point(Point(box.x + box.width / 2, box.y + box.height / 2)))
    assert tip.splitlines()[-1] == "Multicast is not encrypted: anyone on the network can read it"


def test_details_say_it_of_the_cast_and_of_each_recipient() -> None:
    def told(encrypted: bool | None, deliveries: list[DeliverySnapshot]) -> str | None:
        return dict(cast_facts(make_cast(encrypted=encrypted), deliveries)).get("Encryption")

    assert told(True, chain(True, True)) == "Encrypted between machines"
    assert told(False, chain(True, False)) == "Not encrypted to node_2"
    assert told(False, chain(False, None)) == "Not encrypted"
    assert told(None, relay(3)) is None
    cells = [cells[7] for _, cells in delivery_rows(chain(True, False, None))]
    assert [(cell.text, cell.tone) for cell in cells] == [("Yes", "text_2"), ("No", "warn"), ("–", "text_2")]
