"""The transfer table: selecting, cancelling, copying, many rows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from PySide6.QtCore import QItemSelectionModel, QPoint, QPointF, QSettings, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QMenu
from pytestqt.qtbot import QtBot

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastState, DeliveryState
from castray_desktop.ui.model.node_list import DELIVERY_GLYPHS, NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_actions import CastActions
from castray_desktop.ui.transfers.cast_sheets import cast_facts
from castray_desktop.ui.transfers.file_text import row_end_text
from castray_desktop.ui.transfers.transfer_columns import TransferColumn
from castray_desktop.ui.transfers.transfer_delegate import ROW, SUB_ROW
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.transfers.transfer_table import TransferTable
from castray_desktop.ui.transfers.transfer_text import (
    CAST_GLYPHS,
    attempt_text,
    cast_glyph,
    cast_status,
    percent_text,
)
from castray_desktop.ui.widgets.painting import metrics
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from tests.helpers.desktop.on_screen import await_rest
from tests.helpers.fake_engine import FakeLink
from tests.helpers.samples import NOW, make_cast, make_delivery


@pytest.fixture
def table(qtbot: QtBot, link: FakeLink) -> TransferTable:
    model = TransferModel()
    actions = CastActions(link, model, RecipientSelection())
    result = TransferTable(Theme(), model, NodeList(model), actions)
    actions.setParent(result)
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


def test_what_is_shown_after_a_removal_is_selected(table: TransferTable) -> None:
    model = model_of(table)
    model.load(
        [make_cast("a", started=NOW), make_cast("b", started=NOW - 1), make_cast("c", started=NOW - 2)]
    )
    table.select_cast("c")
    model.remove(["c", "b"])
    assert table.selected_cast() == "a"
    assert table.chosen_names() == ["a"]


def test_a_failed_delivery_is_retried_where_its_row_says_so(table: TransferTable, link: FakeLink) -> None:
    model = model_of(table)
    lost = Failure(FailureKind.NODE_OFFLINE, {"node": "node_2"})
    failed = make_delivery("node_2", DeliveryState.FAILED, failure=lost)
    ended = make_cast("a", state=CastState.PARTLY_FAILED, verified=1, failed=1, recipients=2)
    model.load([ended], {"a": [make_delivery("node_1", DeliveryState.COMPLETED), failed]})
    table.expand(model.index_of("a"))
    row = table.visualRect(model.index(1, TransferColumn.STARTED, model.index_of("a")))
    link_at = QPoint(row.right() - 24, row.center().y())
    table.grab()
    QTest.mouseMove(table.viewport(), link_at)
    assert table.viewport().cursor().shape() is Qt.CursorShape.PointingHandCursor
    QTest.mouseMove(table.viewport(), link_at - QPoint(120, 0))
    assert table.viewport().cursor().shape() is Qt.CursorShape.ArrowCursor
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=link_at - QPoint(0, row.height()))
    assert link.asked(m.Retry) == []
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=link_at)
    assert link.asked(m.Retry) == [m.Retry("a", ("node_2",))]
    model.apply_summary(make_cast("a", verified=1, failed=1, recipients=2))  # it goes on for others
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=link_at)
    assert len(link.asked(m.Retry)) == 1


def test_delete_cancels_what_still_runs(table: TransferTable, link: FakeLink) -> None:
    model = model_of(table)
    model.load([make_cast("a"), make_cast("done", state=CastState.COMPLETED)])
    table.select_cast("a")
    QTest.keyClick(table, Qt.Key.Key_Delete)
    assert link.asked(m.Cancel) == [m.Cancel("a")]
    table.select_cast("done")
    QTest.keyClick(table, Qt.Key.Key_Delete)
    assert link.asked(m.Cancel) == [m.Cancel("a")]


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
    cell = table.visualRect(model.index(0, TransferColumn.STARTED, model.index_of("a")))
    QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=cell.center())
    assert QGuiApplication.clipboard().text() == digest


def run(menu: QMenu, title: str) -> None:
    """Choose what is called so in a menu."""
    next(action for action in menu.actions() if action.text().split("\t")[0] == title).trigger()


def test_the_menu_offers_only_what_can_be_done(
    table: TransferTable, qtbot: QtBot, tmp_path: Path, link: FakeLink
) -> None:
    model = model_of(table)
    done = make_delivery(
        "node_1", DeliveryState.COMPLETED, hash="blake3:" + 64 * "a", paths=(str(tmp_path / "model.bin"),)
    )
    failed = make_delivery("node_2", DeliveryState.FAILED)
    ended = make_cast("b", state=CastState.PARTLY_FAILED, verified=1, failed=1)
    model.load([make_cast("a"), ended], {"a": [done], "b": [failed]})
    always = ["Details…", "Copy name", "Clear failed"]
    running = [
        "Pause",
        "Cancel",
        "Speed limit",
        "Details…",
        "Open folder",
        "Copy name",
        "Copy path",
        "Copy hash",
    ]
    assert titles(table.context_menu(model.index_of("a"))) == [*running, "Clear failed"]
    after = ["Retry failed", "Send again", "Verify again…"]
    assert titles(table.context_menu(model.index_of("b"))) == [*after, *always]
    menu = table.context_menu(model.index(0, 0, model.index_of("a")))
    assert titles(menu) == ["Open folder", "Copy node", "Copy path", "Copy hash", "Clear failed"]
    folder = next(action for action in menu.actions() if action.text() == "Open folder")
    qtbot.waitUntil(folder.isEnabled)
    run(menu, "Clear failed")
    assert link.asked(m.ClearFinished) == [m.ClearFinished()]
    run(table.context_menu(model.index(0, 0, model.index_of("b"))), "Send to node_2 again")
    assert link.asked(m.Retry) == [m.Retry("b", ("node_2",))]


def test_enter_opens_the_details(table: TransferTable, qtbot: QtBot) -> None:
    model_of(table).load([make_cast("a")])
    table.select_cast("a")
    with qtbot.waitSignal(table._actions.details_wanted) as caught:
        QTest.keyClick(table, Qt.Key.Key_Return)
    assert caught.args == ["a"]


def test_a_cancelled_cast_differs_from_a_paused_one() -> None:
    assert CAST_GLYPHS[CastState.CANCELLED] is not CAST_GLYPHS[CastState.PAUSED]
    assert DELIVERY_GLYPHS[DeliveryState.CANCELLED] is not DELIVERY_GLYPHS[DeliveryState.PAUSED]


def test_several_casts_are_steered_at_once(table: TransferTable, link: FakeLink) -> None:
    model = model_of(table)
    model.load([make_cast("a"), make_cast("b", state=CastState.PAUSED), make_cast("c")])
    table.selectAll()
    menu = table.context_menu(model.index_of("a"))
    assert titles(menu) == ["Pause", "Resume", "Cancel", "Copy name"]
    run(menu, "Pause")
    run(menu, "Resume")
    run(menu, "Copy name")
    assert {command.cast for command in link.asked(m.Pause)} == {"a", "c"}
    assert link.asked(m.Resume) == [m.Resume("b")]
    assert set(QGuiApplication.clipboard().text().split()) == {"a", "b", "c"}


def test_the_limit_and_the_place_in_the_queue_are_changed_from_the_menu(
    table: TransferTable, link: FakeLink
) -> None:
    model = model_of(table)
    waiting = [make_cast(name, state=CastState.QUEUED, place=place) for place, name in enumerate("abc")]
    model.load(waiting)
    menu = table.context_menu(model.index_of("b"))
    run(menu, "Earlier in the queue")
    run(menu, "Later in the queue")
    assert link.asked(m.MoveInQueue) == [m.MoveInQueue("b", 0), m.MoveInQueue("b", 2)]
    limits = next(action.menu() for action in menu.actions() if action.text() == "Speed limit")
    assert isinstance(limits, QMenu)
    run(limits, "10 MB/s")
    assert link.asked(m.SetLimit) == [m.SetLimit(10_000_000, "b")]


def test_one_recipient_can_be_dropped(table: TransferTable, link: FakeLink) -> None:
    model = model_of(table)
    model.load([make_cast("a")], {"a": [make_delivery("node_1")]})
    run(table.context_menu(model.index(0, 0, model.index_of("a"))), "Remove node_1 from the cast")
    assert link.asked(m.DropRecipients) == [m.DropRecipients("a", ("node_1",))]


def test_one_recipient_can_be_paused_and_resumed(table: TransferTable, link: FakeLink) -> None:
    model = model_of(table)
    paused = make_delivery("node_2", DeliveryState.PAUSED)
    checks = make_delivery("node_3", DeliveryState.VERIFYING)
    model.load([make_cast("a", paused=1)], {"a": [make_delivery("node_1"), paused, checks]})
    first, second, third = (model.index(row, 0, model.index_of("a")) for row in range(3))
    assert titles(table.context_menu(first))[:2] == ["Pause node_1", "Remove node_1 from the cast"]
    run(table.context_menu(first), "Pause node_1")
    assert link.asked(m.Pause) == [m.Pause("a", ("node_1",))]
    assert titles(table.context_menu(second))[:2] == ["Resume node_2", "Remove node_2 from the cast"]
    run(table.context_menu(second), "Resume node_2")
    assert link.asked(m.Resume) == [m.Resume("a", ("node_2",))]
    assert titles(table.context_menu(third))[0] == "Remove node_3 from the cast"
    assert "Resume" in titles(table.context_menu(model.index_of("a")))  # all that is paused of it
    assert cast_status(make_cast("a", paused=1)) == "1 paused"


def test_keys_pause_the_chosen_recipients_or_the_whole_cast(table: TransferTable, link: FakeLink) -> None:
    model = model_of(table)
    nodes = [make_delivery(f"node_{number}") for number in range(3)]
    model.load([make_cast("a"), make_cast("b")], {"a": nodes, "b": nodes})
    table.expandAll()
    actions, rows = CastActions(link, model, RecipientSelection()), QItemSelectionModel.SelectionFlag
    for name, row in (("a", 2), ("a", 0), ("b", 1)):
        index = model.index(row, 0, model.index_of(name))
        table.selectionModel().select(index, rows.Select | rows.Rows)
    table.selectionModel().select(model.index_of("b"), rows.Select | rows.Rows)
    assert table.chosen_rows() == {"a": ("node_0", "node_2"), "b": ()}
    actions.pause_rows(table.chosen_rows())
    assert link.asked(m.Pause) == [m.Pause("b"), m.Pause("a", ("node_0", "node_2"))]
    actions.resume_rows(table.chosen_rows())
    assert link.asked(m.Resume) == []  # none of it is paused


def test_waiting_for_recipients_can_be_ended(table: TransferTable, link: FakeLink) -> None:
    model = model_of(table)
    waits = make_cast("a", state=CastState.PARTLY_FAILED, verified=1, awaited=1)
    model.load([waits], {"a": [make_delivery("node_1", DeliveryState.AWAITED)]})
    run(table.context_menu(model.index(0, 0, model.index_of("a"))), "Remove node_1 from the cast")
    assert link.asked(m.DropRecipients) == [m.DropRecipients("a", ("node_1",))]
    table.select_cast("a")
    QTest.keyClick(table, Qt.Key.Key_Delete)
    assert link.asked(m.Cancel) == [m.Cancel("a")]


def test_columns_are_hidden_moved_and_remembered(
    table: TransferTable, qtbot: QtBot, settings: QSettings, link: FakeLink
) -> None:
    header = table.columns
    assert header.shown() == list(TransferColumn)[:8]
    header.set_shown(TransferColumn.DESTINATION, True)
    header.set_shown(TransferColumn.SPEED, False)
    header.set_shown(TransferColumn.NAME, False)  # stays
    header.moveSection(header.visualIndex(TransferColumn.STARTED), 1)
    header.resizeSection(TransferColumn.STATUS, 200)
    arranged = header.shown()
    assert arranged[:2] == [TransferColumn.NAME, TransferColumn.STARTED]
    assert TransferColumn.SPEED not in arranged
    table.columns.save(settings)
    again = TransferTable(Theme(), TransferModel(table), NodeList(table), table._actions)
    qtbot.addWidget(again)
    again.columns.restore(settings)
    again.resize(1200, 200)
    again.show()
    assert again.columns.shown() == arranged
    assert again.header().sectionSize(TransferColumn.STATUS) == 200
    hash_action = next(each for each in again.columns.menu().actions() if each.text() == "Hash")
    hash_action.trigger()
    assert again.columns.shown()[-1] is TransferColumn.HASH
    again.columns.reset()
    assert again.columns.shown() == list(TransferColumn)[:8]
    assert titles(header.menu())[0] == "Name"


def test_the_hidden_columns_have_their_texts(table: TransferTable, link: FakeLink) -> None:
    model = model_of(table)
    digest = "blake3:9f2c" + 56 * "0" + "e41a"
    model.set_here("desk")
    ended = make_cast(
        "a", state=CastState.COMPLETED, finished=NOW + 83, options=TransferOptions(destination="/data/{node}")
    )
    model.load([ended], {"a": [make_delivery("node_1", DeliveryState.COMPLETED, hash=digest)]})
    cells = [
        model.index(0, column).data()
        for column in (
            TransferColumn.DIRECTION,
            TransferColumn.ELAPSED,
            TransferColumn.DESTINATION,
            TransferColumn.HASH,
        )
    ]
    assert cells == ["Sent", "1:23", "/data/{node}", "blake3 9f2c…e41a"]
    model.set_here("node_1")
    assert model.index(0, TransferColumn.DIRECTION).data() == "Received"
    model.set_here("other")
    assert model.index(0, TransferColumn.DIRECTION).data() == "Between other nodes"
    for column in TransferColumn:
        table.columns.set_shown(column, True)
    table.expandAll()
    assert not table.grab().isNull()


def test_the_filter_keeps_what_is_chosen_and_what_is_open(table: TransferTable, link: FakeLink) -> None:
    model = model_of(table)
    model.load(
        [make_cast("model.bin", started=NOW), make_cast("data.tar", started=NOW - 1, recipients=1)],
        {"model.bin": [make_delivery("node_1")]},
    )
    table.select_cast("model.bin")
    table.expand(model.index_of("model.bin"))
    model.set_filter("NODE_2 send")
    assert [model.index(row, 0).data() for row in range(model.rowCount())] == ["model.bin"]
    assert table.selected_cast() == "model.bin"
    assert table.isExpanded(model.index_of("model.bin"))
    assert len(model.casts()) == 2
    model.apply_summary(make_cast("model.bin", started=NOW, state=CastState.COMPLETED))
    assert model.rowCount() == 0
    assert not table.grab().isNull()
    model.apply_deliveries("model.bin", [make_delivery("node_1", bytes=1), make_delivery("node_2")])
    model.set_filter("")
    assert model.rowCount() == 2
    assert [item.bytes for item in model.deliveries("model.bin")][:1] == [1]
    assert model.rowCount(model.index_of("model.bin")) == 2


def test_a_filter_over_ten_thousand_rows_is_one_step(table: TransferTable, link: FakeLink) -> None:
    model = model_of(table)
    model.load([make_cast(f"c{i}", started=NOW - i) for i in range(10_000)])
    table.select_cast("c77")
    resets: list[int] = []
    model.modelReset.connect(lambda: resets.append(1))
    model.set_filter("7")
    assert model.rowCount() == sum("7" in str(i) for i in range(10_000))
    assert table.selected_cast() == "c77"
    model.set_filter("")
    assert model.rowCount() == 10_000
    assert len(resets) == 2
    assert [model.index(row, 0).data() for row in range(3)] == ["c0", "c1", "c2"]


def test_counts_of_files_are_not_cut(table: TransferTable) -> None:
    counts = FileCounts(sent=1040, identical=15, renamed=1)
    done = make_delivery("node_1", DeliveryState.COMPLETED, counts=counts)
    model_of(table).load([make_cast("a", state=CastState.COMPLETED)], {"a": (done,)})
    span = table._ends._span(table.rect(), done)
    assert span is not None
    assert metrics(11, 400).horizontalAdvance(row_end_text(done)) <= span.width()
    running = make_delivery("node_1")
    assert TransferColumn.ETA in table._delegate.end_of(done)
    assert TransferColumn.ETA not in table._delegate.end_of(running)


def test_percents_are_rounded_and_100_is_all_of_it() -> None:
    assert [percent_text(share) for share in (0.7499999, 0.004, 0.996, 0.9999, 1.0)] == [
        "75%",
        "0%",
        "99%",
        "99%",
        "100%",
    ]


def test_an_earlier_attempt_names_a_node_once(table: TransferTable) -> None:
    failure = Failure(
        FailureKind.NO_ROOM, {"node": "node_1", "path": "/in", "free": "63 MB", "needed": "100 MB"}
    )
    attempt = m.CastAttempt(NOW, NOW + 1, CastState.FAILED, ("node_1",), {"node_1": failure})
    facts = dict(cast_facts(make_cast(attempts=(attempt,))))
    assert facts["Attempt 1"].endswith("node_1: No room: 63 MB free, 100 MB needed")


def test_a_row_says_that_the_files_have_changed_since_the_attempt_before(table: TransferTable) -> None:
    attempt = m.CastAttempt(NOW, NOW + 1, CastState.FAILED, ("node_1",), {}, contents="one")
    same, other = (make_cast(attempts=(attempt,), contents=text) for text in ("one", "two"))
    assert [attempt_text(cast) for cast in (same, other)] == ["attempt 2", "files changed"]
    assert dict(cast_facts(other))["Files"].startswith("The files have changed since attempt 1.")
    assert "Files" not in dict(cast_facts(same))


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
    qtbot.waitUntil(table.uniformRowHeights)
    table.collapse(model.index_of("a"))
    qtbot.waitUntil(lambda: not table.uniformRowHeights())


def test_deliveries_that_change_out_of_sight_paint_nothing(table: TransferTable, qtbot: QtBot) -> None:
    model = model_of(table)
    model.load([make_cast("a")], {"a": [make_delivery("node_1")]})
    painted: list[int] = []
    paint = table.paintEvent
    table.paintEvent = lambda event: (painted.append(1), paint(event))  # type: ignore[method-assign, func-returns-value]
    await_rest(qtbot, painted)
    painted.clear()
    model.apply_deliveries("a", [make_delivery("node_1", bytes=5)])
    qtbot.wait(100)
    assert painted == []
    table.expand(model.index_of("a"))
    qtbot.waitUntil(lambda: bool(painted))
    painted.clear()
    model.apply_deliveries("a", [make_delivery("node_1", bytes=6)])
    qtbot.waitUntil(lambda: bool(painted))


def test_a_cast_with_dead_links_does_not_look_like_any_other(qtbot: QtBot) -> None:
    good = make_cast("a", state=CastState.COMPLETED, kept_links=2)
    dead = make_cast("b", state=CastState.COMPLETED, kept_links=2, broken_links=2, broken_names=("top/x",))
    assert (cast_status(good), cast_glyph(good)) == ("Verified", GlyphState.VERIFIED)
    assert (cast_status(dead), cast_glyph(dead)) == ("2 broken links", GlyphState.LAGGING)
    assert ("Broken links", "2 (top/x)") in cast_facts(dead)


def test_a_server_that_lets_wait_is_the_state_of_the_cast() -> None:
    busy = Failure(FailureKind.SERVER_AWAITED, {"reason": "the server answers 429"})
    cast = make_cast("a", state=CastState.SENDING, failure=busy)
    assert (cast_status(cast), cast_glyph(cast)) == ("Waiting for server", GlyphState.LAGGING)


def test_a_row_counts_down_to_the_next_request_to_a_server(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    busy = Failure(FailureKind.SERVER_AWAITED, {"reason": "the server answers 429"})
    model = TransferModel()
    model.apply_summary(make_cast("a", failure=busy, next_try=1125.0))
    status = model.index(0, TransferColumn.STATUS)
    assert status.data() == "Next try in 2:05"
    now = 1113.5
    with qtbot.waitSignal(model.dataChanged):  # by itself
        pass
    assert status.data() == "Next try in 12 s"
    now = 1125.0
    assert status.data() == "Waiting for server"
    model.apply_summary(make_cast("a", failure=busy, next_try=1200.0, paused=1))
    assert status.data() == "1 paused"
    model.set_filter("nothing like it")
    with qtbot.waitSignal(model._counting_down.timeout):
        pass
    assert model._counting_down.isActive()
    model.set_filter("")
    with qtbot.waitSignal(model._counting_down.timeout):
        model.apply_summary(make_cast("a"))
    assert not model._counting_down.isActive()
