"""The page with the engine's diagnosis."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.ui.i18n.language import Language
from castray_desktop.ui.pages.doctor_page import DoctorPage
from castray_desktop.ui.theme.theme import Theme
from tests.helpers.fake_engine import FakeLink

CHECKS = (
    m.Check("castray", m.CheckState.GOOD, values={"version": "1"}),
    m.Check("clock", m.CheckState.NOTICE, "worker", {"seconds": "70"}),
    m.Check(
        "connection", m.CheckState.BAD, "a", {"peer": "b", "address": "10.0.0.2:7000", "reason": "timed out"}
    ),
)


@pytest.fixture
def page(qtbot: QtBot, theme: Theme, language: Language, link: FakeLink) -> DoctorPage:
    link.answers[m.Diagnose] = lambda command: m.Diagnosis(CHECKS)
    made = DoctorPage(theme, link)
    qtbot.addWidget(made)
    made.resize(900, 300)
    made.show()
    link.start(m.Welcome(m.PROTOCOL_VERSION, "1", 1, m.ClusterStatus(), (), ()))
    return made


def rows(page: DoctorPage) -> list[list[str]]:
    model = page.model
    return [[str(model.index(row, column).data()) for column in range(4)] for row in range(model.rowCount())]


def test_problems_come_first(page: DoctorPage) -> None:
    assert rows(page) == []
    page.diagnose_button.click()
    assert [row[:2] for row in rows(page)] == [
        ["Connection", "a"],
        ["Clock", "worker"],
        ["CastRay", "This computer"],
    ]
    assert rows(page)[0][2].startswith("a can't connect to b (10.0.0.2:7000): timed out.")
    assert rows(page)[0][3].startswith("Open TCP ports")
    assert page.verdict.text() == "1 problem · 1 note"
    assert page.verdict.property("tone") == "bad"


def test_a_row_is_explained_below(page: DoctorPage, qtbot: QtBot) -> None:
    page.diagnose_button.click()
    assert not page.found.isVisible()
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_Down)
    page.table.selectRow(1)
    assert page.found.text() == "The clock of worker differs from this computer's by 70 s."
    assert page.remedy.isVisible()
    page.table.selectRow(2)
    assert not page.remedy.isVisible()


def test_it_says_how_far_it_is_and_can_be_cancelled(page: DoctorPage, link: FakeLink) -> None:
    asked: list[m.Diagnose] = []
    answer = link.ask
    link.ask = lambda command, *rest: (  # type: ignore[method-assign]
        asked.append(command) if isinstance(command, m.Diagnose) else answer(command, *rest)
    )
    link.answers[m.CancelDiagnosis] = lambda command: m.Done()
    page.diagnose()
    (command,) = asked
    assert not page.diagnose_button.isEnabled()
    assert page.cancel_button.isVisible()
    link.say(m.DiagnosisProgress("another", 1, 2))
    assert page.verdict.text() == "Checking…"
    link.say(m.DiagnosisProgress(command.job, 3, 12))
    assert page.verdict.text() == "Checking: 3 of 12"
    page.diagnose()
    assert len(asked) == 1
    page.cancel_button.click()
    assert link.asked(m.CancelDiagnosis) == [m.CancelDiagnosis(command.job)]
    link.lose()
    assert not page.cancel_button.isVisible()
    assert not page.diagnose_button.isEnabled()


def test_a_failure_is_shown(page: DoctorPage, link: FakeLink) -> None:
    def fail(command: m.Diagnose) -> m.Reply:
        raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="it is shutting down")

    link.answers[m.Diagnose] = fail
    page.diagnose_button.click()
    assert page.banner.isVisible()
    assert page.diagnose_button.isEnabled()


def test_what_is_copied_and_spoken_in_another_language(
    page: DoctorPage, language: Language, qtbot: QtBot
) -> None:
    assert not page.copy_button.isEnabled()
    page.diagnose_button.click()
    page.copy_button.click()
    assert "XX  Connection: a can't connect" in QGuiApplication.clipboard().text()
    language.choose("zh_CN")
    qtbot.waitUntil(lambda: rows(page)[1][:2] == ["时钟", "worker"])
    assert page.verdict.text() == "1 个问题 · 1 条提示"
    assert page.diagnose_button.text() == "立即检查"
