"""The log page: filtered, searched, followed while it is seen, copied."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import LogLine
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.pages.log_page import MOST_LINES, LogModel, LogPage
from castray_desktop.ui.theme.theme import Theme
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink
from tests.helpers.samples import NOW

LINES = (
    LogLine(NOW, "info", "engine", "ready"),
    LogLine(NOW + 1, "warning", "agent 10.0.0.7", "slow disk"),
    LogLine(NOW + 2, "error", "cast", "it broke\nTraceback"),
)


@pytest.fixture
def page(qtbot: QtBot, theme: Theme, link: FakeLink) -> LogPage:
    link.answers[m.GetLog] = lambda command: m.LogLines(LINES)
    nodes = NodeList()
    nodes.replace(fake.local_nodes())
    made = LogPage(theme, link, nodes, fake.local_cluster)
    nodes.setParent(made)
    qtbot.addWidget(made)
    made.resize(900, 260)
    return made


def texts(page: LogPage) -> list[object]:
    return [page.model.index(row, 3).data() for row in range(page.model.rowCount())]


def test_the_engine_is_watched_only_while_the_page_is_seen(page: LogPage, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    assert link.asked(m.WatchLog) == []
    page.show()
    assert link.asked(m.WatchLog) == [m.WatchLog("info")]
    assert len(texts(page)) == 3
    page.grab()
    page.hide()
    assert link.asked(m.WatchLog)[-1] == m.WatchLog("")


def test_level_and_words_choose_the_lines(page: LogPage, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    page.show()
    page.level.setCurrentIndex(1)
    assert texts(page) == ["slow disk", "it broke\nTraceback"]
    page.search.setText("10.0.0 DISK")
    assert texts(page) == ["slow disk"]
    assert page.count.text() == "1 line"
    page.search.setText("nothing of this")
    assert page._empty_words()[0] == "Nothing found"


def test_new_lines_come_in_together(qtbot: QtBot, page: LogPage, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    page.show()
    page.level.setCurrentIndex(2)
    link.say(LogLine(NOW + 3, "error", "cast", "new"), LogLine(NOW + 3, "info", "cast", "not shown"))
    qtbot.waitUntil(lambda: texts(page)[-1] == "new")
    page.copy_button.click()
    assert QGuiApplication.clipboard().text().splitlines()[-1].endswith("ERROR cast new")


def test_it_keeps_so_many_lines_at_most(qapp: object) -> None:
    model = LogModel()
    model.load(LINES)
    model.add([LogLine(NOW, "info", "engine", str(number)) for number in range(MOST_LINES + 10)])
    assert model.rowCount() == MOST_LINES
    assert model.index(MOST_LINES - 1, 3).data() == str(MOST_LINES + 9)


def test_diagnostics_hold_versions_nodes_and_lines(page: LogPage, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    page.show()
    page.diagnostics_button.click()
    text = QGuiApplication.clipboard().text()
    assert "engine 0.1.0" in text
    assert "cluster: ready, Ray 2.60.0" in text
    assert "node node_1: online, 127.0.0.2" in text
    assert "WARNING agent 10.0.0.7 slow disk" in text
