"""The settings: each one holds at once, in the window or in the engine, and is remembered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from PySide6.QtCore import QSettings, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import EngineSettings, OnConflict
from castray_desktop.ui.i18n.language import CHINESE
from castray_desktop.ui.model.preferences import AtStart, Closing, Preferences
from castray_desktop.ui.pages.settings_sheet import PAGES, SettingsSheet
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink

KEPT = EngineSettings(limit=5_000_000, casts_at_once=7, go_on=False, history_days=30)


@pytest.fixture
def sheet(qtbot: QtBot, window: MainWindow, link: FakeLink) -> Iterator[SettingsSheet]:
    link.answers[m.GetSettings] = lambda command: m.SettingsChanged(KEPT)
    link.start(fake.busy_welcome())
    window.header.settings_button.click()
    assert window.settings_controller.sheet is not None
    yield window.settings_controller.sheet
    window.close_sheets()


def test_the_engines_settings_are_shown_and_changed(
    sheet: SettingsSheet, window: MainWindow, link: FakeLink
) -> None:
    assert (sheet.at_once.value(), sheet.history_days.value()) == (7, 30)
    assert all(field.lineEdit().width() > 100 for field in (sheet.at_once, sheet.history_days))
    assert sheet.limit.value() == 5_000_000
    assert not sheet.go_on.isChecked()
    assert link.asked(m.ChangeSettings) == []
    sheet.at_once.setValue(2)
    sheet.at_once.editingFinished.emit()
    sheet.go_on.click()
    last = link.asked(m.ChangeSettings)[-1].settings
    assert (last.casts_at_once, last.go_on, last.limit) == (2, True, 5_000_000)
    link.say(m.SettingsChanged(EngineSettings(limit=1_000_000)))
    assert sheet.limit.value() == 1_000_000
    assert window.header.limit == 1_000_000


def test_the_demo_nodes_are_set_in_the_settings_and_beside_the_start(
    sheet: SettingsSheet, window: MainWindow, link: FakeLink
) -> None:
    stepper = window.welcome_page.local.demo_nodes
    assert (sheet.demo_nodes.value(), stepper.value()) == (3, 3)
    assert stepper.field.lineEdit().width() >= 30
    sheet.demo_nodes.setValue(5)
    sheet.demo_nodes.editingFinished.emit()
    assert link.asked(m.ChangeSettings)[-1].settings == replace(KEPT, demo_nodes=5)
    link.say(m.SettingsChanged(replace(KEPT, demo_nodes=1)))
    assert (sheet.demo_nodes.value(), stepper.value()) == (1, 1)
    told = len(link.asked(m.ChangeSettings))
    stepper.fewer.click()
    assert not stepper.fewer.isEnabled()
    QTest.keyClick(stepper.field, Qt.Key.Key_Up)
    QTest.keyClick(stepper.field, Qt.Key.Key_Up)
    changes = [command.settings for command in link.asked(m.ChangeSettings)[told:]]
    assert changes == [replace(KEPT, demo_nodes=count) for count in (0, 1, 2)]


def test_encryption_is_set_in_the_engine(sheet: SettingsSheet, link: FakeLink) -> None:
    assert sheet.encrypt.value() is m.Encryption.AUTO
    assert [sheet.encrypt.itemText(row) for row in range(3)] == ["Where both support it", "Always", "Never"]
    sheet.encrypt.setCurrentIndex(1)
    assert link.asked(m.ChangeSettings)[-1].settings == replace(KEPT, encrypt=m.Encryption.ALWAYS)
    told = len(link.asked(m.ChangeSettings))
    link.say(m.SettingsChanged(replace(KEPT, encrypt=m.Encryption.NEVER)))
    assert sheet.encrypt.value() is m.Encryption.NEVER
    assert len(link.asked(m.ChangeSettings)) == told


def test_a_refusal_of_the_engine_is_shown(sheet: SettingsSheet, link: FakeLink) -> None:
    failure = Failure(FailureKind.INTERNAL, {"reason": "no"})
    link.answers[m.ChangeSettings] = lambda command: m.Failed(failure)
    sheet.go_on.click()
    assert sheet.banner.text()


def test_the_windows_settings_hold_at_once(
    sheet: SettingsSheet, window: MainWindow, settings: QSettings, link: FakeLink
) -> None:
    sheet.conflict.set_value(OnConflict.OVERWRITE)
    sheet.conflict.activated.emit(2)
    sheet.at_start.activated.emit(1)
    sheet.closing.activated.emit(2)
    sheet.still.click()
    sheet.notify["notify/done"].click()
    sheet.keep.click()
    sheet.theme.activated.emit(2)
    again = Preferences(settings)
    assert window.send_panel.form["on_conflict"].value() is OnConflict.OVERWRITE
    assert (again.at_start, again.closing) == (AtStart.LOCAL, Closing.STOP)
    assert again.still
    assert window.graph.view.still
    assert not again.notify_done
    assert link.asked(m.KeepEngine) == [m.KeepEngine(True)]
    assert window._theme.dark
    sheet.theme.activated.emit(0)
    assert window._theme.choice == ""


def test_every_page_can_be_opened_and_speaks_chinese(sheet: SettingsSheet, window: MainWindow) -> None:
    for key, _ in PAGES:
        sheet.show_page(key)
        assert not sheet.grab().isNull()
    window.header.language.choose(CHINESE)
    QApplication.processEvents()
    assert sheet.windowTitle() == "设置"
    assert sheet.theme.itemText(1) == "浅色"


def test_invalid_preferences_count_as_defaults(settings: QSettings) -> None:
    for key in ("window/closing", "cluster/at-start", "send/conflict"):
        settings.setValue(key, "nonsense")
    chosen = Preferences(settings)
    assert (chosen.closing, chosen.at_start, chosen.conflict) == (Closing.ASK, AtStart.LAST, OnConflict.SKIP)
