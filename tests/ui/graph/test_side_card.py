"""The side card: a node's facts, the place of the card, and how it is opened and closed."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QAccessible, QDragEnterEvent, QDragLeaveEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastState, DeliveryState, NodeState
from castray_desktop.ui.graph.overlays import OccupiedArea, least_covering
from castray_desktop.ui.graph.side_card import facts_of
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.desktop.seen import accessible
from tests.helpers.fake_engine import FakeLink
from tests.helpers.samples import GB, NOW, make_cast, make_delivery, make_node
from tests.ui.graph.test_graph_card import LEFT, NONE, Stage


@pytest.fixture
def stage(qtbot: QtBot) -> Stage:
    return Stage(qtbot, 3)


def lines(nodes: NodeList, name: str, *under_way: str) -> list[tuple[str, str]]:
    node = nodes.get(name)
    assert node is not None
    others = [(make_cast(other), make_delivery(name)) for other in under_way]
    return [(fact.title, fact.value) for fact in facts_of(node, nodes, others, NOW).facts]


def test_facts_of_a_machine() -> None:
    nodes = NodeList()
    facts = {
        "zone": "rack a",
        "cpus": 8.0,
        "gpus": 1.0,
        "load": 0.38,
        "memory": 32 * GB,
        "memory_free": 12 * GB,
        "link": 1_250_000_000,
        "labels": {"b": "2", "a": "1"},
    }
    nodes.apply([make_node("gpu-a1", **facts)])
    assert lines(nodes, "gpu-a1") == [
        ("Cast", "none in progress"),
        ("Address", "127.0.0.1"),
        ("Zone", "rack a"),
        ("CPU", "8, 38% busy"),
        ("GPU", "1"),
        ("Memory", "12.0 GB of 32.0 GB free"),
        ("Disk", "90.0 GB of 100 GB free"),
        ("Link", "1.2 GB/s"),
        ("Labels", "a=1, b=2"),
    ]


def test_unknown_facts_are_left_out() -> None:
    nodes = NodeList()
    bare = {"address": "", "cpus": 0.0, "disk_total": 0, "last_seen": NOW - 240}
    nodes.apply([make_node("gpu-a1", NodeState.OFFLINE, **bare)])
    assert lines(nodes, "gpu-a1")[1:] == [("Last seen", "4 min ago"), ("Link", "speed unknown")]


def test_current_transfers_of_a_node() -> None:
    nodes = NodeList()
    nodes.apply([make_node(f"node_{number}") for number in range(1, 6)])
    receivers = [make_delivery(f"node_{number}", upstream="node_1", rate=50e6) for number in (2, 3, 4, 5)]
    nodes.watch(make_cast(recipients=5), [make_delivery("node_1", upstream="desk"), *receivers])
    assert lines(nodes, "node_1", "model.bin", "b", "c", "d")[:8] == [
        ("From", "desk at 100 MB/s"),
        ("To", "node_2 at 50 MB/s"),
        ("", "node_3 at 50 MB/s"),
        ("", "and 2 more"),
        ("Cast", "model.bin · 40%"),
        ("", "b · 40%"),
        ("", "c · 40%"),
        ("", "and 1 more"),
    ]


def test_state_and_failure_of_a_node() -> None:
    nodes = NodeList()
    nodes.apply([make_node("node_1")])
    lost = Failure(FailureKind.NODE_OFFLINE, {"node": "node_1"})
    failed = make_delivery("node_1", DeliveryState.FAILED, rate=0.0, failure=lost)
    nodes.watch(make_cast(state=CastState.FAILED, failed=1), [failed])
    node = nodes.get("node_1")
    assert node is not None
    facts = facts_of(node, nodes, [], NOW)
    assert (facts.glyph, facts.state) == (GlyphState.FAILED, "Failed")
    assert [remark.tone for remark in facts.remarks] == ["bad"]
    assert "node_1" in facts.remarks[0].text
    assert facts.facts[0].value == "model.bin · Failed"


def test_a_key_opens_and_closes_the_side_card(stage: Stage) -> None:
    view, card = stage.view, stage.view.overlays.side_card
    view.setFocus()
    QTest.keyClick(view, Qt.Key.Key_I)
    assert not card.isVisible()
    QTest.keyClick(view, Qt.Key.Key_Right)
    QTest.keyClick(view, Qt.Key.Key_I)
    assert card.isVisible()
    assert card.accessibleName() == "Details of node_1"
    QTest.keyClick(view, Qt.Key.Key_Down)
    assert card.accessibleName() == f"Details of {stage.scene.focus_node}" != "Details of node_1"
    stage.selection.select_all()
    QTest.keyClick(view, Qt.Key.Key_Escape)
    assert not card.isVisible()
    assert len(stage.selection.selected()) == 3
    QTest.keyClick(view, Qt.Key.Key_I)
    QTest.keyClick(view, Qt.Key.Key_I)
    assert not card.isVisible()


def test_the_focus_returns_to_the_node(stage: Stage, qtbot: QtBot) -> None:
    qtbot.waitUntil(stage.window.isActiveWindow)
    card = stage.view.overlays.side_card
    stage.graph.side_card.show("node_2")
    card.close_button.setFocus()
    QTest.keyClick(card.close_button, Qt.Key.Key_Escape)
    assert not card.isVisible()
    assert stage.view.hasFocus()
    assert stage.scene.focus_node == "node_2"


def test_a_double_click_opens_the_side_card_and_a_click_changes_its_node(stage: Stage) -> None:
    card = stage.view.overlays.side_card
    stage.click("node_1")
    assert not card.isVisible()
    QTest.mouseDClick(stage.view.viewport(), LEFT, NONE, stage.at("node_1"))
    assert card.accessibleName() == "Details of node_1"
    stage.click("node_2")
    assert card.accessibleName() == "Details of node_2"
    assert stage.selection.selected() == {"node_2"}
    QTest.mouseClick(card.close_button, LEFT)
    assert not card.isVisible()
    stage.click("node_1")
    assert not card.isVisible()


def test_the_menu_opens_the_side_card_of_the_source(stage: Stage) -> None:
    titles = {action.text(): action for action in stage.graph.context_menu("desk").actions()}
    titles["Details"].trigger()
    assert stage.view.overlays.side_card.accessibleName() == "Details of desk"


def test_the_side_card_is_updated_and_closes_with_its_node(stage: Stage, qtbot: QtBot) -> None:
    card = stage.view.overlays.side_card
    stage.graph.side_card.show("node_2")
    stage.nodes.apply([make_node("node_2", zone="rack b")])
    qtbot.waitUntil(lambda: "rack b" in card.accessibleDescription())
    stage.nodes.apply([], ["node_2"])
    qtbot.waitUntil(lambda: not card.isVisible())


def test_a_drag_hides_the_side_card(stage: Stage) -> None:
    stage.graph.side_card.show("node_2")
    stage.drag(stage.at("node_1"), QDragEnterEvent)
    assert not stage.view.overlays.side_card.isVisible()
    QApplication.sendEvent(stage.view.viewport(), QDragLeaveEvent())
    assert stage.view.overlays.side_card.isVisible()


@pytest.mark.parametrize("width", [736, 1600])
def test_the_side_card_covers_no_node_and_no_figures(stage: Stage, width: int) -> None:
    stage.window.resize(width, 600)
    hops = [make_delivery(f"node_{number}", upstream=f"node_{number - 1}") for number in (2, 3)]
    stage.nodes.watch(make_cast(), [make_delivery("node_1", upstream="desk"), *hops])
    for name in ("desk", "node_1", "node_2", "node_3"):
        stage.graph.side_card.show(name)
        place = stage.view.overlays.side_card.geometry()
        assert stage.view.overlays.side_card.parentWidget().rect().contains(place)
        assert not any(
            place.intersects(part)
            for part in (*stage.view.overlays.node_rects(), *stage.view.overlays.label_rects())
        )
    before = stage.view.width()
    stage.graph.side_card.close()
    assert stage.view.width() == width - 2 >= before


def test_in_a_small_window_the_side_card_is_below_the_nodes(stage: Stage) -> None:
    stage.window.resize(440, 392)
    hops = [make_delivery(f"node_{number}", upstream=f"node_{number - 1}") for number in (2, 3)]
    stage.nodes.watch(make_cast(), [make_delivery("node_1", upstream="desk"), *hops])
    card, height = stage.view.overlays.side_card, stage.view.height()
    for name in ("node_1", "node_2", "node_3", "desk"):
        stage.graph.side_card.show(name)
        place = card.geometry()
        assert card.parentWidget().rect().contains(place)
        assert place.top() >= stage.view.geometry().bottom()
        assert not place.intersects(stage.view.overlays.read_out.geometry())
        assert not stage.view.overlays.read_out.geometry().intersects(stage.view.geometry())
    lines = [line for line in card._lines if line.isVisible()]
    assert lines[0].y() == lines[-1].y() or len({line.x() for line in lines}) == 2
    stage.graph.side_card.close()
    assert stage.view.height() == height


def test_many_nodes_keep_their_size_above_the_side_card(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 70)
    stage.window.resize(440, 392)
    QApplication.processEvents()
    cell, places = stage.scene.layout.cell, stage.scene.places()
    stage.graph.side_card.show("node_70")
    assert stage.view.height() < 250
    assert (stage.scene.layout.cell, stage.scene.places()) == (cell, places)
    spot = stage.view.overlays.node_rect("node_70")
    assert spot is not None
    assert stage.view.rect().contains(spot)


def test_a_long_side_card_scrolls(stage: Stage, qtbot: QtBot) -> None:
    stage.window.resize(380, 240)
    stage.graph.side_card.show("node_3")
    card = stage.view.overlays.side_card
    bar = card._scroll.verticalScrollBar()
    assert not bar.maximum()
    facts = {"zone": "a", "gpus": 1.0, "memory": GB, "labels": {"a": "1"}}
    stage.nodes.apply([make_node("node_3", **facts)])
    stage.graph.side_card.refresh()
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    assert card.parentWidget().rect().contains(card.geometry())
    QTest.keyClick(card, Qt.Key.Key_Down)
    assert bar.value()


def test_least_covering_prefers_free_places() -> None:
    room, size = QRect(0, 0, 300, 200), QSize(100, 100)
    left, right = OccupiedArea(QRect(0, 0, 150, 200)), OccupiedArea(QRect(280, 0, 20, 200), 0.5)
    place = QRect(least_covering(size, room, [left, right], QPoint(0, 0)), size)
    assert not place.intersects(left.area)
    assert not place.intersects(right.area)
    everywhere = OccupiedArea(room, 0.1)
    worst = OccupiedArea(QRect(0, 0, 60, 200), 4.0)
    place = QRect(least_covering(size, room, [everywhere, worst], QPoint(0, 0)), size)
    assert not place.intersects(worst.area)
    many = [OccupiedArea(QRect(x, 0, 1, 1)) for x in range(200)]
    assert least_covering(size, room, many, QPoint(0, 0)).y() >= 50


def test_overlays_are_accessible(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    window.graph.side_card.show("node_1")
    found = [
        f"{interface.text(QAccessible.Text.Name)}: {interface.text(QAccessible.Text.Description)}"
        for _, interface in accessible(window.graph)
    ]
    assert any(said.startswith("Legend: Selected, Receiving, Verified") for said in found)
    assert any(said.startswith("Slowest: node_2 → node_3, 74 MB/s. Limited by the link") for said in found)
    assert any(said.startswith("Details of node_1: ") and "Address 127.0.0.2" in said for said in found)


def test_the_side_card_lists_casts_of_the_window(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    casts = [cast.name for cast, _ in window.transfers.under_way_on("node_1")]
    assert casts == ["qwen2.5-14b-instruct/"]
    window.graph.side_card.show("node_1")
    assert "Cast qwen2.5-14b-instruct/ · 66%" in window.graph.view.overlays.side_card.accessibleDescription()
