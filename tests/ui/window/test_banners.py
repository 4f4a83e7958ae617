"""Messages as a person sees them: on every page, within the window, over the page that stays where it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QRect
from PySide6.QtWidgets import QApplication, QWidget

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus, Schedule, ScheduleInfo
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.window.main_window import DOCTOR, HISTORY, LOG, MINIMUM, SCHEDULES, MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.desktop.on_screen import click, hidden_because, is_seen, place
from tests.helpers.fake_engine import FakeLink
from tests.ui.pages.test_history_page import Past
from tests.ui.pages.test_schedules_page import REQUEST
from tests.ui.window.test_main_window import button

FAILURE = Failure(FailureKind.NODE_NOT_REMOVABLE, {"node": "node_1"})
SIZES = [(1440, 900), MINIMUM]


def show(window: MainWindow, link: FakeLink, size: tuple[int, int], page: str = "") -> None:
    window.resize(*size)
    link.start(fake.busy_welcome())
    if page:
        window.transfers_card.show_page(page)
    for _ in range(8):  # the parts are divided, then their scroll bars come
        QApplication.processEvents()


def say_something(banner: Banner) -> None:
    banner.show_message(lambda: Explanation("Something happened.", "Something can be done."))


def parts(window: QWidget) -> list[tuple[QWidget, QRect]]:
    """Every widget that is shown in a window, and where it is."""
    shown = [each for each in window.findChildren(QWidget) if each.isVisible() and each.window() is window]
    return [(each, place(each)) for each in shown]


def moved(before: list[tuple[QWidget, QRect]]) -> list[tuple[QWidget, QRect, QRect]]:
    """What is elsewhere now, or gone."""
    return [(each, rect, place(each)) for each, rect in before if not each.isVisible() or place(each) != rect]


BANNERS: dict[str, Callable[[MainWindow], Banner]] = {
    "": lambda window: window.banner,
    "send": lambda window: window.send_panel.banner,
    HISTORY: lambda window: window.history_page.banner,
    SCHEDULES: lambda window: window.schedules_page.banner,
    LOG: lambda window: window.log_page.banner,
    DOCTOR: lambda window: window.doctor_page.banner,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("where", BANNERS)
def test_a_message_is_seen_and_nothing_moves(
    window: MainWindow, link: FakeLink, where: str, size: tuple[int, int]
) -> None:
    show(window, link, size, where if where not in ("", "send") else "")
    banner = BANNERS[where](window)
    before = parts(window)
    assert not is_seen(banner)
    say_something(banner)
    assert hidden_because(banner) == ""
    assert moved(before) == []
    click(next(each for each in banner.findChildren(QWidget) if each.accessibleName() == "Dismiss"))
    assert not banner.isVisible()
    assert moved(before) == []


@pytest.mark.parametrize("size", SIZES)
def test_a_failed_start_is_seen_and_the_cards_stay(
    window: MainWindow, link: FakeLink, size: tuple[int, int]
) -> None:
    window.resize(*size)
    link.start(fake.empty_welcome())
    QApplication.processEvents()
    page = window.welcome_page
    before = place(page.local), place(page.attach)
    failure = Failure(FailureKind.CLUSTER_START_FAILED, {"attempts": "3", "reason": "no luck", "log": "/l"})
    link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.FAILED, "local", failure=failure)))
    assert hidden_because(page.banner) == ""
    assert (place(page.local), place(page.attach)) == before
    click(button(page.banner, "Try again"))
    assert link.asked(m.UseCluster) == [m.UseCluster("local")]
    assert (place(page.local), place(page.attach)) == before


def test_a_toast_and_a_message_are_both_seen(window: MainWindow, link: FakeLink) -> None:
    for size in SIZES:
        show(window, link, size)
        window.toast.show_message(lambda: Explanation("It arrived", "Every copy was checked."))
        assert hidden_because(window.toast) == ""
        window.show_failure(FAILURE)
        assert hidden_because(window.toast) == ""
        assert hidden_because(window.banner) == ""
        assert not place(window.toast).intersects(place(window.banner))
        window.banner.hide()
        window.toast.hide()


# --- what is destroyed, and its undo -----------------------------------------------------------


@pytest.fixture
def past(window: MainWindow, link: FakeLink) -> Past:
    past = Past(link, 3)
    show(window, link, MINIMUM, HISTORY)
    return past


def test_clear_can_be_undone_by_what_is_on_the_screen(window: MainWindow, past: Past) -> None:
    page = window.history_page
    click(page.clear_button)
    assert past.casts == []
    assert hidden_because(page.banner) == ""
    click(button(page.banner, "Undo"))
    assert len(past.casts) == page.model.total == 3
    assert not page.banner.isVisible()


def test_clearing_more_than_is_shown_is_asked_on_the_screen(window: MainWindow, past: Past) -> None:
    page = window.history_page
    page.state.setCurrentIndex(1)
    click(page.clear_button)
    assert len(past.casts) == 3
    click(button(page.banner, "Remove all"))
    assert past.casts == []
    click(button(page.banner, "Undo"))
    assert len(past.casts) == 3


def test_forgetting_one_cast_can_be_undone(window: MainWindow, past: Past) -> None:
    page = window.history_page
    page.table.selectRow(1)
    QApplication.processEvents()
    cast = page.current_cast()
    assert cast is not None
    next(action for action in page.menu(cast).actions() if action.text() == "Remove from history").trigger()
    assert [cast.cast for cast in past.casts] == ["c0", "c2"]
    click(button(page.banner, "Undo"))
    assert len(past.casts) == 3


def test_a_schedule_is_removed_after_a_question_on_the_screen(window: MainWindow, link: FakeLink) -> None:
    infos = (ScheduleInfo(Schedule("a1", "models", REQUEST, every=7200.0)),)
    link.answers[m.ListSchedules] = lambda command: m.SchedulesChanged(infos)
    show(window, link, MINIMUM, SCHEDULES)
    page = window.schedules_page
    page.table.selectRow(0)
    click(page.remove_button)
    assert link.asked(m.RemoveSchedule) == []
    click(button(page.banner, "Remove"))
    assert link.asked(m.RemoveSchedule) == [m.RemoveSchedule("a1")]
    assert not page.banner.isVisible()


def test_an_export_says_where_it_went(
    window: MainWindow, past: Past, tmp_path_factory: pytest.TempPathFactory
) -> None:
    page = window.history_page
    page.export_to(str(tmp_path_factory.mktemp("export") / "h.csv"))
    assert hidden_because(page.banner) == ""
    assert page.banner.text().startswith("The history was exported to h.csv.")


def test_finished_casts_are_cleared_by_a_click(window: MainWindow, link: FakeLink) -> None:
    show(window, link, MINIMUM)
    click(window.transfers_card.tools.clear_button)
    assert link.asked(m.ClearFinished) == [m.ClearFinished()]


# --- sheets -------------------------------------------------------------------------------------


def test_messages_of_sheets_are_seen_and_move_nothing(window: MainWindow, link: FakeLink) -> None:
    link.answers[m.Browse] = lambda command: m.FolderListing("node_1", "/home/ada", ())
    show(window, link, MINIMUM)
    window.settings_controller.show()
    window.schedules_page.add()
    window.send_panel.sheets.browse("node_1")
    settings, editor = window.settings_controller.sheet, window.schedules_page.editor
    browser = window.send_panel.sheets.browser
    assert settings is not None
    assert editor is not None
    assert browser is not None
    for sheet in (settings, editor, browser):
        sheet.banner.hide()
        for _ in range(8):
            QApplication.processEvents()
        before = parts(sheet)
        say_something(sheet.banner)
        assert hidden_because(sheet.banner) == ""
        assert moved(before) == []
        sheet.close()
