"""The transfer model: a correct tree, narrow announcements, newest on top."""

from __future__ import annotations

import random

import pytest
from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtTest import QAbstractItemModelTester
from pytestqt.qtbot import QtBot

from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastCluster, CastState, DeliveryState
from castray_desktop.ui.transfers.transfer_columns import TransferColumn
from castray_desktop.ui.transfers.transfer_model import ITEM_ROLE, NO_PARENT, TransferModel
from tests.helpers.samples import GB, NOW, make_cast, make_delivery


@pytest.fixture
def model(qapp: object) -> TransferModel:
    result = TransferModel()
    mode = QAbstractItemModelTester.FailureReportingMode.Fatal
    result.tester = QAbstractItemModelTester(result, mode, result)  # type: ignore[attr-defined]
    return result


def text(model: TransferModel, row: int, column: TransferColumn, parent: QModelIndex | None = None) -> object:
    return model.index(row, column, parent or QModelIndex()).data()


def names(model: TransferModel) -> list[str]:
    return [cast.name for cast in model.casts()]


def test_the_newest_cast_is_on_top(model: TransferModel) -> None:
    model.apply_summary(make_cast("old", started=NOW - 60))
    model.apply_summary(make_cast("new", started=NOW))
    model.apply_summary(make_cast("older", started=NOW - 90))
    assert names(model) == ["new", "old", "older"]


def test_what_runs_beside_a_cast_is_on_its_cluster(model: TransferModel) -> None:
    here, there = CastCluster.of("local"), CastCluster.of("10.0.4.10:6379")
    shown = make_cast("shown", cluster=here)
    ended = make_cast("ended", cluster=here, state=CastState.COMPLETED)
    for cast in (shown, make_cast("beside", cluster=here), make_cast("away", cluster=there), ended):
        model.apply_summary(cast)
        model.apply_deliveries(cast.cast, (make_delivery(f"node_of_{cast.cast}"),))
    assert [delivery.node for delivery in model.deliveries_beside(shown)] == ["node_of_beside"]


def test_a_row_says_what_a_cast_is(model: TransferModel) -> None:
    model.apply_summary(make_cast("model.bin", verified=1))
    cells = [text(model, 0, column) for column in list(TransferColumn)[:7]]
    assert cells == ["model.bin", "10.0 GB", "40%", "Sending", "100 MB/s", "1:00", "1/3"]
    model.apply_summary(make_cast("model.bin", state=CastState.PARTLY_FAILED, failed=2, verified=1))
    assert text(model, 0, TransferColumn.STATUS) == "2 failed"
    assert text(model, 0, TransferColumn.SPEED) == "–"


def test_deliveries_are_children(model: TransferModel) -> None:
    model.apply_summary(make_cast("a", started=NOW))
    model.apply_summary(make_cast("b", started=NOW - 1))
    digest = "blake3:9f2c" + 56 * "0" + "e41a"
    model.apply_deliveries(
        "b",
        [
            make_delivery("node_1", DeliveryState.COMPLETED, hash=digest, bytes=10 * GB, seconds=100.0),
            make_delivery("node_2", lagging=True, behind=2 * GB),
            make_delivery(
                "node_3",
                DeliveryState.FAILED,
                failure=Failure(FailureKind.NODE_OFFLINE, {"node": "node_3"}),
                hook_status="done",
            ),
        ],
    )
    parent = model.index_of("b")
    assert model.rowCount(parent) == 3
    assert model.rowCount(model.index_of("a")) == 0
    first = [text(model, 0, column, parent) for column in list(TransferColumn)[:8]]
    assert first == [
        "node_1", "10.0 GB", "100%", "Verified", "100 MB/s", "–", "blake3 9f2c…e41a", "blake3 9f2c…e41a",
    ]  # fmt: skip
    assert text(model, 1, TransferColumn.STATUS, parent) == "2.0 GB behind"
    assert text(model, 2, TransferColumn.SPEED, parent) == "Went offline"
    tip = model.index(0, TransferColumn.STARTED, parent).data(Qt.ItemDataRole.ToolTipRole)
    assert tip == digest
    tip = model.index(2, TransferColumn.STATUS, parent).data(Qt.ItemDataRole.ToolTipRole)
    assert tip == "Command after delivery: done"
    assert model.parent(model.index(2, 4, parent)) == parent


def test_tool_tips_say_whether_a_cast_is_encrypted(model: TransferModel) -> None:
    deliveries = [
        make_delivery("node_1", encrypted=True),
        make_delivery("node_2", upstream="node_1", encrypted=False),
        make_delivery("node_3"),
    ]
    model.load([make_cast("a", encrypted=False), make_cast("b", encrypted=True)], {"a": deliveries})

    def tip(row: int, column: TransferColumn, parent: QModelIndex = NO_PARENT) -> str | None:
        told: str | None = model.index(row, column, parent).data(Qt.ItemDataRole.ToolTipRole)
        return told

    place = {model.index(row, 0).data(): row for row in range(2)}
    assert tip(place["a"], TransferColumn.NAME) == "a\nNot encrypted"
    assert tip(place["b"], TransferColumn.STATUS) == "Encrypted between machines"
    below = [tip(row, TransferColumn.STATUS, model.index_of("a")) for row in range(3)]
    assert below == [
        "Encrypted: desk → node_1",
        "Not encrypted: data from node_1 → node_2 can be read in transit",
        None,
    ]


def test_only_what_changed_is_announced(model: TransferModel) -> None:
    model.load(
        [make_cast("a", started=NOW), make_cast("b", started=NOW - 1)], {"b": [make_delivery("node_1")]}
    )
    changes: list[tuple[int, int, int]] = []
    model.dataChanged.connect(
        lambda first, last, _roles: changes.append((first.row(), first.column(), last.column()))
    )
    model.apply_summary(make_cast("b", started=NOW - 1))
    assert changes == []
    model.apply_summary(make_cast("b", started=NOW - 1, done_bytes=5 * GB))
    assert changes == [(1, TransferColumn.PROGRESS, TransferColumn.PROGRESS)]
    model.apply_summary(make_cast("b", started=NOW - 1, done_bytes=5 * GB, rate=90e6, eta=70.0))
    assert changes[1:] == [(1, TransferColumn.SPEED, TransferColumn.ETA)]
    model.apply_deliveries("b", [make_delivery("node_1")])
    assert len(changes) == 2
    counts = FileCounts(sent=4, identical=1)
    model.apply_summary(
        make_cast("b", started=NOW - 1, done_bytes=5 * GB, rate=90e6, eta=70.0, counts=counts)
    )
    assert changes[2:] == [(1, TransferColumn.NAME, TransferColumn.NAME)]  # they are beside it


def test_loading_again_removes_missing_casts(model: TransferModel) -> None:
    model.load([make_cast(f"c{i}", started=NOW - i) for i in range(10)])
    kept = QPersistentModelIndex(model.index_of("c7"))
    model.load([make_cast(f"c{i}", started=NOW - i) for i in (1, 2, 7, 11)])
    assert names(model) == ["c1", "c2", "c7", "c11"]
    assert kept.row() == 2
    model.remove(["c1", "unknown"])
    assert names(model) == ["c2", "c7", "c11"]
    assert model.summary("c1") is None
    assert model.deliveries("c1") == ()
    assert not model.index_of("c1").isValid()
    model.apply_deliveries("c1", [make_delivery("node_1")])


def test_sorting_keeps_the_rows_that_views_hold(model: TransferModel) -> None:
    model.load([make_cast(f"c{i}", started=NOW - i, bytes=(i * 7 % 10) * GB) for i in range(10)])
    kept = QPersistentModelIndex(model.index_of("c3"))
    for column in TransferColumn:
        for order in (Qt.SortOrder.AscendingOrder, Qt.SortOrder.DescendingOrder):
            model.sort(column, order)
            assert kept.data(ITEM_ROLE).name == "c3"
    model.sort(TransferColumn.NAME, Qt.SortOrder.AscendingOrder)
    model.apply_summary(make_cast("c2b", started=NOW))
    assert names(model)[:4] == ["c0", "c1", "c2", "c2b"]
    model.sort(TransferColumn.SIZE, Qt.SortOrder.DescendingOrder)
    sizes = [cast.bytes for cast in model.casts()]
    assert sizes == sorted(sizes, reverse=True)


def test_any_order_of_events_keeps_the_tree_whole(model: TransferModel) -> None:
    chance = random.Random(7)
    for _ in range(120):
        name = f"c{chance.randrange(12)}"
        match chance.randrange(5):
            case 0 | 1:
                model.apply_summary(make_cast(name, started=NOW - chance.randrange(5)))
            case 2:
                model.apply_deliveries(name, [make_delivery(f"node_{chance.randrange(4)}")])
            case 3:
                model.remove([name])
            case _:
                model.sort(chance.randrange(8), chance.choice(list(Qt.SortOrder)))
    for row, cast in enumerate(model.casts()):
        assert model.index_of(cast.cast).row() == row
        assert model.rowCount(model.index_of(cast.cast)) == len(model.deliveries(cast.cast))


def test_a_thousand_changed_deliveries_are_announced_once(model: TransferModel, qtbot: QtBot) -> None:
    model.load([make_cast("a")], {"a": [make_delivery(f"node_{i}") for i in range(1000)]})
    told: list[tuple[int, int]] = []
    model.dataChanged.connect(lambda first, last: told.append((first.row(), last.row())))
    model.apply_deliveries("a", [make_delivery(f"node_{i}", bytes=i) for i in range(1000)])
    model.apply_deliveries("a", [make_delivery(f"node_{i}", bytes=i) for i in range(1000)])
    model.apply_deliveries("a", [make_delivery(f"node_{i}", bytes=1) for i in (7, 40)])
    assert told == [(0, 999), (7, 40)]


def test_progress_changes_no_count_but_an_end_does(model: TransferModel, qtbot: QtBot) -> None:
    model.apply_summary(make_cast("a"))
    with qtbot.assertNotEmitted(model.counts_changed):
        model.apply_summary(make_cast("a", done_bytes=1))
    with qtbot.waitSignal(model.counts_changed):
        model.apply_summary(make_cast("a", state=CastState.COMPLETED))
