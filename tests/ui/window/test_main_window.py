"""The window as a whole, with an engine that is played."""

from __future__ import annotations

import random
import time
from pathlib import Path

import msgspec
import pytest
from PySide6.QtCore import QMimeData, QPoint, QRect, QSettings, QSize, Qt, QUrl
from PySide6.QtGui import QCloseEvent, QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QInputDialog, QLineEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus
from castray_desktop.ui.clusters.cluster_selector import ClusterSelector
from castray_desktop.ui.i18n.language import Language
from castray_desktop.ui.model.preferences import CLOSING, AtStart, Closing
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.transfers_card import TransfersCard
from castray_desktop.ui.window.event_loop import Gap, StallMeter
from castray_desktop.ui.window.main_window import MainWindow
from castray_desktop.ui.window.window_layout import FRAME, fit_to_screen
from tests.helpers import fake_engine as fake
from tests.helpers.desktop.on_screen import click, hidden_because
from tests.helpers.fake_engine import FakeLink
from tests.ui.conftest import Drag
from tests.ui.scenes import make_window

MODEL = "/home/ada/models/llama-3-8b.safetensors"
MIDDLE = QPoint(500, 300)


def button(parent: QWidget, text: str) -> QPushButton:
    return next(each for each in parent.findChildren(QPushButton) if each.text() == text)


def test_the_first_run_offers_to_start_a_cluster(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    assert window.welcome_page.isVisible()
    assert not window.graph.isVisible()
    assert window.windowTitle() == "CastRay"
    assert link.asked(m.UseCluster) == []
    window.welcome_page.local.start_button.click()
    assert link.asked(m.UseCluster) == [m.UseCluster("local")]


def test_before_the_engine_is_there_nothing_can_be_started(window: MainWindow) -> None:
    assert not window.welcome_page.local.start_button.isEnabled()
    assert window.status.text() == "Starting the engine…"


def test_the_start_shows_its_steps_and_can_be_cancelled(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.STARTING, "local")))
    progress = window.welcome_page.local.progress
    assert progress.isVisible()
    assert not window.welcome_page.local.start_button.isVisible()
    assert progress._step.full_text() == "Starting Ray…"
    link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.PLACING, "local", nodes_ready=1, nodes_total=4)))
    assert progress._step.full_text() == "Setting up nodes 1/4"
    progress.cancel_button.click()
    assert link.asked(m.LeaveCluster) == [m.LeaveCluster()]
    link.say(m.ClusterChanged(ClusterStatus()))
    assert window.welcome_page.local.start_button.isVisible()


def test_a_failed_start_says_why_and_can_be_tried_again(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    failure = Failure(FailureKind.CLUSTER_START_FAILED, {"attempts": "3", "reason": "no luck", "log": "/l"})
    link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.FAILED, "local", failure=failure)))
    assert window.welcome_page.banner.text().startswith("Ray could not be started after 3 attempts: no luck")
    button(window.welcome_page.banner, "Try again").click()
    assert link.asked(m.UseCluster) == [m.UseCluster("local")]


def test_a_cluster_that_needs_something_first_offers_it(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    target = "10.0.0.1:6379"
    for kind, name, command in (
        (FailureKind.RAY_DIFFERS, "Prepare a driver", m.PrepareDriver(target)),
        (FailureKind.NOT_A_NODE, "Join as a node", m.JoinCluster(target)),
        (FailureKind.NODE_OF_ANOTHER, "Join as a node", m.JoinCluster(target)),
    ):
        link.answers[type(command)] = lambda command: m.Done()
        status = ClusterStatus(ClusterPhase.FAILED, target, failure=Failure(kind, {"target": target}))
        link.say(m.ClusterChanged(status))
        button(window.welcome_page.banner, name).click()
        assert link.commands[-1] == command


def test_slow_steps_and_warnings_of_the_cluster_are_shown(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    target = "10.0.0.1:6379"
    slow = Failure(FailureKind.CLUSTER_SLOW, {"target": target, "seconds": "10"})
    link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.STARTING, target, notice=slow)))
    assert (
        f"{target} responds, but has not accepted CastRay's connection" in window.welcome_page.banner.text()
    )
    assert window.welcome_page.attach.progress.cancel_button.isVisible()
    small = Failure(FailureKind.SHARED_MEMORY_SMALL, {"node": "worker", "folder": "/tmp/ray"})
    ready = ClusterStatus(ClusterPhase.READY, target, nodes_ready=1, nodes_total=1, notice=small)
    link.say(m.ClusterChanged(ready))
    assert not window.welcome_page.banner.text()
    assert window.banner.text().startswith("/dev/shm is too small on worker")
    window.banner.hide()
    link.say(m.ClusterChanged(msgspec.structs.replace(ready, nodes_total=2)))
    assert not window.banner.text()  # once is enough


def test_an_address_can_be_attached(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    card = window.welcome_page.attach
    assert not card.attach_button.isEnabled()
    card.address.setText(" 10.0.4.10:6379 ")
    card.attach_button.click()
    assert link.asked(m.UseCluster) == [m.UseCluster("10.0.4.10:6379")]


def test_the_traffic_of_a_cluster_is_not_shown_beside_the_next(window: MainWindow, link: FakeLink) -> None:
    """The engine tells of no more traffic of the cluster that was left, not even that it has ended."""
    link.start(fake.busy_welcome())
    link.say(fake.throughput(1.0, 14e6, 6e6))
    link.say(m.ClusterChanged(fake.local_cluster()))
    assert window.header.total.text() == "14 MB/s"
    link.say(m.ClusterChanged(ClusterStatus(ClusterPhase.STARTING, "shared")))
    assert (window.header.total.text(), window.header.upload.text()) == ("0 MB/s", "Idle")


def test_a_ready_cluster_shows_its_nodes(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    assert window.graph.isVisible()
    assert window.windowTitle() == "Local cluster — CastRay"
    assert [node.name for node in window.nodes.nodes()] == ["node_1", "node_2", "node_3", "ubuntu-ws"]
    assert window.selection.source == "ubuntu-ws"
    assert link.asked(m.Watch) == [m.Watch(None)]


def test_the_newest_cast_is_shown(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    assert window.table.selected_cast() == "c0ffee000001"
    assert window.status.text() == (
        "qwen2.5-14b-instruct/ · 3 recipients · 118 MB/s each (1 lagging)"
        " · slowest node_2 → node_3: the link · source upload 1.00 copies · 0 errors"
    )
    assert window.nodes.cast is not None
    assert window.nodes.cast.cast == "c0ffee000001"


def test_choosing_another_cast_shows_that_one(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    window.table.select_cast("c0ffee000002")
    assert window.status.text().startswith("imagenet-val.tar · 3 recipients")
    assert window.nodes.cast is not None
    assert window.nodes.cast.cast == "c0ffee000002"


def test_a_cast_that_a_script_starts_is_shown_where_nothing_else_is(
    window: MainWindow, link: FakeLink
) -> None:
    busy = fake.busy_welcome()
    link.start(msgspec.structs.replace(busy, casts=(), deliveries={}))
    ended, running = busy.casts[1], busy.casts[0]
    ended = msgspec.structs.replace(ended, state=m.CastState.COMPLETED)
    link.say(m.CastChanged(ended))
    assert window.table.selected_cast() == ""
    link.say(m.CastChanged(running))
    assert window.table.selected_cast() == running.cast
    link.say(m.CastChanged(msgspec.structs.replace(running, cast="c0ffee00000a")))
    assert window.table.selected_cast() == running.cast


def send(qtbot: QtBot, window: MainWindow) -> None:
    window.selection.select_all()
    with qtbot.waitSignal(window.send_panel.preflight.changed):
        window.add_files([MODEL])
    QTest.keyClick(window, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)


def test_control_enter_sends_and_the_new_cast_is_shown(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(m.Welcome(1, "", 1, fake.local_cluster(), fake.local_nodes(), ()))
    send(qtbot, window)
    request = link.asked(m.Send)[0].request
    assert (request.paths, request.recipients) == ((MODEL,), ("node_1", "node_2", "node_3"))
    assert window.send_panel.entries.paths() == ()
    link.say(
        m.CastChanged(fake.sending_cast()), m.DeliveriesChanged("c0ffee000001", fake.sending_deliveries())
    )
    assert window.table.selected_cast() == "c0ffee000001"
    expected = fake.sending_deliveries()[2]
    qtbot.waitUntil(lambda: window.nodes.activity("node_3") == expected)


def test_a_cast_reported_before_its_acceptance_is_shown(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    window.table.select_cast("c0ffee000002")
    send(qtbot, window)
    assert window.table.selected_cast() == "c0ffee000001"


def test_a_refused_send_keeps_the_list(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    failure = Failure(FailureKind.NODE_OFFLINE, {"node": "node_2"})
    link.answers[m.Send] = lambda command: m.Failed(failure)
    link.start(fake.busy_welcome())
    send(qtbot, window)
    assert window.send_panel.banner.text().startswith("node_2 went offline.")
    assert window.send_panel.entries.paths() == (MODEL,)


def test_a_result_changes_the_row(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    done = fake.sending_cast(state=m.CastState.COMPLETED, verified=3)
    link.say(m.CastResult(done, (), 250.0))
    assert window.transfers.summary("c0ffee000001") == done
    assert "0 errors" in window.status.text()


def test_a_cast_that_failed_as_a_whole_says_why(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    failure = Failure(FailureKind.VANISHED, {"path": "/home/ada/a"})
    link.say(m.CastResult(fake.sending_cast(state=m.CastState.FAILED, failure=failure), (), 2.0))
    assert window.banner.text().startswith("/home/ada/a disappeared")


def test_the_failure_of_a_cast_is_not_shown_while_it_is_tried_again(
    window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    failure = Failure(FailureKind.VANISHED, {"path": "/home/ada/a"})
    link.say(m.CastResult(fake.sending_cast(state=m.CastState.FAILED, failure=failure), (), 2.0))
    link.say(m.CastChanged(fake.sending_cast(cast="c0ffee000009")))
    assert window.banner.isVisible()
    link.say(m.CastChanged(fake.sending_cast()))
    assert not window.banner.isVisible()


def test_a_failure_that_a_row_tells_is_in_no_banner(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    failure = Failure(
        FailureKind.NO_ROOM, {"node": "node_3", "path": "/in", "free": "1 MB", "needed": "2 MB"}
    )
    cast = fake.sending_cast(state=m.CastState.PARTLY_FAILED, verified=2, failed=1, failure=failure)
    link.say(m.CastResult(cast, (), 2.0))
    assert not window.banner.isVisible()


def test_delete_cancels_the_selected_cast(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    QTest.keyClick(window.table, Qt.Key.Key_Delete)
    assert link.asked(m.Cancel) == [m.Cancel("c0ffee000001")]


def test_escape_in_the_filter_shows_everything_again(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    QTest.keyClick(window, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    field = window.transfers_card.tools.filter
    qtbot.waitUntil(field.hasFocus)
    QTest.keyClicks(field, "imagenet")
    window.recipients.list.setFocus()
    QTest.keyClick(window.recipients.list, Qt.Key.Key_Escape)
    assert window.transfers.rowCount() == 1
    field.setFocus()
    QTest.keyClick(field, Qt.Key.Key_Escape)
    assert field.isHidden()
    assert window.transfers.rowCount() == 2


def test_finished_casts_can_be_cleared(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    link.say(m.CastChanged(fake.finished_cast(cast="c0ffee000005", state=m.CastState.COMPLETED, failed=0)))
    clear = window.transfers_card.tools.clear_button
    qtbot.waitUntil(lambda: clear.accessibleName() == "Clear finished")
    clear.click()
    assert link.asked(m.ClearFinished) == [m.ClearFinished()]
    link.say(m.CastsRemoved(("c0ffee000005",)))
    qtbot.waitUntil(lambda: clear.accessibleName() == "Clear failed")
    link.say(m.CastsRemoved(("c0ffee000002",)))
    assert [cast.cast for cast in window.transfers.casts()] == ["c0ffee000001"]
    qtbot.waitUntil(window.transfers_card.tools.clear_button.isHidden)


def test_a_file_dropped_on_the_window_goes_to_the_list(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.empty_welcome())
    drag = Drag(MODEL)
    assert drag.enter(window, MIDDLE)
    assert drag.move(window, MIDDLE)
    assert window.overlay.accessibleName() == "Drop to add llama-3-8b.safetensors to the send list"
    assert drag.drop(window, MIDDLE)
    assert window.overlay.isHidden()
    assert window.send_panel.entries.paths() == (MODEL,)


def test_a_file_dropped_beside_the_nodes_goes_to_the_list(window: MainWindow, link: FakeLink) -> None:
    """The graph accepts the drag, and the window says and does what it does elsewhere."""
    link.start(fake.busy_welcome())
    chosen = window.selection.selected()
    canvas, corner = window.graph.view.viewport(), QPoint(2, 2)
    drag = Drag(MODEL)
    assert drag.enter(canvas, corner)
    assert drag.move(canvas, corner)
    assert window.overlay.accessibleName() == "Drop to add llama-3-8b.safetensors to the send list"
    assert drag.drop(canvas, corner)
    assert window.overlay.isHidden()
    assert window.send_panel.entries.paths() == (MODEL,)
    assert window.selection.selected() == chosen


def test_several_files_are_counted_and_other_things_are_refused(window: MainWindow) -> None:
    assert Drag(MODEL, "/b").enter(window, MIDDLE)
    assert window.overlay.accessibleName() == "Drop to add 2 items to the send list"
    assert not Drag().enter(window, MIDDLE)


def test_files_dropped_on_a_node_choose_it(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    window.graph.drops.files_dropped.emit([MODEL], frozenset({"node_2"}))
    assert window.selection.selected() == {"node_2"}
    assert window.send_panel.entries.paths() == (MODEL,)


def test_files_can_be_pasted(window: MainWindow, link: FakeLink) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(MODEL), QUrl("ftp://example.org/a")])
    QGuiApplication.clipboard().setMimeData(data)
    QTest.keyClick(window, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    assert window.send_panel.entries.paths() == (MODEL,)
    QGuiApplication.clipboard().clear()


def test_addresses_can_be_pasted_as_links_and_as_text(window: MainWindow, link: FakeLink) -> None:
    data = QMimeData()
    data.setUrls([QUrl("https://example.org/a%20b.bin?key=1")])
    QGuiApplication.clipboard().setMimeData(data)
    QTest.keyClick(window, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    QGuiApplication.clipboard().setText("http://example.org/c.bin\nnot an address")
    QTest.keyClick(window, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    entries = window.send_panel.entries
    assert entries.paths() == ("https://example.org/a%20b.bin?key=1", "http://example.org/c.bin")
    assert [entries.index(row).data() for row in range(2)] == ["a b.bin", "c.bin"]
    QGuiApplication.clipboard().clear()


def test_a_lost_engine_leaves_the_window_whole(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    window.selection.select_all()
    link.lose()
    assert window.status.text() == "Engine lost, reconnecting…"
    assert window.selection.selected() == {"node_1", "node_2", "node_3"}
    link.connection_failed.emit(Failure(FailureKind.ENGINE_UNREACHABLE, {"reason": "gone"}))
    assert "can't be reached: gone" in window.banner.text()
    link.start(fake.busy_welcome())
    assert window.banner.text() == ""
    assert window.selection.selected() == {"node_1", "node_2", "node_3"}


def test_a_node_can_be_added_by_name(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    window.graph.add_node_requested.emit()
    dialog = window.findChild(QInputDialog)
    assert isinstance(dialog, QInputDialog)
    assert dialog.textValue() == "node_4"
    dialog.accept()
    assert link.asked(m.AddNode) == [m.AddNode("node_4")]


def test_a_node_that_can_not_be_removed_says_why(window: MainWindow, link: FakeLink) -> None:
    failure = Failure(FailureKind.NODE_NOT_REMOVABLE, {"node": "node_1"})
    link.answers[m.RemoveNode] = lambda command: m.Failed(failure)
    link.start(fake.busy_welcome())
    window.graph.remove_node_requested.emit("node_1")
    assert window.banner.text().startswith("node_1 can't be removed.")


def test_a_message_takes_the_width_it_has(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    window.show_failure(Failure(FailureKind.NODE_NOT_REMOVABLE, {"node": "node_1"}))
    assert hidden_because(window.banner) == ""
    assert window.banner.width() > 1400
    assert window.banner.height() < 64


def test_closing_asks_while_a_cast_runs(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    with qtbot.assertNotEmitted(window.quit_requested):
        window.close()
    assert window.banner.text() == (
        "qwen2.5-14b-instruct/ is still being sent. In the background, CastRay ends when everything has been"
        " sent. Until then, start it again to show this window."
    )
    with qtbot.waitSignal(window.quit_requested):
        button(window.banner, "Stop, and continue next time").click()
    with qtbot.waitSignal(window.quit_requested):
        window.close()


def test_closing_asks_nothing_if_the_engine_continues(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    """The casts would continue even after "Stop, and continue next time"."""
    link.start(fake.busy_welcome())
    link.answers[m.GetStatus] = lambda command: fake.engine_status(kept=True)
    with qtbot.waitSignal(window.quit_requested):
        window.close()
    assert not window.banner.isVisible()
    link.answers[m.GetStatus] = lambda command: fake.engine_status()
    with qtbot.assertNotEmitted(window.quit_requested):
        window.close()


def test_closing_asks_nothing_if_all_that_runs_was_detached(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    link.answers[m.GetStatus] = lambda command: fake.engine_status(kept=True, kept_until=("c0ffee000001",))
    with qtbot.waitSignal(window.quit_requested):
        window.close()
    assert not window.banner.isVisible()


def test_the_question_tells_detached_casts_from_those_that_stop(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    link.say(m.CastChanged(fake.sending_cast(cast="c0ffee000009", name="tokenizer.json", folder=False)))
    link.answers[m.GetStatus] = lambda command: fake.engine_status(kept=True, kept_until=("c0ffee000001",))
    with qtbot.assertNotEmitted(window.quit_requested):
        window.close()
    assert (
        "CastRay keeps running to finish qwen2.5-14b-instruct/. After that, it stops tokenizer.json until the"
        " next start." in window.banner.text()
    )
    button(window.banner, "Keep running in the background")
    with qtbot.waitSignal(window.quit_requested):
        button(window.banner, "Close the window").click()
    window.close_question.forget()
    window.close()
    link.say(m.CastResult(fake.sending_cast(cast="c0ffee000009", state=m.CastState.COMPLETED), (), 2.0))
    assert window.banner.text() == ""  # nothing is left that would stop


def test_the_question_says_that_another_program_keeps_the_casts_running(
    window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    link.answers[m.GetStatus] = lambda command: fake.engine_status(clients=2)
    window.close()
    assert (
        "CastRay keeps running while another program uses it. After that, it stops qwen2.5-14b-instruct/"
        " until the next start." in window.banner.text()
    )


def test_closing_asks_even_if_the_engine_says_nothing(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    link.answers[m.GetStatus] = lambda command: m.Failed(Failure(FailureKind.INTERNAL, {"reason": "none"}))
    with qtbot.assertNotEmitted(window.quit_requested):
        window.close()
    button(window.banner, "Stop, and continue next time")


def test_without_a_tray_the_window_goes_on_until_everything_is_sent(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    done = m.CastResult(fake.sending_cast(state=m.CastState.COMPLETED, verified=3), (), 250.0)
    window.close()
    with qtbot.assertNotEmitted(window.quit_requested):
        button(window.banner, "Keep running in the background").click()
        assert window.isHidden()
        window.bring_to_front()  # by another start of the program
        assert window.isVisible()
        assert not window.banner.isVisible()
        link.say(done)
    link.say(m.CastChanged(fake.sending_cast(cast="c0ffee000009")))
    window.close()
    button(window.banner, "Keep running in the background").click()
    with qtbot.waitSignal(window.quit_requested):
        link.say(m.CastResult(fake.sending_cast(cast="c0ffee000009", state=m.CastState.COMPLETED), (), 2.0))


def test_a_folder_that_nobody_shows_is_named(window: MainWindow) -> None:
    window.actions_on_casts.folders.refused.emit("/data/inbox")
    assert window.banner.text() == "No file manager answered. The folder is /data/inbox."
    button(window.banner, "Copy path").click()
    assert QApplication.clipboard().text() == "/data/inbox"


def test_the_closing_preference_is_followed(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    window.preferences.set(CLOSING, Closing.TRAY)  # there is none here
    with qtbot.assertNotEmitted(window.quit_requested):
        window.close()
    window.close_question.forget()
    window.preferences.set(CLOSING, Closing.STOP)
    with qtbot.waitSignal(window.quit_requested):
        window.close()


def test_paused_casts_hold_nothing_up(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    link.say(m.CastChanged(fake.sending_cast(state=m.CastState.PAUSED)))
    with qtbot.waitSignal(window.quit_requested):
        window.close()


def test_the_question_goes_when_the_cast_has_ended(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    window.close()
    assert window.banner.text()
    link.say(m.CastResult(fake.sending_cast(state=m.CastState.COMPLETED, verified=3), (), 250.0))
    assert window.banner.text() == ""


def test_closing_leaves_the_ending_to_the_owner(qtbot: QtBot, window: MainWindow) -> None:
    event = QCloseEvent()
    with qtbot.waitSignal(window.quit_requested):
        QApplication.sendEvent(window, event)
    assert not event.isAccepted()


def test_a_limit_that_two_casts_reach_together_is_named(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    link.say(m.SettingsChanged(m.EngineSettings(limit=6_000_000)))
    moving = m.DeliverySnapshot("node_1", m.DeliveryState.RECEIVING, upstream="ubuntu-ws", rate=3e6)
    for cast in ("c0ffee000008", "c0ffee000009"):
        link.say(m.CastChanged(fake.sending_cast(cast=cast, recipients=("node_1", "node_2"))))
        link.say(m.DeliveriesChanged(cast, (moving,)))
    window.table.select_cast("c0ffee000008")
    qtbot.waitUntil(lambda: window.nodes.slowest is not None and window.nodes.slowest.rate == 3e6)
    shared = "the speed limit, shared with other casts"
    assert window.graph.view.overlays.read_out.lines[1] == f"Limited by {shared}"
    assert f"slowest ubuntu-ws → node_1: {shared}" in window.status.text()


def test_rates_reach_header_and_plot(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    sample = fake.throughput(1.0, 546e6, 118e6)
    link.say(sample)
    assert window.header.total.text() == "546 MB/s"
    seen: list[m.Throughput] = []
    window.transfers_card.put_plot(QWidget(), seen.append)
    link.say(sample)
    assert seen == [sample, sample]


def click_tab(card: TransfersCard, key: str) -> None:
    QTest.mouseClick(card.tabs, Qt.MouseButton.LeftButton, pos=card.tabs.content(key).center())


def test_small_windows_keep_everything_in_reach(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    window.resize(1024, 700)
    QApplication.processEvents()
    assert (window.width(), window.height()) == (1024, 700)
    assert window.send_panel.width() == 288
    assert window.recipients.width() == 248
    card = window.transfers_card
    assert card.table.isVisible()
    assert not card._plot_place.isVisible()
    click_tab(card, "throughput")
    assert not card.table.isVisible()
    assert card._plot_place.isVisible()
    click_tab(card, "transfers")
    window.resize(1440, 900)
    assert card.table.isVisible()
    assert card._plot_place.isVisible()


def test_a_small_window_offers_a_cluster_that_was_found(window: MainWindow, link: FakeLink) -> None:
    found = [m.KnownCluster(f"10.0.4.{number}:6379", running=True) for number in (10, 11, 12)]
    link.answers[m.ListClusters] = lambda command: m.ClusterList(tuple(found))
    window.resize(1024, 700)
    link.start(fake.empty_welcome())
    window.known.refresh()
    QApplication.processEvents()
    card = window.welcome_page.attach
    assert [row.isVisible() for row in card.rows] == [True, False, False]
    for part in (card.rows[0].button, card.address, window.welcome_page.local.start_button):
        corner = part.mapTo(window.welcome_page, part.rect().bottomRight())
        assert window.welcome_page.rect().contains(corner)
    card.rows[0].button.click()
    assert link.asked(m.UseCluster) == [m.UseCluster("10.0.4.10:6379")]
    window.resize(1440, 900)
    assert [row.isVisible() for row in card.rows] == [True, True, True]


def test_a_window_is_no_larger_than_the_screen_with_its_frame(qtbot: QtBot) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    room = window.screen().availableSize() - FRAME
    window.setMinimumSize(100, 100)
    window.resize(room.width() + 500, 300)
    fit_to_screen(window)
    assert (window.width(), window.height()) == (room.width(), 300)
    window.setMinimumHeight(room.height() + 100)
    window.resize(room.width(), room.height() + 100)
    window.move(900, 900)
    fit_to_screen(window)
    assert window.size() == room
    assert window.pos() == QPoint(0, 0)


def test_a_window_that_fits_is_not_moved(qtbot: QtBot) -> None:
    """Moved before it has a frame, it would be lower by its title bar at each start."""
    moves: list[QPoint] = []

    class Recorder(QWidget):
        def move(self, place: QPoint) -> None:  # type: ignore[override]
            moves.append(place)

    window = Recorder()
    qtbot.addWidget(window)
    screen = window.screen().availableGeometry()
    window.setGeometry(QRect(screen.topLeft() + QPoint(10, 30), QSize(200, 100)))
    fit_to_screen(window)
    assert moves == []
    window.setGeometry(QRect(screen.topLeft() - QPoint(50, 50), QSize(200, 100)))
    fit_to_screen(window)
    assert moves == [screen.topLeft()]


def test_the_window_is_divided_as_designed(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    QApplication.processEvents()
    parts = {
        "send": window.send_panel,
        "nodes": window.graph,
        "recipients": window.recipients,
        "transfers": window.transfers_card,
        "status": window.status,
    }
    places = {name: (part.mapTo(window, QPoint(0, 0)), part.size().toTuple()) for name, part in parts.items()}
    assert places["send"] == (QPoint(16, 72), (336, 472))
    assert places["nodes"] == (QPoint(368, 72), (736, 472))
    assert places["recipients"] == (QPoint(1120, 72), (304, 472))
    assert places["transfers"] == (QPoint(16, 560), (1408, 296))
    assert places["status"] == (QPoint(0, 872), (1440, 28))


def test_the_division_is_remembered(
    qtbot: QtBot, window: MainWindow, theme: Theme, language: Language, settings: QSettings
) -> None:
    QApplication.processEvents()
    window.body.columns.setSizes([400, 608, 368])
    wanted = window.body.columns.sizes()
    window.shut_down()
    settings.remove("window/geometry")  # Qt fits it to the screen, and the screen of a test is small
    link = FakeLink()
    again = make_window(theme, language, link, settings)
    qtbot.addWidget(again)
    again.show()
    qtbot.waitUntil(lambda: again.body.columns.sizes() == wanted)


@pytest.mark.qt_log_ignore("QVariant::load", extend=True)
@pytest.mark.parametrize("number", range(6))
def test_the_window_opens_over_a_damaged_file_of_its_settings(
    qtbot: QtBot, window: MainWindow, settings: QSettings, tmp_path: Path, number: int
) -> None:
    window.shut_down()
    settings.sync()
    content, dice = Path(settings.fileName()).read_bytes(), random.Random(number)
    damaged = bytearray(content)
    for _ in range(20):
        damaged[dice.randrange(len(damaged))] = dice.randrange(256)
    variants = (
        *(b"", content[: len(content) // 2], bytes(damaged), dice.randbytes(3000)),
        content.replace(b"=", b"=1, 2, 3, "),
        content.replace(b"=", b"=@Variant(\\0\\0\\0\\x7f)"),
    )
    path = tmp_path / "damaged.ini"
    path.write_bytes(variants[number])
    damaged_settings = QSettings(str(path), QSettings.Format.IniFormat)
    link, theme, language = FakeLink(), Theme(damaged_settings), Language(damaged_settings)
    again = make_window(theme, language, link, damaged_settings)
    qtbot.addWidget(again)
    with qtbot.waitExposed(again):
        again.show()
    link.start(fake.busy_welcome())
    language.stop()


def test_every_button_has_a_name(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    nameless = [
        each
        for each in window.findChildren(QAbstractButton)
        if each.isVisible()
        and not (each.accessibleName() or each.text() or isinstance(each.parent(), QLineEdit))
    ]
    assert nameless == []


def test_the_focus_is_seen_with_the_keyboard_only(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    with qtbot.waitActive(window):
        window.activateWindow()
    window.send_panel.form["destination"].setFocus(Qt.FocusReason.MouseFocusReason)
    ring = window.keyboard_focus.ring
    assert ring.isHidden()
    QTest.keyClick(window.send_panel.form["destination"], Qt.Key.Key_Tab)
    assert window.send_panel.form["on_conflict"].hasFocus()
    assert ring.isVisible()
    QTest.mouseClick(window.send_panel.options_button, Qt.MouseButton.LeftButton)
    window.close_sheets()
    assert ring.isHidden()


def test_no_ring_where_a_click_hides_what_was_clicked(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    with qtbot.waitActive(window):
        window.activateWindow()
    ring = window.keyboard_focus.ring
    window.banner.show_message(lambda: Explanation("Said.", ""), (lambda: "Go on", lambda: None))
    pressed = next(each for each in window.banner.findChildren(QPushButton) if each.text() == "Go on")
    pressed.setFocus(Qt.FocusReason.MouseFocusReason)
    click(pressed)
    assert not pressed.isVisible()
    assert ring.isHidden()
    QTest.keyClick(window.focusWidget() or window, Qt.Key.Key_Tab)
    assert ring.isVisible()
    before = window.focusWidget()
    before.hide()
    assert window.focusWidget() is not before
    assert ring.isVisible()


def test_a_click_on_tabs_takes_their_ring(qtbot: QtBot, window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    with qtbot.waitActive(window):
        window.activateWindow()
    tabs = window.transfers_card.tabs
    tabs.setFocus(Qt.FocusReason.TabFocusReason)
    with_ring = tabs.grab().toImage()
    first = tabs.content(tabs.keys[0]).center()
    QTest.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=first)
    assert tabs.hasFocus()
    assert tabs.grab().toImage() != with_ring


def test_a_field_has_one_frame_in_the_ring_and_none_after_a_click(
    qtbot: QtBot, window: MainWindow, link: FakeLink
) -> None:
    link.start(fake.busy_welcome())
    with qtbot.waitActive(window):
        window.activateWindow()
    field, ring = window.send_panel.form["destination"], window.keyboard_focus.ring
    field.setFocus(Qt.FocusReason.MouseFocusReason)
    accent = window._theme.color("accent")
    frame = field.grab().toImage().pixelColor(field.width() // 2, 0)
    assert frame == accent
    QTest.keyClick(field, Qt.Key.Key_Tab)
    QTest.keyClick(window.send_panel.form["on_conflict"], Qt.Key.Key_Backtab)
    assert field.hasFocus()
    assert ring.isVisible()
    assert field.grab().toImage().pixelColor(field.width() // 2, 0) != accent
    QTest.mouseClick(field, Qt.MouseButton.LeftButton)
    assert ring.isHidden()


@pytest.mark.parametrize("dark", [False, True])
def test_the_theme_can_change_at_any_time(
    window: MainWindow, link: FakeLink, theme: Theme, dark: bool
) -> None:
    link.start(fake.busy_welcome())
    theme.set_dark(dark)
    corner = window.grab().toImage().pixelColor(4, 300)
    assert corner == theme.color("window")


# --- which cluster -------------------------------------------------------------------------------


def test_the_requested_cluster_is_used_when_there_is_none(link: FakeLink, settings: QSettings) -> None:
    choice = ClusterSelector(link, settings, "auto")
    link.start(fake.empty_welcome())
    assert link.asked(m.UseCluster) == [m.UseCluster("auto")]
    assert choice.wanted == "auto"


def test_at_first_the_user_is_asked(link: FakeLink, settings: QSettings) -> None:
    settings.remove("cluster")
    ClusterSelector(link, settings)
    link.start(fake.empty_welcome())
    assert link.asked(m.UseCluster) == []


def test_a_local_one_can_be_started_each_time(link: FakeLink, settings: QSettings) -> None:
    settings.remove("cluster")
    choice = ClusterSelector(link, settings, at_start=AtStart.LOCAL)
    link.start(fake.empty_welcome())
    assert link.asked(m.UseCluster) == [m.UseCluster("local")]
    choice.leave()
    link.start(fake.empty_welcome())
    assert len(link.asked(m.UseCluster)) == 1


@pytest.mark.parametrize(
    ("at_start", "wanted"), [(AtStart.LAST, "10.0.0.1:6379"), (AtStart.LOCAL, "local"), (AtStart.ASK, "")]
)
def test_the_start_preference_is_followed(
    link: FakeLink, settings: QSettings, at_start: AtStart, wanted: str
) -> None:
    settings.setValue("cluster", "10.0.0.1:6379")
    assert ClusterSelector(link, settings, at_start=at_start).wanted == wanted


def test_the_last_cluster_is_used_again(link: FakeLink, settings: QSettings) -> None:
    first = ClusterSelector(link, settings)
    link.start(fake.empty_welcome())
    assert link.asked(m.UseCluster) == []
    link.say(m.ClusterChanged(fake.local_cluster()))
    assert first.wanted == "local"
    another = FakeLink()
    second = ClusterSelector(another, settings)
    another.start(fake.empty_welcome())
    assert another.asked(m.UseCluster) == [m.UseCluster("local")]
    second.leave()
    another.start(fake.empty_welcome())
    assert len(another.asked(m.UseCluster)) == 1


def test_a_running_cluster_is_left_as_it_is(link: FakeLink, settings: QSettings) -> None:
    choice = ClusterSelector(link, settings, "auto")
    link.start(fake.busy_welcome())
    assert link.asked(m.UseCluster) == []
    assert choice.wanted == "local"


def test_the_stall_meter_tells_of_a_long_gap(qtbot: QtBot) -> None:
    gaps: list[Gap] = []
    meter = StallMeter(gaps.append)
    meter.start()
    end = time.thread_time() + 0.05  # on a busy machine other gaps come before and after it
    while time.thread_time() < end:
        pass
    qtbot.waitUntil(lambda: any(gap.late_ms > 30 and gap.busy_ms > 30 for gap in gaps))
    meter.stop()
