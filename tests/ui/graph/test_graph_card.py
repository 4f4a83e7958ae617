"""The node graph: clicking, keys, rubber band, drags, the relay path, many nodes."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QDragMoveEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from castray_desktop.core.protocol.messages import CastState, DeliverySnapshot, DeliveryState, NodeState
from castray_desktop.ui.graph.graph_appearance import cast_lines, hops
from castray_desktop.ui.graph.graph_card import GraphCard
from castray_desktop.ui.graph.node_layout import NodeShape
from castray_desktop.ui.graph.overlays import STRIP
from castray_desktop.ui.graph.path_layer import REROUTED
from castray_desktop.ui.graph.scene_items import to_point
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.theme.theme import Theme
from tests.helpers.samples import GB, NOW, make_cast, make_delivery, make_node, make_nodes

LEFT = Qt.MouseButton.LeftButton
CONTROL = Qt.KeyboardModifier.ControlModifier
NONE = Qt.KeyboardModifier.NoModifier


class Stage:
    """A graph in a window, with its models."""

    def __init__(self, qtbot: QtBot, count: int) -> None:
        self.nodes, self.selection = NodeList(), RecipientSelection()
        self.selection.follow(self.nodes)
        self.nodes.apply(make_nodes(count))
        self.graph = GraphCard(Theme(), self.nodes, self.selection, now=lambda: NOW)
        self.window = QWidget()
        layout = QVBoxLayout(self.window)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSizeConstraint(QVBoxLayout.SizeConstraint.SetNoConstraint)
        layout.addWidget(self.graph)
        for child in (self.nodes, self.selection):
            child.setParent(self.window)
        qtbot.addWidget(self.window)
        self.window.resize(736, 472)
        self.window.show()
        self.view, self.scene = self.graph.view, self.graph.scene_

    def at(self, name: str) -> QPoint:
        return self.view.mapFromScene(to_point(self.scene.places()[name]))

    def item_counts(self) -> Counter[str]:
        return Counter(type(item).__name__ for item in self.scene.items())

    def click(self, name: str, modifiers: Qt.KeyboardModifier = NONE) -> None:
        QTest.mouseClick(self.view.viewport(), LEFT, modifiers, self.at(name))

    def drag(
        self, place: QPoint, kind: type[QDropEvent], paths: tuple[str, ...] = ("/data/a",)
    ) -> QDropEvent:
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(path) for path in paths])
        spot = QPointF(place) if kind is QDropEvent else place
        event = kind(spot, Qt.DropAction.CopyAction, data, LEFT, NONE)
        event._data = data  # type: ignore[attr-defined]
        QApplication.sendEvent(self.view.viewport(), event)
        return event


@pytest.fixture
def stage(qtbot: QtBot) -> Stage:
    return Stage(qtbot, 3)


def test_nodes_that_went_and_came_while_the_graph_was_hidden_are_drawn(stage: Stage) -> None:
    size, names = stage.graph.size(), [f"node_{number}" for number in (1, 2, 3)]
    stage.graph.hide()
    stage.nodes.replace(())
    stage.graph.prepare(size)
    assert stage.scene.layout.nodes == {}
    stage.nodes.replace(make_nodes(3))
    stage.graph.show()
    QApplication.processEvents()
    assert sorted(stage.scene.layout.nodes) == names


def test_a_click_selects_one_and_control_adds(stage: Stage) -> None:
    stage.click("node_1")
    assert stage.selection.selected() == {"node_1"}
    stage.click("node_2")
    assert stage.selection.selected() == {"node_2"}
    stage.click("node_3", CONTROL)
    assert stage.selection.selected() == {"node_2", "node_3"}
    stage.click("node_2", CONTROL)
    assert stage.selection.selected() == {"node_3"}
    stage.click("desk")
    assert stage.selection.selected() == {"node_3"}


def band(stage: Stage, start: QPoint, end: QPoint, modifiers: Qt.KeyboardModifier = NONE) -> None:
    port = stage.view.viewport()
    QTest.mousePress(port, LEFT, modifiers, start)
    QTest.mouseMove(port, (start + end) / 2)
    QTest.mouseMove(port, end)
    QTest.mouseRelease(port, LEFT, modifiers, end)


def test_a_rubber_band_selects_what_it_touches(stage: Stage) -> None:
    around = QPoint(60, 60)
    band(stage, stage.at("node_1") - around, stage.at("node_1") + around)
    assert stage.selection.selected() == {"node_1"}
    band(stage, stage.at("node_3") - around, stage.at("node_3") + QPoint(40, 40), CONTROL)
    assert stage.selection.selected() == {"node_1", "node_3"}
    size = stage.view.viewport().size()
    band(stage, QPoint(2, 2), QPoint(size.width() - 3, size.height() - 3))
    assert stage.selection.selected() == {"node_1", "node_2", "node_3"}


def test_nodes_are_selected_by_keyboard(stage: Stage, qtbot: QtBot) -> None:
    view = stage.view
    view.setFocus()
    QTest.keyClick(view, Qt.Key.Key_Right)
    assert stage.scene.focus_node == "node_1"
    QTest.keyClick(view, Qt.Key.Key_Space)
    assert stage.selection.selected() == {"node_1"}
    QTest.keyClick(view, Qt.Key.Key_Down)
    QTest.keyClick(view, Qt.Key.Key_Space)
    assert len(stage.selection.selected()) == 2
    QTest.keyClick(view, Qt.Key.Key_A, CONTROL)
    assert len(stage.selection.selected()) == 3
    QTest.keyClick(view, Qt.Key.Key_Return)  # opens what has the focus, and never sends
    assert view.overlays.side_card.isVisible()
    QTest.keyClick(view, Qt.Key.Key_Escape)
    QTest.keyClick(view, Qt.Key.Key_Escape)
    assert not stage.selection.selected()


def test_the_title_counts_and_its_buttons_select(stage: Stage) -> None:
    pick = stage.graph._pick
    QTest.mouseClick(pick.button(0), LEFT)
    assert stage.graph._count.full_text() == "3 of 3 selected"
    stage.selection.toggle("node_1")
    QTest.mouseClick(pick.button(2), LEFT)
    assert stage.selection.selected() == {"node_1"}
    QTest.mouseClick(pick.button(1), LEFT)
    assert stage.graph._count.full_text() == "0 of 3 selected"


def test_files_dropped_on_a_node_are_for_it(stage: Stage, qtbot: QtBot) -> None:
    place = stage.at("node_2")
    assert stage.drag(place, QDragEnterEvent).isAccepted()
    assert stage.drag(place, QDragMoveEvent).isAccepted()
    assert stage.scene.targets == {"node_2"}
    with qtbot.waitSignal(stage.graph.drops.files_dropped) as caught:
        stage.drag(place, QDropEvent, ("/data/a", "/data/b"))
    assert caught.args == [["/data/a", "/data/b"], frozenset({"node_2"})]
    assert not stage.scene.dragging


def test_files_dropped_on_a_selected_node_are_for_all_selected(stage: Stage, qtbot: QtBot) -> None:
    stage.selection.set_selected({"node_1", "node_2"})
    stage.drag(stage.at("node_2"), QDragEnterEvent)
    with qtbot.waitSignal(stage.graph.drops.files_dropped) as caught:
        stage.drag(stage.at("node_2"), QDropEvent)
    assert caught.args is not None
    assert caught.args[1] == {"node_1", "node_2"}


def test_files_dropped_on_all_nodes_are_for_every_node_online(stage: Stage, qtbot: QtBot) -> None:
    stage.nodes.apply([make_node("node_3", NodeState.OFFLINE)])
    stage.drag(QPoint(5, 200), QDragEnterEvent)
    assert stage.view.overlays.pill.isVisible()
    place = stage.view.overlays.pill.geometry().center()
    stage.drag(place, QDragMoveEvent)
    with qtbot.waitSignal(stage.graph.drops.files_dropped) as caught:
        stage.drag(place, QDropEvent)
    assert caught.args is not None
    assert caught.args[1] == {"node_1", "node_2"}
    assert not stage.view.overlays.pill.isVisible()


@pytest.mark.parametrize("place", ["canvas", "desk", "offline"])
def test_files_dropped_elsewhere_have_no_recipients(stage: Stage, qtbot: QtBot, place: str) -> None:
    stage.nodes.apply([make_node("node_3", NodeState.OFFLINE)])
    spot = {"canvas": QPoint(5, 200), "desk": stage.at("desk"), "offline": stage.at("node_3")}[place]
    with qtbot.waitSignal(stage.graph.drops.drag_entered) as entered:
        stage.drag(spot, QDragEnterEvent)
    assert entered.args == [["/data/a"]]
    assert stage.drag(spot, QDragMoveEvent).isAccepted()
    with (
        qtbot.waitSignal(stage.graph.drops.drag_left),
        qtbot.waitSignal(stage.graph.drops.files_dropped) as dropped,
    ):
        stage.drag(spot, QDropEvent)
    assert dropped.args == [["/data/a"], frozenset()]


def test_a_drag_shows_a_hint_and_resets_the_scene(stage: Stage) -> None:
    hints: list[str] = []
    stage.graph.drops.drop_hint.connect(hints.append)
    stage.drag(stage.at("node_1"), QDragEnterEvent)
    stage.drag(stage.at("node_1"), QDragMoveEvent)
    assert hints[-1] == "Drop to send to node_1"
    assert stage.scene.items_by_name["node_2"].appearance.highlights.dim
    QApplication.sendEvent(stage.view.viewport(), QDragLeaveEvent())
    assert hints[-1] == ""
    assert not stage.scene.items_by_name["node_2"].appearance.highlights.dim


def test_the_menu_offers_only_what_can_be_done(stage: Stage, qtbot: QtBot) -> None:
    graph = stage.graph

    def titles(name: str) -> list[str]:
        return [action.text() for action in graph.context_menu(name).actions() if not action.isSeparator()]

    assert titles("") == []
    about = ["Details", "Copy address", "Open inbox", "Copy inbox path"]
    assert titles("node_1") == ["Send files here…", "Use as source", *about]
    assert titles("desk") == about
    stage.nodes.apply([make_node("node_2", address="10.0.0.7")])  # on another computer
    assert "Open inbox" not in titles("node_2")
    graph.nodes_editable = True
    stage.nodes.apply([make_node("node_3", removable=True)])
    assert titles("") == ["Add node…"]
    assert titles("node_1")[-1] == "Add node…"
    assert titles("node_3")[-1] == "Remove node"
    with qtbot.waitSignal(graph.remove_node_requested) as caught:
        graph.context_menu("node_3").actions()[-1].trigger()
    assert caught.args == ["node_3"]
    stage.selection.select_all()
    with qtbot.waitSignal(graph.browse_requested) as caught:
        graph.context_menu("node_1").actions()[0].trigger()
    assert caught.args == [frozenset({"node_1", "node_2", "node_3"})]
    next(each for each in graph.context_menu("node_1").actions() if each.text() == "Use as source").trigger()
    assert stage.selection.source == "node_1"


def test_an_inbox_of_this_computer_can_be_opened(stage: Stage, qtbot: QtBot, tmp_path: Path) -> None:
    stage.nodes.apply([make_node("node_1", inbox=str(tmp_path))])
    menu = stage.graph.context_menu("node_1")
    action = next(each for each in menu.actions() if each.text() == "Open inbox")
    qtbot.waitUntil(action.isEnabled)
    with qtbot.waitSignal(stage.graph.inbox_requested) as caught:
        action.trigger()
    assert caught.args == [str(tmp_path)]


def test_what_a_node_receives_is_paused_and_resumed_from_its_menu(stage: Stage, qtbot: QtBot) -> None:
    graph = stage.graph
    deliveries = [make_delivery("node_1"), make_delivery("node_2", DeliveryState.PAUSED)]
    stage.nodes.watch(make_cast(cast="c0ffee", recipients=2), deliveries)

    def choose(name: str, title: str) -> None:
        next(action for action in graph.context_menu(name).actions() if action.text() == title).trigger()

    with qtbot.waitSignal(graph.receiving_changed) as caught:
        choose("node_1", "Pause receiving")
    assert caught.args == ["c0ffee", "node_1", False]
    with qtbot.waitSignal(graph.receiving_changed) as caught:
        choose("node_2", "Resume receiving")
    assert caught.args == ["c0ffee", "node_2", True]
    assert not any("receiving" in action.text() for action in graph.context_menu("node_3").actions())


def test_a_running_cast_is_drawn_with_rates_and_moves(stage: Stage) -> None:
    cast = make_cast()
    deliveries = [make_delivery(f"node_{i}", lagging=i == 3, behind=GB) for i in (1, 2, 3)]
    stage.nodes.watch(cast, deliveries)
    counts = stage.item_counts()
    assert counts["HopItem"] == 3
    assert counts["RateItem"] == 3
    assert stage.view._dots.isActive()
    appearance = stage.scene.items_by_name["node_3"].appearance
    assert (appearance.share, appearance.facts, appearance.facts_role) == (0.4, "1.0 GB behind", "warn")
    stage.view._advance_dots()
    stage.graph.grab()
    stage.graph.view.reduce_motion(True)
    assert not stage.view._dots.isActive()
    stage.graph.view.reduce_motion(False)
    stage.window.hide()
    assert not stage.view._dots.isActive()


def test_a_finished_cast_is_faded(stage: Stage) -> None:
    stage.nodes.watch(make_cast(), [make_delivery("node_1")])
    ended = make_cast(state=CastState.PARTLY_FAILED, failed=1, verified=2, eta=None)
    done = [make_delivery(f"node_{i}", DeliveryState.COMPLETED, rate=0.0) for i in (1, 2)]
    stage.nodes.watch(ended, [*done, make_delivery("node_3", DeliveryState.FAILED)])
    assert not stage.view._dots.isActive()
    failed = [item for item in stage.scene.path.hops.values() if item.appearance.failed]
    assert (stage.item_counts()["HopItem"], len(failed)) == (3, 1)
    assert stage.item_counts()["RateItem"] == 0
    appearances = {name: item.appearance for name, item in stage.scene.items_by_name.items()}
    assert appearances["node_1"].share == 1.0
    assert appearances["node_3"].facts == "Failed"
    stage.nodes.watch(None)
    assert stage.item_counts()["HopItem"] == 0
    stage.graph.grab()


def test_hops_follow_the_upstream_rather_than_the_planned_chain(stage: Stage) -> None:
    stage.nodes.watch(make_cast(), [make_delivery("node_3", upstream="node_1")])
    assert [(hop.upstream, hop.node) for hop in hops(stage.nodes)] == [
        ("desk", "node_1"),
        ("node_1", "node_2"),
        ("node_1", "node_3"),
    ]


def test_the_title_without_recipients_has_the_figures_alone(stage: Stage) -> None:
    stage.nodes.replace([])
    stage.nodes.watch(make_cast(), [])
    assert stage.graph._count.full_text() == "40% · 1:00 left"


def test_the_figures_of_a_cast() -> None:
    assert cast_lines(make_cast()) == ("model.bin", "40%", "4.0 of 10.0 GB each · 1:00 left")
    assert cast_lines(make_cast(recipients=1, eta=None))[2] == "4.0 of 10.0 GB"
    assert cast_lines(make_cast(state=CastState.COMPLETED, verified=3))[2] == "10.0 GB verified on 3 nodes"


def test_nodes_that_come_and_go(stage: Stage) -> None:
    stage.nodes.apply([make_node("node_4", zone="rack a"), make_node("node_5", zone="rack a")], ["node_1"])
    assert set(stage.scene.items_by_name) == {"desk", "node_2", "node_3", "node_4", "node_5"}
    assert stage.item_counts()["ZoneItem"] == 1
    stage.nodes.replace([])
    assert stage.scene.items_by_name == {}
    stage.graph.grab()


def test_zooming_and_fitting(stage: Stage) -> None:
    view = stage.view
    view.set_zoom(2.0)
    assert view.transform().m11() == 2.0
    view.set_zoom(100)
    assert view.zoom == 4.0
    view.set_zoom(1.0)
    assert view.zoom == 1.0
    assert view.transform().m11() == 1.0


def test_a_refresh_keeps_the_scroll_position(stage: Stage) -> None:
    stage.view.set_zoom(2.0, QPoint(600, 300))
    bars = (stage.view.horizontalScrollBar(), stage.view.verticalScrollBar())
    before = [bar.value() for bar in bars]
    assert all(before)
    stage.nodes.apply([make_node("node_1", load=0.4)])
    stage.nodes.watch(make_cast(), [make_delivery("node_1")])
    assert [bar.value() for bar in bars] == before


def test_panning_with_the_space_key_or_the_middle_button(stage: Stage) -> None:
    view, port = stage.view, stage.view.viewport()
    view.set_zoom(2.0)
    view.setFocus()
    bar = view.horizontalScrollBar()
    before = bar.value()
    QTest.keyPress(view, Qt.Key.Key_Space)
    QTest.mousePress(port, LEFT, NONE, QPoint(300, 200))
    QTest.mouseMove(port, QPoint(260, 200))
    QTest.mouseRelease(port, LEFT, NONE, QPoint(260, 200))
    QTest.keyRelease(view, Qt.Key.Key_Space)
    assert bar.value() == before + 40
    assert not stage.selection.selected()
    QTest.mousePress(port, Qt.MouseButton.MiddleButton, NONE, QPoint(300, 200))
    QTest.mouseMove(port, QPoint(340, 200))
    QTest.mouseRelease(port, Qt.MouseButton.MiddleButton, NONE, QPoint(340, 200))
    assert bar.value() == before


def test_a_click_on_a_zones_name_selects_the_zone(stage: Stage) -> None:
    stage.nodes.apply([make_node(f"node_{i}", zone="rack a" if i < 3 else "") for i in (1, 2, 3)])
    (zone,) = stage.scene.layout.zones
    place = stage.view.mapFromScene(to_point(zone.label))
    QTest.mouseClick(stage.view.viewport(), LEFT, NONE, place)
    assert stage.selection.selected() == {"node_1", "node_2"}


def test_zooming_gives_many_nodes_larger_cells(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 60)
    small = stage.scene.layout.cell
    stage.view.set_zoom(4.0)
    assert small is NodeShape.NAMED
    assert stage.scene.layout.cell is NodeShape.COMPACT
    assert stage.view.transform().m11() == 1.0
    stage.graph.grab()


def test_a_glyph_shows_its_name_below_pointer_and_keyboard(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 150)
    assert stage.scene.layout.cell is NodeShape.GLYPH
    item = stage.scene.items_by_name["node_1"]
    cell = item.boundingRect()
    item.hoverEnterEvent(None)
    tag = item.boundingRect()
    assert tag.height() > cell.height()
    scene = stage.scene.sceneRect()
    for name in ("node_1", "node_13", "node_150"):  # at the edges
        other = stage.scene.items_by_name[name]
        other.hoverEnterEvent(None)
        assert scene.contains(other.mapRectToScene(other._tag))
        other.hoverLeaveEvent(None)
        assert other.boundingRect() == cell
    stage.view.go_to("node_2")
    assert not stage.scene.items_by_name["node_2"]._tag.isNull()
    stage.graph.grab()


def test_a_name_that_fits_has_no_second_one(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 60)
    item = stage.scene.items_by_name["node_1"]
    item.hoverEnterEvent(None)
    assert item._tag.isNull()


def test_a_thousand_nodes(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 1000)
    assert stage.item_counts()["NodeItem"] == 1
    assert len(stage.scene.places()) == 1001
    stage.nodes.watch(make_cast(recipients=1000), [make_delivery(f"node_{i}") for i in range(1, 1001)])
    stage.graph.grab()
    stage.selection.select_all()
    assert len(stage.selection.ready()) == 1000
    QTest.mouseClick(stage.view.viewport(), LEFT, NONE, stage.at("node_500"))
    assert stage.selection.selected() == {"node_500"}


def test_both_themes_are_painted(stage: Stage) -> None:
    theme = stage.graph._theme
    colors: list[str] = []
    for dark in (False, True):
        theme.set_dark(dark)
        colors.append(stage.graph.grab().toImage().pixelColor(20, 100).name())
    assert colors[0] != colors[1]


def relayed(*upstreams: str, failed: str = "") -> list[DeliverySnapshot]:
    """node_1 and so on, each fetching from the node given for it."""
    result = []
    for number, upstream in enumerate(upstreams, 1):
        name = f"node_{number}"
        state = DeliveryState.FAILED if name == failed else DeliveryState.RECEIVING
        rate = 0.0 if name == failed else 100e6 - number
        result.append(make_delivery(name, state, upstream=upstream, rate=rate))
    return result


def test_a_lost_node_and_its_replacement_hop_are_drawn(stage: Stage) -> None:
    stage.nodes.watch(make_cast(), relayed("desk", "node_1", "node_2"))
    assert not any(rate.text.startswith(REROUTED) for rate in stage.scene.path.rates.values())
    stage.nodes.watch(make_cast(failed=1), relayed("desk", "node_1", "node_1", failed="node_2"))
    appearances = {name: item.appearance for name, item in stage.scene.path.hops.items()}
    assert {name: appearance.failed for name, appearance in appearances.items()} == {
        "node_1": False,
        "node_2": True,
        "node_3": False,
    }
    place = stage.scene.places()
    ends = {name: (appearance.curve.start, appearance.curve.end) for name, appearance in appearances.items()}
    assert math.dist(ends["node_3"][0], place["node_1"]) < 60
    assert math.dist(ends["node_3"][1], place["node_3"]) < 60
    assert stage.scene.path.rates["node_3"].text.startswith(REROUTED)
    assert "it previously received from node_2" in stage.scene.tool_tip("node_3")
    assert stage.view.grab().toImage().size() == stage.view.size()
    stage.nodes.watch(make_cast(cast="another"), relayed("desk", "node_1", "node_1"))
    assert "previously" not in stage.scene.tool_tip("node_3")


def test_a_branching_route_is_drawn(stage: Stage) -> None:
    stage.nodes.watch(make_cast(), relayed("desk", "desk", "node_1"))
    upstreams = {hop.node: hop.upstream for hop in hops(stage.nodes)}
    assert upstreams == {"node_1": "desk", "node_2": "desk", "node_3": "node_1"}


def test_the_read_out_names_the_slowest_hop_and_its_bottleneck(stage: Stage) -> None:
    slow = make_delivery("node_3", upstream="node_2", bytes=GB, rate=20e6, writing=0.9)
    stage.nodes.watch(make_cast(), [*relayed("desk", "node_1"), slow])
    assert stage.view.overlays.read_out.isVisible()
    assert stage.view.overlays.read_out.accessibleName() == (
        "Slowest: node_2 → node_3, 20 MB/s. Limited by the disk of node_3"
    )
    assert "Limits the cast: the disk of node_3" in stage.scene.tool_tip("node_3")
    covered = stage.view.overlays.node_rects()
    assert not any(stage.view.overlays.read_out.geometry().intersects(place) for place in covered)
    stage.nodes.watch(make_cast(state=CastState.COMPLETED), [])
    assert not stage.view.overlays.read_out.isVisible()


def test_a_small_window_reserves_a_strip_for_the_read_out(stage: Stage) -> None:
    stage.window.resize(440, 392)
    stage.nodes.watch(make_cast(), relayed("desk", "node_1", "node_2"))
    read_out = stage.view.overlays.read_out
    assert read_out.isVisible()
    assert read_out.height() == STRIP
    assert not read_out.geometry().intersects(stage.view.geometry())
    (_, which), (_, why) = read_out._placed()
    assert which.right() < why.left()
    assert why.right() <= read_out.width()
    assert read_out.grab().toImage().size() == read_out.size()
    stage.nodes.watch(make_cast(state=CastState.COMPLETED), [])
    assert not read_out.isVisible()
    assert stage.view.geometry().bottom() == read_out.parentWidget().rect().bottom()


def test_a_limit_over_all_casts_is_named(stage: Stage) -> None:
    stage.nodes.limit = 100_000_000
    stage.nodes.watch(make_cast(), relayed("desk", "node_1", "node_2"))
    assert stage.view.overlays.read_out.lines[1] == "Limited by the speed limit"


def test_a_limit_that_casts_share_is_named(stage: Stage) -> None:
    stage.nodes.limit = 200_000_000
    stage.nodes.watch(make_cast(), relayed("desk"), relayed("desk"))
    shared = "the speed limit, shared with other casts"
    assert stage.view.overlays.read_out.lines[1] == f"Limited by {shared}"
    assert f"Limits the cast: {shared}" in stage.scene.tool_tip("node_1")


def test_among_dots_hops_are_segments(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 900)
    names = [f"node_{number}" for number in range(1, 901)]
    stage.nodes.watch(make_cast(recipients=900), relayed("desk", *names[:-1], failed="node_5"))
    assert stage.scene.layout.cell is NodeShape.DOT
    whole, failed, _, _ = stage.scene.path.segments.segments
    assert (len(whole), len(failed)) == (899, 1)
    assert stage.item_counts()["HopItem"] == 0
    assert stage.view.overlays.read_out.isVisible()
    assert not stage.view.overlays.read_out.geometry().intersects(stage.view.geometry())


def test_rings_are_animated_unless_motion_is_reduced(stage: Stage) -> None:
    stage.nodes.watch(make_cast(), [make_delivery("node_1", bytes=2 * GB)])
    item = stage.scene.items_by_name["node_1"]
    assert (item.shown, stage.scene.easing) == (0.2, True)
    stage.nodes.watch(make_cast(), [make_delivery("node_1", bytes=3 * GB)])
    assert item.shown == 0.2
    stage.view._advance_dots()
    assert 0.2 < item.shown < 0.3
    for _ in range(20):
        stage.view._advance_dots()
    assert item.shown == item.appearance.share == 0.3
    stage.graph.view.reduce_motion(True)
    stage.nodes.watch(make_cast(), [make_delivery("node_1", bytes=5 * GB)])
    assert item.shown == 0.5


def test_a_ring_is_full_when_its_cast_ends(stage: Stage) -> None:
    stage.nodes.watch(make_cast(), [make_delivery("node_1", bytes=2 * GB)])
    ended = make_cast(state=CastState.COMPLETED, verified=1, eta=None)
    stage.nodes.watch(ended, [make_delivery("node_1", DeliveryState.COMPLETED, bytes=10 * GB)])
    assert stage.scene.items_by_name["node_1"].shown == 1.0


def test_names_of_zones_do_not_cover_each_other(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 0)
    nodes = [make_node(f"gpu-{i:03}", zone=f"rack {i // 4}", address=f"10.0.0.{i}") for i in range(1, 13)]
    stage.nodes.apply(nodes)
    labels = [zone.name.label for zone in stage.scene._zones]
    assert len(labels) == 4
    assert not any(one.intersects(other) for one, other in itertools.combinations(labels, 2))


def test_a_cast_is_drawn_from_its_own_source(stage: Stage) -> None:
    stage.nodes.watch(make_cast(), relayed("desk", "node_1", "node_2"))
    before = stage.scene.places()
    stage.selection.use_source("node_1")
    assert stage.scene.places() == before
    appearances = {name: item.appearance for name, item in stage.scene.items_by_name.items()}
    assert (appearances["desk"].facts, appearances["node_1"].facts) == ("desk · source", "Next source")
    assert appearances["node_1"].share == 0.4
    stage.nodes.watch(None)
    assert stage.scene.places()["node_1"] == before["desk"]
    assert stage.scene.items_by_name["node_1"].appearance.facts == "node_1 · source"
    stage.nodes.watch(make_cast(), relayed("desk", "node_1", "node_2"))
    assert stage.scene.places() == before


def test_the_shown_casts_source_can_be_a_recipient_of_the_next(stage: Stage, qtbot: QtBot) -> None:
    stage.nodes.watch(make_cast(), relayed("desk", "node_1", "node_2"))
    stage.selection.use_source("node_1")
    stage.click("node_1")
    assert not stage.selection.selected()
    stage.click("desk")
    assert stage.selection.selected() == {"desk"}
    assert stage.scene.items_by_name["desk"].appearance.highlights.selected
    size = stage.view.viewport().size()
    band(stage, QPoint(2, 2), QPoint(size.width() - 3, size.height() - 3))
    assert stage.selection.selected() == {"desk", "node_2", "node_3"}
    with qtbot.waitSignal(stage.graph.drops.files_dropped) as caught:
        stage.drag(stage.at("desk"), QDragEnterEvent)
        stage.drag(stage.at("desk"), QDropEvent)
    assert caught.args is not None
    assert caught.args[1] == {"desk", "node_2", "node_3"}
    stage.graph.grab()
