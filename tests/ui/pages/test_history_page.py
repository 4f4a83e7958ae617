"""The history page: rows that are fetched when seen, searched, opened, exported, cleared."""

from __future__ import annotations

import csv
import json
import resource
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QAbstractItemModelTester, QTest
from pytestqt.qtbot import QtBot

from castray_desktop.core.casts.json_views import form_to_json, result_form
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastState
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.pages.history_export import CSV_COLUMNS, HistoryExport
from castray_desktop.ui.pages.history_model import HistoryModel
from castray_desktop.ui.pages.history_page import CastHistoryPage
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_actions import CastActions
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.widgets.paged_model import MOST_PAGES, PAGE
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink
from tests.helpers.samples import NOW, make_cast
from tests.ui.window.test_main_window import button


class Past:
    """A history in memory that answers as the engine does."""

    def __init__(self, link: FakeLink, count: int) -> None:
        self.casts = [
            make_cast(f"c{number}", state=CastState.COMPLETED, started=NOW - number, finished=NOW + 1)
            for number in range(count)
        ]
        link.answers[m.GetHistory] = self.page
        link.answers[m.GetPastCast] = self.cast
        link.answers[m.ClearHistory] = self.clear
        link.answers[m.KeepHistory] = self.keep

    def page(self, command: m.GetHistory) -> m.HistoryPage:
        query = command.query
        found = [cast for cast in self.casts if query.text in cast.name]
        found = [cast for cast in found if not query.states or cast.state in query.states]
        found = [cast for cast in found if not query.until or cast.finished <= query.until]
        return m.HistoryPage(tuple(found[query.offset : query.offset + query.limit]), len(found))

    def cast(self, command: m.GetPastCast) -> m.CastResult:
        cast = next(cast for cast in self.casts if cast.cast == command.cast)
        return m.CastResult(cast, fake.finished_deliveries(), 80.0)

    def keep(self, command: m.KeepHistory) -> m.Done:
        self.casts = self.forgotten
        return m.Done()

    def clear(self, command: m.ClearHistory) -> m.Done:
        self.forgotten = self.casts
        self.casts = [cast for cast in self.casts if command.casts and cast.cast not in command.casts]
        return m.Done()


@pytest.fixture
def page(qtbot: QtBot, theme: Theme, link: FakeLink) -> CastHistoryPage:
    transfers = TransferModel()
    made = CastHistoryPage(theme, link, CastActions(link, transfers, RecipientSelection(), transfers))
    transfers.setParent(made)
    qtbot.addWidget(made)
    made.resize(1000, 300)
    made.show()
    return made


def open_page(page: CastHistoryPage, link: FakeLink, count: int) -> Past:
    past = Past(link, count)
    link.start(fake.empty_welcome())
    return past


def test_a_million_casts_are_fetched_page_by_page(page: CastHistoryPage, link: FakeLink) -> None:
    def answer(command: m.GetHistory) -> m.HistoryPage:
        first = command.query.offset
        shown = (make_cast(f"c{number}", state=CastState.COMPLETED) for number in range(first, first + PAGE))
        return m.HistoryPage(tuple(shown), 1_000_000)

    link.answers[m.GetHistory] = answer
    link.start(fake.empty_welcome())
    assert page.model.rowCount() == 1_000_000
    page.grab()
    asked = len(link.asked(m.GetHistory))
    assert asked < 4
    page.table.scrollToBottom()
    page.grab()
    assert page.model.index(999_999, 0).data() == "c999999"
    assert len(link.asked(m.GetHistory)) < asked + 4
    assert page.count.text() == "1,000,000 casts"
    assert max(command.query.limit for command in link.asked(m.GetHistory)) == PAGE
    bar = page.table.verticalScrollBar()
    for step in range(3 * MOST_PAGES):
        bar.setValue(bar.maximum() * step // (3 * MOST_PAGES))
        page.grab()
    assert len(page.model._pages) == MOST_PAGES
    assert len(link.asked(m.GetHistory)) < asked + 4 + 2 * 3 * MOST_PAGES


def test_the_model_keeps_qts_rules(qtbot: QtBot, link: FakeLink) -> None:
    past = Past(link, 3)
    model = HistoryModel(link)
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Fatal)
    link.start(fake.empty_welcome())
    model.refresh()
    assert [model.index(row, 0).data() for row in range(3)] == ["c0", "c1", "c2"]
    past.casts = past.casts[1:]
    model.refresh()
    assert [model.index(row, 0).data() for row in range(model.rowCount())] == ["c1", "c2"]
    tester.deleteLater()


def test_searching_and_filtering_ask_the_engine(qtbot: QtBot, page: CastHistoryPage, link: FakeLink) -> None:
    past = open_page(page, link, 30)
    past.casts[7] = make_cast("c7", state=CastState.FAILED)
    page.search.setText("c2")
    qtbot.waitUntil(lambda: page.model.total == 11)
    page.search.clear()
    page.state.setCurrentIndex(2)
    qtbot.waitUntil(lambda: page.model.total == 1)
    assert page.model.index(0, 0).data() == "c7"
    page.search.setText("nothing")
    qtbot.waitUntil(lambda: page.model.total == 0)
    assert page._empty_words()[0] == "Nothing found"
    assert not page.export_button.isEnabled()
    page.grab()


def test_a_row_opens_into_its_deliveries_and_can_be_sent_again(page: CastHistoryPage, link: FakeLink) -> None:
    open_page(page, link, 3)
    assert page.delivery_table.isHidden()
    page.table.selectRow(1)
    assert page.delivery_table.isVisible()
    rows = page.deliveries
    assert [rows.index(row, 0).data() for row in range(3)] == ["node_1", "node_2", "node_3"]
    assert rows.index(2, 8).data() == "Went offline"
    cast = page.current_cast()
    assert cast is not None
    titles = [action.text() for action in page.menu(cast).actions() if not action.isSeparator()]
    assert titles == ["Send again", "Retry failed", "Details…", "Copy name", "Remove from history"]
    page.menu(cast).actions()[0].trigger()
    assert link.asked(m.SendAgain) == [m.SendAgain("c1")]
    page.grab()


def test_a_cleared_history_can_be_restored_for_a_while(
    page: CastHistoryPage, link: FakeLink, qtbot: QtBot
) -> None:
    past = open_page(page, link, 3)
    page.clear_button.click()
    assert (past.casts, page.model.total) == ([], 0)
    assert page.banner.text() == "3 casts removed from the history. The delivered files are not affected."
    grace = link.asked(m.ClearHistory)[-1].grace
    assert grace * 1000 > page.banner._hide_timer.remainingTime() > 0
    button(page.banner, "Undo").click()
    assert page.model.total == len(past.casts) == 3
    page.table.selectRow(1)
    cast = page.current_cast()
    assert cast is not None
    next(action for action in page.menu(cast).actions() if action.text() == "Remove from history").trigger()
    assert page.model.total == 2
    assert page.banner.text() == "c1 removed from the history. The delivered files are not affected."
    page.banner._hide_timer.start(0)
    qtbot.waitUntil(page.banner.isHidden)


def test_clearing_more_than_is_shown_asks_first(page: CastHistoryPage, link: FakeLink) -> None:
    past = open_page(page, link, 3)
    page.state.setCurrentIndex(1)
    page.clear_button.click()
    assert link.asked(m.ClearHistory) == []
    assert page.banner.text().startswith("Remove all casts from the history, including those")
    button(page.banner, "Remove all").click()
    assert past.casts == []


def test_changes_are_seen_once_it_is_quiet(qtbot: QtBot, page: CastHistoryPage, link: FakeLink) -> None:
    past = open_page(page, link, 2)
    past.casts.insert(0, make_cast("newest", state=CastState.COMPLETED))
    link.say(m.HistoryChanged())
    qtbot.waitUntil(lambda: page.model.total == 3)
    assert page.model.index(0, 0).data() == "newest"


def test_the_history_is_exported_as_csv_and_json(
    qtbot: QtBot, page: CastHistoryPage, link: FakeLink, tmp_path: Path
) -> None:
    past = open_page(page, link, 250)
    page.export_to(str(tmp_path / "h.csv"))
    with (tmp_path / "h.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert len(rows) == 1 + 250 * 3
    assert rows[3][4] == "node_3"
    page.export_to(str(tmp_path / "h.json"))
    casts = json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))
    assert [cast["cast"] for cast in casts[:2]] == ["c0", "c1"]
    assert len(casts) == 250
    assert casts[0]["deliveries"][2]["reason"].startswith("node_3 went offline")
    assert casts[0] == json.loads(
        json.dumps(form_to_json(result_form(past.cast(m.GetPastCast("c0")))))
    )  # as scripts get it
    assert page.banner.text().startswith("The history was exported to h.json.")
    assert {path.name for path in tmp_path.iterdir()} - {"window.ini"} == {"h.csv", "h.json"}


def test_a_cast_that_ends_during_an_export_moves_none(
    page: CastHistoryPage, link: FakeLink, tmp_path: Path
) -> None:
    past = open_page(page, link, 250)

    def end_another(command: m.GetPastCast) -> m.CastResult:
        link.answers[m.GetPastCast] = past.cast
        past.casts.insert(0, make_cast("later", state=CastState.COMPLETED, finished=NOW + 2))
        return past.cast(command)

    link.answers[m.GetPastCast] = end_another
    page.export_to(str(tmp_path / "h.json"))
    casts = json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))
    assert [cast["cast"] for cast in casts] == [f"c{number}" for number in range(250)]


def test_an_export_that_fails_or_is_cancelled_leaves_nothing(
    qtbot: QtBot, page: CastHistoryPage, link: FakeLink, tmp_path: Path
) -> None:
    open_page(page, link, 5)
    page.export_to(str(tmp_path / "nowhere" / "h.csv"))
    assert "could not be written" in page.banner.text()
    failure = Failure(FailureKind.ENGINE_UNREACHABLE, {"reason": "gone"})
    link.answers[m.GetPastCast] = lambda command: m.Failed(failure)
    page.export_to(str(tmp_path / "h.csv"))
    assert [path.name for path in tmp_path.iterdir() if "h.csv" in path.name or "export" in path.name] == []
    export = HistoryExport(link, page.model.query, str(tmp_path / "x.json"), page)
    export.file.cancel()
    assert not (tmp_path / "x.json").exists()


def test_a_disk_that_takes_no_more_ends_an_export(
    page: CastHistoryPage, link: FakeLink, tmp_path: Path
) -> None:
    """Files of this process may have 1000 bytes, as on a full disk."""
    open_page(page, link, 250)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        page.export_to(str(tmp_path / "h.csv"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "could not be written" in page.banner.text()
    assert [path.name for path in tmp_path.iterdir() if "h.csv" in path.name or "export" in path.name] == []


def test_the_statistics_are_shown_and_refreshed(page: CastHistoryPage, link: FakeLink) -> None:
    open_page(page, link, 1)
    nodes = (m.NodeStatistics("node_1", 3, 1, 10**9, 1e8, 2e8),)
    ever = m.Statistics(casts=4, delivered=3, bytes=10**9, mean_rate=1e8, nodes=nodes)
    link.answers[m.GetStatistics] = lambda command: m.StatisticsReport(m.Statistics(), ever, 0, 0)
    page.statistics_button.click()
    view = page.statistics
    assert view.nodes.index(0, 0).data() == "node_1"
    assert [view.nodes.index(0, column).data() for column in (1, 2, 3)] == ["3", "1", "1.0 GB"]
    assert page.search.isHidden()
    assert page.statistics_button.text() == "Back to history"
    page.grab()
    page.statistics_button.click()
    assert not page.search.isHidden()
    assert page.statistics_button.text() == "Statistics"
    page.statistics_button.click()
    QTest.keyClick(view.table, Qt.Key.Key_Escape)
    assert not page.search.isHidden()
