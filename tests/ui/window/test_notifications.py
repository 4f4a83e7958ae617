"""What is told when a cast has ended, and where; the tray; the groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastState
from castray_desktop.ui.model import preferences
from castray_desktop.ui.recipients.group_bar import Group
from castray_desktop.ui.window.main_window import MainWindow
from castray_desktop.ui.window.notifications import MOST, DesktopNotification, DesktopNotifications, Tray
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink


class FakeTray(QObject):
    """A tray that remembers what it was to tell."""

    available = True

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, bool]] = []

    def show_message(self, title: str, text: str, *, failed: bool, clicked: Callable[[], object]) -> None:
        self.told.append((title, failed))


class BehindOthers:
    """A window that is never in front."""

    def isActiveWindow(self) -> bool:
        return False


def done(**values: object) -> m.CastResult:
    summary = fake.finished_cast(**({"state": CastState.COMPLETED, "verified": 3, "failed": 0} | values))
    return m.CastResult(summary, fake.finished_deliveries()[:2], 80.0)


@pytest.fixture
def tray(window: MainWindow, link: FakeLink) -> FakeTray:
    link.start(fake.busy_welcome())
    made = FakeTray()
    window.notifier._notes._tray = made  # type: ignore[assignment]
    window.notifier._window = BehindOthers()  # type: ignore[assignment]
    return made


def test_an_arrival_is_notified_in_the_window_and_on_the_desktop(
    window: MainWindow, link: FakeLink, tray: FakeTray
) -> None:
    link.say(done())
    assert window.toast.text().startswith("imagenet-val.tar arrived on 3 nodes")
    assert window.toast.action.text() == "Show in folder"
    assert tray.told == [("imagenet-val.tar arrived on 3 nodes", False)]


def test_a_retry_whose_files_had_changed_says_so(window: MainWindow, link: FakeLink, tray: FakeTray) -> None:
    attempt = m.CastAttempt(1.0, 2.0, CastState.FAILED, ("node_1",), contents="one")
    link.say(done(attempts=(attempt,), contents="two"))
    assert "The files had changed since the previous attempt." in window.toast.text()


def test_a_failure_says_where_and_why(window: MainWindow, link: FakeLink, tray: FakeTray) -> None:
    link.say(m.CastResult(fake.finished_cast(), fake.finished_deliveries(), 80.0))
    assert window.toast.text().startswith("imagenet-val.tar did not arrive on 1 of 3 nodes")
    assert "node_3 went offline" in window.toast.text()
    assert tray.told[0][1] is True


def test_what_the_banner_says_is_in_no_toast(window: MainWindow, link: FakeLink, tray: FakeTray) -> None:
    failure = Failure(FailureKind.VANISHED, {"path": "/home/ada/a"})
    link.say(done(state=CastState.FAILED, failure=failure))
    assert window.banner.text().startswith("/home/ada/a disappeared")
    assert window.toast.text() == ""
    assert len(tray.told) == 1


@pytest.mark.parametrize(
    ("result", "keys"),
    [
        (done(state=CastState.CANCELLED), ()),
        (done(schedule="a1"), ()),
        (done(), (preferences.NOTIFY_DONE,)),
    ],
)
def test_unwanted_notifications_are_not_shown(
    window: MainWindow, link: FakeLink, tray: FakeTray, result: m.CastResult, keys: tuple[str, ...]
) -> None:
    for key in keys:
        window.preferences.set(key, False)
    link.say(result)
    assert window.toast.text() == ""
    assert tray.told == []


def test_the_desktop_is_left_alone_while_the_window_is_in_front_or_if_set(
    window: MainWindow, link: FakeLink, tray: FakeTray
) -> None:
    window.preferences.set(preferences.NOTIFY_DESKTOP, False)
    link.say(done())
    assert window.toast.text()
    assert tray.told == []


def test_a_toast_disappears_by_itself_and_follows_the_window(qtbot: QtBot, window: MainWindow) -> None:
    window.toast._timer.setInterval(50)
    window.notifier.notify(done())
    window.resize(1100, 720)
    corner = window.toast.geometry().bottomRight()
    assert window.rect().contains(corner)
    qtbot.waitUntil(window.toast.isHidden)


@pytest.mark.qt_log_ignore("systemTrayWindowChanged")  # which offscreen does not have
def test_without_a_tray_nothing_is_hidden_in_it(qtbot: QtBot) -> None:
    owner = QWidget()
    qtbot.addWidget(owner)
    there = False
    tray = Tray(owner, lambda: there)
    assert not tray.available()
    tray.show_message("a", "b", failed=False, clicked=lambda: None)
    assert [action.text() for action in tray._menu.actions() if not action.isSeparator()] == [
        "Open CastRay",
        "Pause all",
        "Resume all",
        "Quit",
    ]
    there = True  # it came later than the window
    assert tray.available()
    assert tray.icon is not None
    there = False
    assert not tray.available()
    tray.close()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """In place of the desktop's: writes down what it was given, and says which button was pressed."""
    made = tmp_path / "notify-send"
    made.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/given\ncat {tmp_path}/pressed\n')
    made.chmod(0o755)
    return made


@pytest.mark.parametrize(("pressed", "done"), [("default", ["message"]), ("button", ["button"]), ("", [])])
def test_the_desktop_gets_a_message_with_a_button(
    qtbot: QtBot, window: MainWindow, program: Path, pressed: str, done: list[str]
) -> None:
    (program.parent / "pressed").write_text(f"{pressed}\n")
    tray, did = FakeTray(), list[str]()
    notes = DesktopNotifications(tray, window, str(program))  # type: ignore[arg-type]
    button = (lambda: "Show in folder", lambda: did.append("button"))
    notes.show(DesktopNotification("--a & b", "<c> & d", False, lambda: did.append("message"), button))
    qtbot.waitUntil(lambda: not notes._shown)
    given = (program.parent / "given").read_text().splitlines()
    assert given[-5:] == [
        "--action=default=Open CastRay",
        "--action=button=Show in folder",
        *("--", "--a & b", "&lt;c&gt; &amp; d"),
    ]
    assert did == done
    assert tray.told == []


@pytest.mark.parametrize("there", [False, True])
def test_where_the_desktop_takes_no_messages_the_tray_says_them(
    qtbot: QtBot, window: MainWindow, program: Path, there: bool
) -> None:
    if there:
        program.write_text("#!/bin/sh\nexit 1\n")
    else:
        program.unlink()
    tray = FakeTray()
    notes = DesktopNotifications(tray, window, str(program))  # type: ignore[arg-type]
    notes.show(DesktopNotification("a", "b", True, lambda: None))
    qtbot.waitUntil(lambda: tray.told == [("a", True)])
    notes.show(DesktopNotification("c", "d", False, lambda: None))
    assert tray.told[1:] == [("c", False)]


def test_unclicked_notifications_do_not_accumulate(window: MainWindow, program: Path) -> None:
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    notes = DesktopNotifications(FakeTray(), window, str(program))  # type: ignore[arg-type]
    for number in range(MOST + 2):
        notes.show(DesktopNotification(str(number), "", False, lambda: None))
    assert next(note.title for note in notes._shown.values()) == "2"
    assert len(notes._shown) == MOST
    notes.close()
    assert not notes._shown


def test_groups_are_saved_chosen_and_removed(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    bar = window.recipients.groups
    assert bar.isHidden()
    window.selection.set_selected(["node_1", "node_3"])
    bar.save("@outer")
    assert [tag.text() for tag in bar.tags] == ["outer  2"]
    window.selection.clear()
    bar.tags[0].click()
    assert window.selection.selected() == {"node_1", "node_3"}
    bar.save("a,b")
    assert "is not a valid group name" in window.banner.text()
    menu = bar.menu(Group("outer", ("node_1", "node_3"), True, 2))
    next(action for action in menu.actions() if action.text() == "Remove this group").trigger()
    assert bar.tags == []


def test_a_saved_group_counts_the_nodes_that_arrive(window: MainWindow, link: FakeLink) -> None:
    """At a start it is shown before the cluster has told its nodes."""
    bar = window.recipients.groups
    bar._store.save_group("outer", ("node_1", "node_3", "gone"))
    bar.refresh()
    assert [tag.text() for tag in bar.tags] == ["outer  0"]
    link.start(fake.busy_welcome())
    assert [tag.text() for tag in bar.tags] == ["outer  2"]
    assert bar.tags[0].accessibleName() == "Select the group outer, 2 nodes"


def test_zones_are_groups_too(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    link.say(
        m.NodesChanged(
            (
                fake.node("node_1", 2, zone="rack a"),
                fake.node("node_2", 3, zone="rack a"),
                fake.node("node_3", 4, zone="rack b"),
            )
        )
    )
    assert [tag.text() for tag in window.recipients.groups.tags] == ["rack a  2", "rack b  1"]


def test_an_awaited_recipient_is_no_failure(window: MainWindow, link: FakeLink, tray: FakeTray) -> None:
    link.say(done(state=CastState.PARTLY_FAILED, verified=2, awaited=1))
    assert window.toast.text().startswith("1 of 3 nodes receive imagenet-val.tar when they are back online")
    assert tray.told == [("1 of 3 nodes receive imagenet-val.tar when they are back online", False)]
