"""The schedules page: what it says, what it asks for, and the editor."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from castray_desktop.core.casts.transfer_options import Links, TransferOptions, TransportOption
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastState, OnConflict, Schedule, ScheduleInfo, SendRequest
from castray_desktop.ui.pages.schedules_page import SchedulesPage, span_text, when_text
from castray_desktop.ui.theme.theme import Theme
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink
from tests.helpers.samples import NOW
from tests.ui.window.test_main_window import button

REQUEST = SendRequest(
    ("/data/models", "/data/x.bin"), ("all",), options=TransferOptions(on_conflict=OnConflict.OVERWRITE)
)
HOURLY = Schedule("a1", "models", REQUEST, every=7200.0)
FAILURE = Failure(FailureKind.NO_CLUSTER)


@pytest.fixture
def page(qtbot: QtBot, theme: Theme, link: FakeLink) -> SchedulesPage:
    infos = (
        ScheduleInfo(HOURLY, NOW + 60, NOW - 60, "c", CastState.COMPLETED),
        ScheduleInfo(Schedule("b2", "night", REQUEST, cron="0 2 * * *", enabled=False), failure=FAILURE),
        ScheduleInfo(Schedule("c3", "watch", REQUEST, quiet=10.0), changes_seen=1200),
    )
    link.answers[m.ListSchedules] = lambda command: m.SchedulesChanged(infos)
    made = SchedulesPage(theme, link, lambda: SendRequest(("/home/ada/file",), ("node_1",)))
    qtbot.addWidget(made)
    made.resize(1000, 300)
    made.show()
    link.start(fake.busy_welcome())
    return made


def cells(page: SchedulesPage, row: int) -> list[object]:
    return [page.model.index(row, column).data() for column in range(7)]


def test_rows_say_what_when_and_how_it_went(page: SchedulesPage) -> None:
    first = cells(page, 0)
    assert first[:4] == ["models", "models and 1 more", "All nodes", "Every 2 h"]
    assert first[6] == "Verified"
    assert cells(page, 1)[3:5] == ["At 0 2 * * *", "Disabled"]
    assert str(cells(page, 1)[6]).startswith("There is no cluster")
    assert cells(page, 2)[3:5] == ["10 s after the last change", "1,200 changes pending"]
    assert not page.grab().isNull()


def test_a_schedule_is_run_switched_and_removed(page: SchedulesPage, link: FakeLink) -> None:
    assert not page.run_button.isEnabled()
    page.table.selectRow(0)
    page.run_button.click()
    page.toggle_button.click()
    assert link.asked(m.RunSchedule) == [m.RunSchedule("a1")]
    assert link.asked(m.EnableSchedule) == [m.EnableSchedule("a1", False)]
    page.remove_button.click()
    assert link.asked(m.RemoveSchedule) == []
    button(page.banner, "Remove").click()
    assert link.asked(m.RemoveSchedule) == [m.RemoveSchedule("a1")]
    page.table.selectRow(1)
    assert page.toggle_button.text() == "Enable"


def test_reported_schedules_replace_the_rows(page: SchedulesPage, link: FakeLink) -> None:
    page.table.selectRow(2)
    link.say(m.SchedulesChanged((ScheduleInfo(Schedule("c3", "watch", REQUEST, quiet=10.0), running=True),)))
    assert page.model.rowCount() == 1
    assert cells(page, 0)[6] == "Running"
    assert page.current() is not None


def test_the_demonstration_is_added_and_switched(page: SchedulesPage, link: FakeLink) -> None:
    page.demonstration_button.click()
    assert link.asked(m.AddDemonstration) == [m.AddDemonstration()]
    assert link.asked(m.EnableSchedule) == [m.EnableSchedule("de3000000001", True)]
    demo = Schedule("de3000000001", "Demonstration", REQUEST, every=60.0, demonstration=True)
    link.say(m.SchedulesChanged((ScheduleInfo(demo),)))
    assert page.demonstration_button.text() == "Stop the demonstration"
    assert cells(page, 0)[1] == "A small test file"
    page.demonstration_button.click()
    assert link.asked(m.EnableSchedule)[-1] == m.EnableSchedule("de3000000001", False)


def test_a_new_schedule_begins_with_what_is_in_the_send_panel(page: SchedulesPage, link: FakeLink) -> None:
    page.add_button.click()
    editor = page.editor
    assert editor is not None
    assert editor.paths.toPlainText() == "/home/ada/file"
    editor.when.setCurrentIndex(1)
    editor.save()
    assert editor.banner.text().startswith("Enter the times")
    editor.cron.setText("0 2 * * *")
    editor.form["exclude"].setText("*.tmp, .git")
    editor.form["links"].set_value(Links.FOLLOW)
    editor.form["transport"].set_value(TransportOption.DIRECT)
    editor.form["hook"].setText("systemctl reload x")
    editor.recipients.setText("@rack, node_2")
    assert editor.form["on_conflict"].value() is OnConflict.SKIP  # as in the send panel
    editor.form["on_conflict"].set_value(OnConflict.OVERWRITE)
    editor.form["remove_extra"].setChecked(True)
    editor.save()
    kept = link.asked(m.AddSchedule)[0].schedule
    assert (kept.name, kept.cron, kept.every, kept.quiet) == ("file", "0 2 * * *", 0.0, 0.0)
    assert kept.request.recipients == ("@rack", "node_2")
    assert kept.request.options == TransferOptions(
        on_conflict=OnConflict.OVERWRITE,
        links=Links.FOLLOW,
        exclude=("*.tmp", ".git"),
        transport=TransportOption.DIRECT,
        remove_extra=True,
        hook="systemctl reload x",
    )
    assert not editor.isVisible()


def test_changing_keeps_what_is_not_shown(page: SchedulesPage, link: FakeLink) -> None:
    page.table.selectRow(0)
    page.edit_button.click()
    editor = page.editor
    assert editor is not None
    assert (editor.count.value(), editor.unit.currentIndex()) == (2, 2)
    assert editor.schedule() == HOURLY
    editor.when.setCurrentIndex(2)
    editor.quiet.setValue(30)
    editor.form["on_conflict"].set_value(OnConflict.SKIP)
    editor.save()
    kept = link.asked(m.ChangeSchedule)[0].schedule
    assert (kept.schedule, kept.quiet, kept.every) == ("a1", 30.0, 0.0)
    assert kept.request.options.on_conflict is OnConflict.SKIP


def test_the_editor_says_what_the_engine_refuses(page: SchedulesPage, link: FakeLink) -> None:
    link.answers[m.AddSchedule] = lambda command: m.Failed(FAILURE)
    page.add_button.click()
    editor = page.editor
    assert editor is not None
    editor.paths.setPlainText("relative/path")
    editor.save()
    assert editor.banner.text().startswith("Each line must be a full path")
    editor.paths.setPlainText("/full")
    editor.save()
    assert editor.banner.text().startswith("There is no cluster")
    editor.close()


@pytest.mark.parametrize(
    ("seconds", "text"), [(90.0, "90 s"), (60.0, "1 min"), (7200.0, "2 h"), (86400.0, "1 d"), (0.0, "0 s")]
)
def test_spans_in_their_largest_unit(seconds: float, text: str) -> None:
    assert span_text(seconds) == text
    assert when_text(Schedule("", "", REQUEST, quiet=5.0)) == "5 s after the last change"


@pytest.mark.parametrize("when", [0, 1, 2])
def test_the_editor_fits_a_small_screen(page: SchedulesPage, when: int) -> None:
    """Of 1024 by 700 pixels, with the frame and the title of a window manager."""
    page.add_button.click()
    editor = page.editor
    assert editor is not None
    editor.when.setCurrentIndex(when)
    least = editor.minimumSizeHint()
    assert least.width() <= 1000
    assert least.height() <= 640
    editor.close()
