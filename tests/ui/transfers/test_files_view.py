"""The files of a cast in its details."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QAbstractItemModelTester, QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastFile, FileAtRecipients, FileOrder, FileState
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.file_export import CSV_COLUMNS
from castray_desktop.ui.transfers.file_model import FileModel
from castray_desktop.ui.transfers.file_text import outcome_lines, outcome_text, telling_counts
from castray_desktop.ui.transfers.files_view import FilesView
from castray_desktop.ui.widgets.paged_model import MOST_PAGES, PAGE
from castray_desktop.ui.widgets.text_table import text_width
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink

CAST = "c0ffee"
NO_ROOM = Failure(FailureKind.NO_ROOM, {"node": "node_2", "path": "/in", "free": "63 MB", "needed": "100 MB"})


class Files:
    """Files that answer as the engine does."""

    def __init__(self, link: FakeLink, count: int, live: bool = False) -> None:
        self.count, self.live = count, live
        self.failure: Failure | None = None
        link.answers[m.GetFiles] = self.page

    def file(self, number: int) -> CastFile:
        groups = (FileAtRecipients(FileState.SENT, ("node_1", "node_2")),)
        if number % 100 == 1:
            groups = (
                FileAtRecipients(FileState.FAILED, ("node_2",), failure=NO_ROOM),
                FileAtRecipients(FileState.RENAMED, ("node_1",), f"top/f{number} (2)"),
            )
        return CastFile(f"top/f{number}", number, f"blake3:{number:064x}", recipients=groups)

    def page(self, command: m.GetFiles) -> m.FilesPage | m.Failed:
        if self.failure is not None:
            return m.Failed(self.failure)
        query = command.query
        chosen: range | list[int] = range(self.count)
        if query.states or query.text:
            state = query.states[0] if query.states else None
            chosen = [
                number
                for number in chosen
                if query.text in f"top/f{number}"
                and (state is None or any(group.state is state for group in self.file(number).recipients))
            ]
        if query.descending:
            chosen = chosen[::-1]
        shown = chosen[query.offset : query.offset + query.limit]
        return m.FilesPage(
            command.cast, tuple(map(self.file, shown)), len(chosen), self.count, live=self.live
        )


@pytest.fixture
def view(qtbot: QtBot, theme: Theme, link: FakeLink) -> Iterator[FilesView]:
    made = FilesView(theme, link)
    qtbot.addWidget(made)
    made.resize(940, 360)
    made.show()
    yield made
    made.hide()


def show(view: FilesView, link: FakeLink, count: int, live: bool = False) -> Files:
    files = Files(link, count, live)
    link.start(fake.empty_welcome())
    view.show_cast(CAST, ("node_1", "node_2"))
    return files


def test_100_000_files_are_fetched_where_they_are_seen(view: FilesView, link: FakeLink) -> None:
    show(view, link, 100_000)
    assert view.model.rowCount() == 100_000
    assert view.count.text() == "100,000 files"
    view.grab()
    asked = len(link.asked(m.GetFiles))
    assert asked < 4
    bar, slowest = view.table.verticalScrollBar(), 0.0
    for step in range(100):
        bar.setValue(bar.maximum() * step // 100)
        before = time.thread_time()
        view.table.viewport().repaint()
        slowest = max(slowest, time.thread_time() - before)
    assert slowest < 1.0  # a page of 200 rows, and what can be seen of it
    assert len(view.model._pages) <= MOST_PAGES
    assert len(link.asked(m.GetFiles)) <= asked + 2 * 100
    assert {command.query.limit for command in link.asked(m.GetFiles)} == {PAGE}


def test_a_late_answer_to_an_earlier_search_changes_nothing(view: FilesView, link: FakeLink) -> None:
    files = show(view, link, 1000)

    def answer(command: m.GetFiles) -> m.FilesPage | m.Failed:
        if command.query.text == "f7":
            view.model.search("f99", (), ())  # the user types on, and this is answered first
        return files.page(command)

    link.answers[m.GetFiles] = answer
    view.model.search("f7", (), ())
    assert view.count.text() == "11 of 1,000 files"
    assert [view.model.index(row, 0).data() for row in (0, 10)] == ["top/f99", "top/f999"]


def test_the_model_keeps_qts_rules(qtbot: QtBot, link: FakeLink) -> None:
    files = Files(link, 450)
    link.start(fake.empty_welcome())
    model = FileModel(link)
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    model.show_cast(CAST)
    assert [model.index(row, 0).data() for row in (0, 449)] == ["top/f0", "top/f449"]
    files.count = 20
    model.refresh()
    assert model.rowCount() == 20
    model.clear()
    assert model.rowCount() == 0
    tester.deleteLater()


def test_a_row_says_what_became_of_a_file(view: FilesView, link: FakeLink) -> None:
    show(view, link, 3)
    cells = [[view.model.index(row, column).data() for column in range(4)] for row in range(2)]
    assert cells[0] == ["top/f0", "0 B", "Sent", f"blake3:{0:064x}"]
    assert cells[1][2] == "Failed: No room: 63 MB free, 100 MB needed (node_2) · Kept as f1 (2) (node_1)"
    tip = view.model.index(1, 2).data(Qt.ItemDataRole.ToolTipRole)
    assert "node_2: Failed: No room: 63 MB free, 100 MB needed" in tip
    assert "63 MB" in tip
    assert tip.endswith("node_1: Kept as f1 (2)")


def test_what_became_of_a_file_at_several_recipients_is_not_cut(view: FilesView, link: FakeLink) -> None:
    show(view, link, 200)
    row = outcome_text(Files(link, 200).file(101))
    assert text_width(row) + 20 <= view.table.columnWidth(2)  # there is a glyph too


def test_files_are_searched_filtered_and_sorted_by_the_engine(
    qtbot: QtBot, view: FilesView, link: FakeLink
) -> None:
    show(view, link, 1000)
    QTest.keyClicks(view.search, "f99")
    qtbot.waitUntil(lambda: view.model.query.text == "f99")
    assert view.count.text() == "11 of 1,000 files"
    view.search.clear()
    qtbot.waitUntil(lambda: not view.model.query.text)
    view.state.setCurrentIndex(1 + list(FileState).index(FileState.FAILED))
    assert view.model.query.states == (FileState.FAILED,)
    assert view.model.rowCount() == 10
    view.node.setCurrentIndex(2)
    assert view.model.query.nodes == ("node_2",)
    view.table.horizontalHeader().sectionClicked.emit(1)
    assert (view.model.query.order, view.model.query.descending) == (FileOrder.SIZE, True)
    assert view.model.headerData(1, Qt.Orientation.Horizontal) == "Size ↓"
    view.table.horizontalHeader().sectionClicked.emit(3)  # nothing is sorted by hashes
    assert view.model.query.order is FileOrder.SIZE
    view.search.setText("nothing")
    qtbot.waitUntil(lambda: view.model.total == 0)
    assert view.table._empty() == ("Nothing found", "No files of this cast match.")
    view.show_cast("another", ("node_1",))
    assert view.model.query == m.FileQuery()
    assert view.search.text() == ""


def test_rows_are_copied_also_those_that_were_never_seen(
    qapp: QApplication, view: FilesView, link: FakeLink
) -> None:
    show(view, link, 2500)
    assert not view.copy_button.isEnabled()
    view.table.selectRow(1)
    view.table.setFocus()
    QTest.keyClick(view.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text().split("\t") == [
        "top/f1",
        "1",
        "Failed: No room: 63 MB free, 100 MB needed (node_2) · Kept as f1 (2) (node_1)",
        f"blake3:{1:064x}",
    ]
    QTest.keyClick(view.table, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    view.export_button.setFocus()
    QTest.keyClick(view.export_button, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert len(QGuiApplication.clipboard().text().splitlines()) == 1  # only the table copies rows
    view.table.setFocus()
    QTest.keyClick(view.table, Qt.Key.Key_Insert, Qt.KeyboardModifier.ControlModifier)
    assert len(QGuiApplication.clipboard().text().splitlines()) == 2500
    QGuiApplication.clipboard().clear()
    view.copy_button.click()
    lines = QGuiApplication.clipboard().text().splitlines()
    assert len(lines) == 2500
    assert lines[-1].startswith("top/f2499\t2499\tSent")


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_what_is_shown_is_exported(view: FilesView, link: FakeLink, tmp_path: Path, kind: str) -> None:
    show(view, link, 1500)
    path = tmp_path / f"files.{kind}"
    view.export_to(str(path))
    assert "was exported to" in view.banner.text()
    if kind == "json":
        files = json.loads(path.read_text())
        assert len(files) == 1500
        assert files[1]["recipients"][0]["state"] == "failed"
        assert "63 MB" in files[1]["recipients"][0]["reason"]
        return
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 3000
    assert tuple(rows[0]) == CSV_COLUMNS
    failed = next(row for row in rows if row["state"] == "failed")
    assert (failed["path"], failed["recipient"]) == ("top/f1", "node_2")


def test_a_disk_that_takes_no_export_is_told(view: FilesView, link: FakeLink, tmp_path: Path) -> None:
    show(view, link, 5)
    view.export_to(str(tmp_path / "no" / "folder" / "files.csv"))
    assert "files.csv" in view.banner.text()
    assert not list(tmp_path.iterdir())


def test_what_is_loading_or_not_there_is_said(view: FilesView, link: FakeLink) -> None:
    assert view.table._empty()[0] == "Loading the files…"
    files = Files(link, 5)
    files.failure = Failure(FailureKind.FILES_NOT_KEPT, {"cast": CAST})
    link.start(fake.empty_welcome())
    view.show_cast(CAST, ("node_1",))
    happened, remedy = view.table._empty()
    assert happened == f"The list of files of cast {CAST} is no longer available."
    assert "10,000" in remedy
    files.failure = None
    view.refresh()
    assert view.count.text() == "5 files"


def test_a_running_cast_is_asked_again(qtbot: QtBot, view: FilesView, link: FakeLink) -> None:
    files = show(view, link, 5, live=True)
    asked = len(link.asked(m.GetFiles))
    assert view._live.isActive()
    view._live.setInterval(1)
    view._live.start()
    qtbot.waitUntil(lambda: len(link.asked(m.GetFiles)) > asked)
    files.live = False
    view.refresh()
    view.hide()
    assert not view._live.isActive()


def test_counts_in_words() -> None:
    assert telling_counts(FileCounts(identical=15, renamed=1)) == "15 identical, 1 kept as (2)"
    assert telling_counts(FileCounts(sent=2000)) == telling_counts(None) == ""
    assert telling_counts(FileCounts(sent=3, failed=1)) == "3 sent, 1 failed"


def test_many_recipients_are_counted() -> None:
    nodes = tuple(f"n{number}" for number in range(7))
    file = CastFile(
        "a", recipients=(FileAtRecipients(FileState.PENDING, nodes), FileAtRecipients(FileState.SENT, ("x",)))
    )
    assert outcome_text(file) == "Not yet (7 nodes) · Sent (x)"
    assert outcome_lines(file).startswith("n0, n1, n2")
