"""The transfer table: selecting, cancelling, copying, many rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QMenu
from pytestqt.qtbot import QtBot

from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.messages import CastState, DeliveryState
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.transfer_delegate import ROW, SUB_ROW
from castray_desktop.ui.transfer_model import Column, TransferModel
from castray_desktop.ui.transfer_table import TransferTable
from tests.helpers.samples import NOW, make_cast, make_delivery


@pytest.fixture
def table(qtbot: QtBot) -> TransferTable:
    model = TransferModel()
    result = TransferTable(Theme(), model)
    model.setParent(result)
    qtbot.addWidget(result)
    result.resize(974, 256)
    result.show()
    return result


def model_of(table: TransferTable) -> TransferModel:
    model = table.model()
    assert isinstance(model, TransferModel)
    return model


def titles(menu: QMenu) -> list[str]:
    return [action.text().split("\t")[0] for action in menu.actions() if not action.isSeparator()]


def test_it_says_what_to_do_while_it_is_empty(table: TransferTable) -> None:
    assert not table.header().isVisible()
    table.grab()
    model_of(table).apply_summary(make_cast())
    assert table.header().isVisible()


def test_selecting_a_cast_tells_which(table: TransferTable, qtbot: QtBot) -> None:
    model_of(table).load([make_cast("a", started=NOW), make_cast("b", started=NOW - 1)])
    with qtbot.waitSignal(table.cast_selected) as caught:
        table.select_cast("b")
    assert caught.args == ["b"]
    assert table.selected_cast() == "b"
    with qtbot.waitSignal(table.cast_selected) as caught:
        table.setFocus()
        QTest.keyClick(table, Qt.Key.Key_Up)
    assert caught.args == ["a"]
    table.select_cast("unknown")
    assert table.selected_cast() == "a"


def test_delete_cancels_what_still_runs(table: TransferTable, qtbot: QtBot) -> None:
    model = model_of(table)
    model.load([make_cast("a"), make_cast("done", state=CastState.COMPLETED)])
    table.select_cast("a")
    with qtbot.waitSignal(table.cancel_requested) as caught:
        QTest.keyClick(table, Qt.Key.Key_Delete)
    assert caught.args == ["a"]
    table.select_cast("done")
    with qtbot.assertNotEmitted(table.cancel_requested):
        QTest.keyClick(table, Qt.Key.Key_Delete)


def test_a_click_on_the_chevron_opens_a_row(table: TransferTable, qtbot: QtBot) -> None:
    model = model_of(table)
    model.load([make_cast("a")], {"a": [make_delivery("node_1"), make_delivery("node_2")]})
    index = model.index_of("a")
    place = table.visualRect(index).topLeft() + QPoint(20, ROW // 2)
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert table.isExpanded(index)
    assert table.visualRect(index).height() == ROW
    assert table.visualRect(model.index(0, 0, index)).height() == SUB_ROW
    table.setFocus()
    table.select_cast("a")
    QTest.keyClick(table, Qt.Key.Key_Left)
    assert not table.isExpanded(index)


def test_a_click_on_the_hash_copies_all_of_it(table: TransferTable, qtbot: QtBot) -> None:
    model = model_of(table)
    digest = "blake3:" + 64 * "a"
    model.load([make_cast("a")], {"a": [make_delivery("node_1", DeliveryState.COMPLETED, hash=digest)]})
    table.expand(model.index_of("a"))
    cell = table.visualRect(model.index(0, Column.STARTED, model.index_of("a")))
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=cell.center())
    assert QGuiApplication.clipboard().text() == digest


def test_the_menu_offers_only_what_can_be_done(table: TransferTable, qtbot: QtBot, tmp_path: Path) -> None:
    model = model_of(table)
    done = make_delivery(
        "node_1", DeliveryState.COMPLETED, hash="blake3:" + 64 * "a", paths=(str(tmp_path / "model.bin"),)
    )
    model.load([make_cast("a"), make_cast("b", state=CastState.COMPLETED)], {"a": [done]})
    assert titles(table.context_menu(model.index_of("a"))) == ["Cancel", "Copy name", "Clear finished"]
    assert titles(table.context_menu(model.index_of("b"))) == ["Copy name", "Clear finished"]
    menu = table.context_menu(model.index(0, 0, model.index_of("a")))
    assert titles(menu) == ["Cancel", "Open folder", "Copy path", "Copy hash", "Copy name", "Clear finished"]
    folder = next(action for action in menu.actions() if action.text() == "Open folder")
    qtbot.waitUntil(folder.isEnabled)
    with qtbot.waitSignal(table.clear_finished_requested):
        menu.actions()[-1].trigger()


def test_every_state_can_be_painted(table: TransferTable) -> None:
    model = model_of(table)
    failure = Failure(FailureKind.NODE_OFFLINE, {"node": "node_1"})
    for state in CastState:
        model.apply_summary(make_cast(state.value, state=state, bytes=0, files=3, folder=True))
    model.apply_deliveries(
        CastState.SENDING.value,
        [
            make_delivery(s.value, s, failure=failure if s is DeliveryState.FAILED else None)
            for s in DeliveryState
        ],
    )
    table.resize(700, 900)
    table.expandAll()
    table.select_cast(CastState.SENDING.value)
    assert not table.grab().isNull()


def test_ten_thousand_rows_are_painted_only_where_seen(table: TransferTable, qtbot: QtBot) -> None:
    model = model_of(table)
    model.load([make_cast(f"c{i}", started=NOW - i) for i in range(10_000)])
    table.select_cast("c9000")
    table.grab()
    painted: list[int] = []
    delegate = table.itemDelegate()
    hint = delegate.sizeHint

    def count(option: object, index: object) -> object:
        painted.append(1)
        return hint(option, index)  # type: ignore[arg-type]

    delegate.sizeHint = count  # type: ignore[assignment,method-assign]
    model.apply_summary(make_cast("c9000", started=NOW - 9000, done_bytes=1))
    table.grab()
    assert len(painted) < 1000
    assert table.indexAt(QPointF(100, 40).toPoint()).isValid()
    QTest.keyClick(table, Qt.Key.Key_Home)
    assert table.selected_cast() == "c0"


def test_a_long_table_measures_no_rows(table: TransferTable, qtbot: QtBot) -> None:
    model = model_of(table)
    many = [make_delivery(f"node_{i}") for i in range(300)]
    model.load([make_cast("a", started=NOW), make_cast("b", started=NOW - 1)], {"a": many, "b": many[:3]})
    table.expand(model.index_of("b"))
    qtbot.wait(1)
    assert not table.uniformRowHeights()
    table.expand(model.index_of("a"))
    qtbot.waitUntil(table.uniformRowHeights, timeout=2000)
    table.collapse(model.index_of("a"))
    qtbot.waitUntil(lambda: not table.uniformRowHeights(), timeout=2000)


def test_deliveries_that_change_out_of_sight_paint_nothing(table: TransferTable, qtbot: QtBot) -> None:
    model = model_of(table)
    model.load([make_cast("a")], {"a": [make_delivery("node_1")]})
    painted: list[int] = []
    paint = table.paintEvent
    table.paintEvent = lambda event: (painted.append(1), paint(event))  # type: ignore[method-assign, func-returns-value]
    qtbot.wait(50)
    painted.clear()
    model.apply_deliveries("a", [make_delivery("node_1", bytes=5)])
    qtbot.wait(50)
    assert painted == []
    table.expand(model.index_of("a"))
    qtbot.waitUntil(lambda: bool(painted), timeout=2000)
    painted.clear()
    model.apply_deliveries("a", [make_delivery("node_1", bytes=6)])
    qtbot.waitUntil(lambda: bool(painted), timeout=2000)
