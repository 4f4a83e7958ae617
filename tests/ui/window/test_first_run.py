"""The first screen in windows of every size that a desktop leaves: no line is cut, nothing out of reach."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QSize
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus, KnownCluster
from castray_desktop.ui.i18n.language import CHINESE, ENGLISH, Language
from castray_desktop.ui.window.main_window import MainWindow
from castray_desktop.ui.window.window_layout import FRAME
from tests.helpers import fake_engine as fake
from tests.helpers.desktop.on_screen import place
from tests.helpers.fake_engine import FakeLink

SCREENS = [QSize(1024, 700), QSize(1280, 720), QSize(1366, 768), QSize(1440, 900), QSize(1920, 1080)]
DENSE = QSize(1440, 900) / 2  # at 200 %
HEIGHTS = range(620, 900, 20)


def settle(window: MainWindow, size: QSize) -> None:
    window.setMinimumSize(window.minimumSize().boundedTo(size))
    window.resize(size)
    for _ in range(8):
        QApplication.processEvents()
    assert window.size() == size


def cut(page: QWidget) -> list[str]:
    """Lines that have less room than they are high, and controls that are not wholly on the page."""
    lines = [
        each.text()
        for each in page.findChildren(QLabel)
        if each.isVisible()
        and each.text()
        and each.height()
        < (each.heightForWidth(each.width()) if each.wordWrap() else each.sizeHint().height())
    ]
    within = place(page)
    outside = [
        each.text() or each.accessibleName()
        for each in page.findChildren(QWidget)
        if isinstance(each, QAbstractButton | QLineEdit)
        and each.isVisible()
        and not within.contains(place(each))
    ]
    return lines + outside


def found(count: int) -> m.ClusterList:
    return m.ClusterList(
        tuple(KnownCluster(f"10.0.4.{number}:6379", running=True) for number in range(count))
    )


@pytest.mark.parametrize("spoken", [ENGLISH, CHINESE])
@pytest.mark.parametrize("clusters", [0, 1, 4])
def test_no_line_is_cut_at_any_size(
    window: MainWindow, link: FakeLink, language: Language, spoken: str, clusters: int
) -> None:
    language.choose(spoken)
    link.answers[m.ListClusters] = lambda command: found(clusters)
    link.start(fake.empty_welcome())
    sizes = [screen - FRAME for screen in SCREENS]
    sizes += [QSize(width, height) for width in (1016, 1432) for height in HEIGHTS]
    for size in sizes:
        settle(window, size)
        assert cut(window.welcome_page) == [], size


@pytest.mark.parametrize("screen", SCREENS)
def test_no_line_is_cut_while_a_start_fails(window: MainWindow, link: FakeLink, screen: QSize) -> None:
    link.start(fake.empty_welcome())
    failure = Failure(FailureKind.CLUSTER_START_FAILED, {"attempts": "3", "reason": "no luck", "log": "/l"})
    for phase in (ClusterPhase.STARTING, ClusterPhase.FAILED):
        link.say(m.ClusterChanged(ClusterStatus(phase, "local", failure=failure)))
        settle(window, screen - FRAME)
        assert cut(window.welcome_page) == []


@pytest.mark.parametrize("spoken", [ENGLISH, CHINESE])
@pytest.mark.parametrize("screen", SCREENS)
def test_no_field_of_the_send_panel_is_cut(
    window: MainWindow, link: FakeLink, language: Language, spoken: str, screen: QSize
) -> None:
    language.choose(spoken)
    link.start(fake.busy_welcome())
    for files in ([], ["/home/ada/a.bin", "/home/ada/b.bin"]):
        window.add_files(files)
        settle(window, screen - FRAME)
        assert window.send_panel._scroll.verticalScrollBar().maximum() == 0
        assert cut(window.send_panel.drop_area) == []


@pytest.mark.parametrize("screen", SCREENS)
def test_no_line_is_cut_after_a_change_of_language_elsewhere(
    window: MainWindow, link: FakeLink, language: Language, screen: QSize
) -> None:
    language.choose(CHINESE)
    link.start(fake.empty_welcome())
    settle(window, screen - FRAME)
    link.start(fake.busy_welcome())
    settle(window, screen - FRAME)
    assert not window.welcome_page.isVisible()
    language.choose(ENGLISH)
    window._show_attach()
    settle(window, screen - FRAME)
    assert window.welcome_page.back_button.isVisible()
    assert cut(window.welcome_page) == []


def test_a_screen_that_is_too_small_is_scrolled(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    settle(window, DENSE - FRAME)
    assert cut(window.welcome_page) == []
    area = window.centralWidget()
    assert area.widget() is window.body
    assert area.verticalScrollBar().maximum() > 0
    assert window.body.height() >= window.body.minimumSizeHint().height()
    assert window.body.width() >= window.body.minimumSizeHint().width()


def test_a_cluster_that_is_stopping_is_not_on_its_way(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    titles = []
    for phase in (ClusterPhase.STARTING, ClusterPhase.STOPPING):
        link.say(m.ClusterChanged(ClusterStatus(phase, "local")))
        titles.append(window.welcome_page._title.text())
    assert titles == ["Your local cluster is starting", "Choose a cluster to send to"]


def test_a_shared_cluster_that_starts_is_called_shared(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.STARTING, "shared")))
    assert window.welcome_page._title.text() == "Your shared cluster is starting"


@pytest.mark.parametrize("clusters", [0, 1, 4])
def test_the_titles_of_both_cards_are_in_line(window: MainWindow, link: FakeLink, clusters: int) -> None:
    link.answers[m.ListClusters] = lambda command: found(clusters)
    link.start(fake.empty_welcome())
    settle(window, QSize(1440, 900))
    page = window.welcome_page
    titles = {
        place(each).top()
        for card in (page.local, page.attach)
        for each in card.findChildren(QLabel)
        if each.text() in ("Start a local cluster", "Attach to a cluster")
    }
    assert len(titles) == 1


@pytest.mark.parametrize("clusters", [0, 2])
def test_a_message_leaves_the_title_where_there_is_room(
    window: MainWindow, link: FakeLink, clusters: int
) -> None:
    link.answers[m.ListClusters] = lambda command: found(clusters)
    link.start(fake.empty_welcome())
    page = window.welcome_page
    slow = Failure(FailureKind.START_SLOW, {"seconds": "10"})
    for size, whole in ((QSize(1440, 900), True), (QSize(1024, 700), False)):
        link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.STARTING, "local")))
        settle(window, size)
        before = place(page.local)
        link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.STARTING, "local", notice=slow)))
        settle(window, size)
        assert page.banner.isVisible()
        assert place(page.local) == before
        assert page._title.isVisible() is whole
        if whole:
            assert place(page.banner).bottom() < place(page._title).top()
            assert not page.illustration.isVisible()
            assert place(page._title).bottom() < place(page.local).top()


def test_the_buttons_of_clusters_are_named_in_the_language_of_the_window(
    window: MainWindow, link: FakeLink, language: Language
) -> None:
    known = m.ClusterList((KnownCluster("10.0.4.1:6379", running=True), KnownCluster("shared")))
    link.answers[m.ListClusters] = lambda command: known
    link.start(fake.empty_welcome())
    rows = window.welcome_page.attach.rows
    names = ["Attach to 10.0.4.1:6379", "Attach to Shared cluster"]
    assert [row.button.accessibleName() for row in rows] == names
    language.choose(CHINESE)
    QApplication.processEvents()
    rows = window.welcome_page.attach.rows
    assert [row.button.accessibleName() for row in rows] == ["连接 10.0.4.1:6379", "连接 共享集群"]


def test_the_card_does_not_say_that_a_shared_cluster_listens_here_only(
    window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.empty_welcome())
    card = window.welcome_page.local

    def last_point() -> str:
        return card._point_labels[-1].text()

    alone = "Listens on this computer only; stops with the window"
    joined = "Other machines can join; stops with the window"
    said = [last_point()]
    for ticked in (True, False):
        card.share.setChecked(ticked)
        said.append(last_point())
    assert said == [alone, joined, alone]
    for target, text in (("shared", joined), ("local", alone)):
        link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.STARTING, target)))
        assert last_point() == text
