"""The recipient list: ticks, search, order, accessibility."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtTest import QAbstractItemModelTester, QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from castray_desktop.core.protocol.messages import NodeState
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.recipients.recipient_model import GLYPH_ROLE, ROW, RecipientOrder
from castray_desktop.ui.recipients.recipient_picker import RecipientPicker
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.window.main_window import MainWindow
from castray_desktop.workers.base.state_files import RecipientGroupFile
from tests.helpers import fake_engine as fake
from tests.helpers.desktop.seen import painted
from tests.helpers.fake_engine import FakeLink
from tests.helpers.samples import GB, NOW, make_cast, make_delivery, make_node, make_nodes

LEFT = Qt.MouseButton.LeftButton


class Stage:
    """A picker with its models."""

    def __init__(self, qtbot: QtBot, folder: Path) -> None:
        self.nodes, self.selection = NodeList(), RecipientSelection()
        self.selection.follow(self.nodes)
        self.nodes.apply(make_nodes(3))
        groups = RecipientGroupFile(folder / "groups.json")
        self.picker = RecipientPicker(Theme(), self.nodes, self.selection, groups, now=lambda: NOW + 240)
        for child in (self.nodes, self.selection):
            child.setParent(self.picker)
        mode = QAbstractItemModelTester.FailureReportingMode.Fatal
        self.tester = QAbstractItemModelTester(self.picker.model, mode, self.picker)
        qtbot.addWidget(self.picker)
        self.picker.resize(304, 472)
        self.picker.show()
        self.list = self.picker.list

    def row(self, name: str) -> int:
        return self.picker.model.names().index(name)

    def click(self, name: str, x: int = 150) -> None:
        QTest.mouseClick(self.list.viewport(), LEFT, pos=QPoint(x, self.row(name) * ROW + 20))

    def data(self, name: str, role: int) -> object:
        return self.picker.model.index(self.row(name)).data(role)


def test_rows_have_the_menu_and_the_facts_of_their_nodes(stage: Stage, qtbot: QtBot) -> None:
    place = QPoint(150, stage.row("node_2") * ROW + 20)
    event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, place, stage.list.viewport().mapToGlobal(place))
    with qtbot.waitSignal(stage.list.menu_requested) as caught:
        QApplication.sendEvent(stage.list.viewport(), event)
    assert caught.args[0] == "node_2"
    stage.list.setCurrentIndex(stage.picker.model.index(stage.row("node_3")))
    with qtbot.waitSignal(stage.list.facts_requested) as caught:
        QTest.keyClick(stage.list, Qt.Key.Key_Return)
    assert caught.args == ["node_3"]


@pytest.fixture
def stage(qtbot: QtBot, tmp_path: Path) -> Stage:
    return Stage(qtbot, tmp_path)


def test_a_click_anywhere_on_a_row_ticks_it(stage: Stage) -> None:
    stage.click("node_1", x=20)
    stage.click("node_3", x=280)
    assert stage.selection.selected() == {"node_1", "node_3"}
    stage.click("node_1")
    assert stage.selection.selected() == {"node_3"}
    assert stage.data("node_3", Qt.ItemDataRole.CheckStateRole) is Qt.CheckState.Checked


def test_space_ticks_the_current_row(stage: Stage) -> None:
    stage.list.setFocus()
    stage.list.setCurrentIndex(stage.picker.model.index(1))
    QTest.keyClick(stage.list, Qt.Key.Key_Space)
    assert stage.selection.selected() == {"node_2"}
    QTest.keyClick(stage.list, Qt.Key.Key_Down)
    QTest.keyClick(stage.list, Qt.Key.Key_Space)
    assert stage.selection.selected() == {"node_2", "node_3"}


def test_a_tick_of_a_screen_reader_counts(stage: Stage) -> None:
    model = stage.picker.model
    assert model.setData(model.index(0), 2, Qt.ItemDataRole.CheckStateRole)
    assert stage.selection.selected() == {"node_1"}
    assert model.setData(model.index(0), Qt.CheckState.Unchecked, Qt.ItemDataRole.CheckStateRole)
    assert stage.selection.selected() == frozenset()


def test_an_offline_node_can_be_ticked_by_itself_and_says_since_when(stage: Stage) -> None:
    stage.nodes.apply([make_node("node_2", NodeState.OFFLINE)])
    stage.selection.select_all()
    assert "node_2" not in stage.selection.selected()
    stage.selection.clear()
    stage.click("node_2")
    assert stage.selection.waiting() == {"node_2"}
    assert stage.selection.ready() == frozenset()
    spoken = stage.data("node_2", Qt.ItemDataRole.AccessibleTextRole)
    assert spoken == "node_2, 127.0.0.1, Offline, Offline, seen 4 min ago"
    stage.picker.grab()


def test_the_source_is_not_listed(stage: Stage) -> None:
    stage.selection.use_source("node_2")
    assert stage.picker.model.names() == ["desk", "node_1", "node_3"]


def test_searching_by_name_address_or_label(stage: Stage) -> None:
    stage.nodes.apply([make_node("node_2", address="10.0.0.7"), make_node("node_3", labels={"gpu": "a100"})])
    for text, names in {
        "NODE_1": ["node_1"],
        "10.0": ["node_2"],
        "a100": ["node_3"],
        "nowhere": [],
        " ": ["node_1", "node_2", "node_3"],
    }.items():
        stage.picker.search.setText(text)
        assert stage.picker.model.names() == names
        stage.picker.grab()


def test_the_buttons_work_on_what_is_found(stage: Stage) -> None:
    stage.selection.set_selected({"node_1"})
    stage.picker.search.setText("node_2")
    QTest.mouseClick(stage.picker._pick.button(0), LEFT)
    assert stage.selection.selected() == {"node_1", "node_2"}
    QTest.mouseClick(stage.picker._pick.button(1), LEFT)
    assert stage.selection.selected() == {"node_1"}
    stage.picker.search.clear()
    QTest.mouseClick(stage.picker._pick.button(2), LEFT)
    assert stage.selection.selected() == {"node_2", "node_3"}


def test_rows_can_be_sorted(stage: Stage) -> None:
    stage.nodes.apply(
        [
            make_node("node_1", disk_free=5 * GB, load=0.9),
            make_node("node_2", disk_free=80 * GB, load=0.5),
            make_node("node_10", disk_free=9 * GB, load=0.1),
        ],
        ["node_3"],
    )
    assert stage.picker.model.names() == ["node_1", "node_2", "node_10"]
    stage.picker.set_order(RecipientOrder.FREE_ROOM)
    assert stage.picker.model.names() == ["node_2", "node_10", "node_1"]
    stage.picker.set_order(RecipientOrder.LOAD)
    assert stage.picker.model.names() == ["node_10", "node_2", "node_1"]
    assert stage.picker.sort_button.text() == "Load"


def test_rows_show_what_the_watched_cast_does(stage: Stage) -> None:
    stage.nodes.watch(make_cast(), [make_delivery("node_2", lagging=True, behind=GB)])
    assert stage.data("node_2", GLYPH_ROLE) is GlyphState.LAGGING
    assert stage.data("node_1", GLYPH_ROLE) is GlyphState.ONLINE
    stage.picker.grab()


def test_the_badge_counts(stage: Stage) -> None:
    stage.selection.select_all()
    assert stage.picker.badge.accessibleName() == "3 of 3"
    stage.nodes.replace([])
    assert stage.picker.badge.accessibleName() == ""
    assert not stage.picker.sort_button.isVisible()
    stage.picker.grab()


def test_a_refresh_of_facts_resets_nothing(stage: Stage, qtbot: QtBot) -> None:
    stage.list.setCurrentIndex(stage.picker.model.index(2))
    with qtbot.assertNotEmitted(stage.picker.model.modelReset):
        stage.nodes.apply([make_node("node_2", load=0.7)])
        stage.picker.set_order(RecipientOrder.LOAD)
    assert stage.list.currentIndex().data() == "node_3"


def test_a_thousand_rows(stage: Stage) -> None:
    stage.nodes.apply(make_nodes(1000))
    stage.selection.select_all()
    assert stage.picker.badge.accessibleName() == "1000 of 1000"
    stage.list.scrollToBottom()
    stage.picker.grab()
    assert stage.list.indexAt(QPoint(50, 10)).row() > 900


def test_the_share_beside_the_free_room_says_whose_it_is(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    shown = painted(window.recipients)
    assert "CPU 92%" in shown
    assert [text for text in shown if re.fullmatch(r"\d+%", text)] == []
