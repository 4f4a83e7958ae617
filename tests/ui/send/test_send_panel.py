"""The send panel: what is on the list, when it can be sent, what is said about it."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QInputDialog, QPushButton
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.ui.model.engine_link import EngineLinkState
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.send.option_fields import destination_problem
from castray_desktop.ui.send.send_list import SendList, size_text
from castray_desktop.ui.send.send_panel import SendPanel
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink

MODEL = "/home/ada/models/llama-3-8b.safetensors"
CONFIGS = "/home/ada/models/configs"
NO_ROOM = Failure(
    FailureKind.NO_ROOM, {"node": "node_3", "path": "/data", "free": "2.1 GB", "needed": "15.0 GB"}
)


@pytest.fixture
def nodes() -> NodeList:
    return NodeList()


@pytest.fixture
def selection(nodes: NodeList) -> RecipientSelection:
    made = RecipientSelection()
    made.follow(nodes)
    return made


@pytest.fixture
def panel(
    qtbot: QtBot, theme: Theme, link: FakeLink, nodes: NodeList, selection: RecipientSelection
) -> SendPanel:
    """A panel that is connected to a ready cluster."""
    made = SendPanel(theme, link, nodes, selection)
    qtbot.addWidget(made)
    made.resize(336, 472)
    made.show()
    link.start(fake.busy_welcome())
    nodes.replace(fake.local_nodes())
    made.set_status(fake.local_cluster(), EngineLinkState.CONNECTED)
    return made


@pytest.mark.parametrize(
    ("text", "name"), [("Files", "Add files"), ("Folder", "Add folder"), ("URL", "Add from URL")]
)
def test_an_empty_list_offers_files_a_folder_and_an_address(
    qtbot: QtBot, panel: SendPanel, text: str, name: str
) -> None:
    signal = {
        "Files": panel.drop_area.files_wanted,
        "Folder": panel.drop_area.folder_wanted,
        "URL": panel.drop_area.url_wanted,
    }[text]
    signal.disconnect()  # no dialog of the desktop
    buttons = {each.text(): each for each in panel.drop_area.findChildren(QPushButton) if each.isVisible()}
    assert list(buttons) == ["Files", "Folder", "URL"]
    assert buttons[text].accessibleName() == name
    with qtbot.waitSignal(signal):
        buttons[text].click()


@pytest.mark.parametrize("width", [288, 336])
def test_the_buttons_of_an_empty_list_fit(panel: SendPanel, width: int) -> None:
    panel.set_compact(width == 288)
    panel.resize(width, 472)
    area = panel.drop_area
    for each in area.findChildren(QPushButton):
        if each.isVisible():
            assert each.width() >= each.sizeHint().width()
            assert area.rect().contains(each.mapTo(area, each.rect().topLeft()))
            assert area.rect().contains(each.mapTo(area, each.rect().bottomRight()))


def add(qtbot: QtBot, panel: SendPanel, *paths: str) -> None:
    with qtbot.waitSignal(panel.entries.dataChanged):
        panel.add_paths(paths)


def ready(qtbot: QtBot, panel: SendPanel, selection: RecipientSelection) -> None:
    """Files on the list, recipients chosen, preflight answered."""
    with qtbot.waitSignal(panel.preflight.changed):
        add(qtbot, panel, MODEL, CONFIGS)
        selection.set_selected(["node_1", "node_3"])


def test_the_list_is_a_proper_model(qtbot: QtBot, qtmodeltester: ModelTester) -> None:
    entries = SendList()
    qtmodeltester.check(entries)  # type: ignore[no-untyped-call]
    entries.add(["/a", "/b", "/c"])
    entries.remove(1)
    entries.measured(("/a", "/c"), fake.measure(m.MeasurePaths(("/a", "/c"))).entries)
    entries.clear()


def test_each_path_is_there_once(qtbot: QtBot, panel: SendPanel) -> None:
    add(qtbot, panel, MODEL, CONFIGS + "/", MODEL)
    panel.add_paths([CONFIGS])
    assert panel.entries.paths() == (MODEL, CONFIGS)
    assert panel.entries.files == 15
    assert panel.entries.bytes == 15_000_086_000


def test_sizes_are_requested_for_new_entries_only(qtbot: QtBot, panel: SendPanel, link: FakeLink) -> None:
    add(qtbot, panel, MODEL)
    add(qtbot, panel, CONFIGS)
    assert [command.paths for command in link.asked(m.MeasurePaths)] == [(MODEL,), (CONFIGS,)]


def test_entries_added_before_the_connection_are_measured_after_it(
    qtbot: QtBot, theme: Theme, link: FakeLink, nodes: NodeList, selection: RecipientSelection
) -> None:
    panel = SendPanel(theme, link, nodes, selection)
    qtbot.addWidget(panel)
    panel.add_paths([MODEL])
    assert panel.entries.unmeasured() == (MODEL,)
    link.start(fake.empty_welcome())
    with qtbot.waitSignal(panel.entries.dataChanged):
        panel.set_status(m.ClusterStatus(), EngineLinkState.CONNECTED)
    assert panel.entries.unmeasured() == ()


def test_entries_added_before_the_cluster_is_ready_stay(
    qtbot: QtBot, theme: Theme, link: FakeLink, nodes: NodeList, selection: RecipientSelection
) -> None:
    early = SendPanel(theme, link, nodes, selection)
    qtbot.addWidget(early)
    early.add_paths([MODEL])
    nodes.replace(fake.local_nodes())
    assert selection.source
    assert early.entries.paths() == (MODEL,)
    selection.use_source("node_1")
    assert early.entries.paths() == ()


def test_the_button_shows_the_number_of_recipients_and_the_hint_the_reason(
    qtbot: QtBot, panel: SendPanel, nodes: NodeList, selection: RecipientSelection
) -> None:
    assert (panel.send_button.isEnabled(), panel.hint.text.full_text()) == (False, "Add what to send first")
    add(qtbot, panel, MODEL)
    assert panel.hint.text.full_text() == "Choose at least one recipient"
    selection.set_selected(["node_1"])
    assert (panel.send_button.isEnabled(), panel.send_button.text()) == (True, "Send to 1 node")
    selection.select_all()
    assert panel.send_button.text() == "Send to 3 nodes"
    panel.set_status(m.ClusterStatus(m.ClusterPhase.STARTING), EngineLinkState.CONNECTED)
    assert panel.hint.text.full_text() == "Files wait here until the nodes are ready"
    panel.set_status(fake.local_cluster(), EngineLinkState.RECONNECTING)
    assert panel.hint.text.full_text() == "Files wait here until you are connected"
    assert not panel.send_button.isEnabled()


def test_an_entry_that_can_not_be_sent_is_named(
    qtbot: QtBot, panel: SendPanel, selection: RecipientSelection
) -> None:
    selection.select_all()
    add(qtbot, panel, MODEL, "/home/ada/missing.bin")
    assert panel.why_not() == "missing.bin can't be sent; remove it"
    index = panel.entries.index(1)
    assert "does not exist" in index.data(Qt.ItemDataRole.ToolTipRole)
    panel.entries.remove(1)
    assert panel.why_not() == ""


def test_the_request_has_the_values_of_the_fields(
    qtbot: QtBot, panel: SendPanel, selection: RecipientSelection
) -> None:
    ready(qtbot, panel, selection)
    panel.form["destination"].setText(" /data/{node} ")
    panel.form["on_conflict"].setCurrentIndex(panel.form["on_conflict"].findText("Overwrite"))
    assert panel.request() == m.SendRequest(
        paths=(MODEL, CONFIGS),
        recipients=("node_1", "node_3"),
        source="ubuntu-ws",
        options=m.TransferOptions(destination="/data/{node}", on_conflict=m.OnConflict.OVERWRITE),
    )


@pytest.mark.parametrize("text", ["", "  ", "/data", "/data/{node}/in", "/a {node}"])
def test_good_destinations(text: str) -> None:
    assert destination_problem(text) == ""


@pytest.mark.parametrize("text", ["data", "~/data", "/data/{nodes}", "/data/{", "/data/{}", "/data/{0}"])
def test_bad_destinations(text: str) -> None:
    assert destination_problem(text)


def test_a_bad_destination_is_shown_and_stops_the_send(
    qtbot: QtBot, panel: SendPanel, selection: RecipientSelection
) -> None:
    ready(qtbot, panel, selection)
    panel.form["destination"].setText("data")
    assert panel.form["destination"].property("invalid") is True
    assert not panel.send_button.isEnabled()
    assert "full path" in panel.hint.text.full_text()
    panel.form["destination"].setText("/data")
    assert panel.form["destination"].property("invalid") is False
    assert panel.send_button.isEnabled()


def test_the_preflight_is_asked_once_it_is_quiet(
    qtbot: QtBot, panel: SendPanel, selection: RecipientSelection, link: FakeLink
) -> None:
    with qtbot.waitSignal(panel.preflight.changed, check_params_cb=None):
        add(qtbot, panel, MODEL)
        for names in (["node_1"], ["node_1", "node_2"], ["node_1", "node_2", "node_3"]):
            selection.set_selected(names)
    assert [len(command.request.recipients) for command in link.asked(m.Preflight)] == [3]
    assert panel.hint.text.full_text() == "Fits on all 3 · uploaded once, 15.0 GB"


def test_a_late_preflight_of_an_older_request_is_dropped(
    qtbot: QtBot, panel: SendPanel, selection: RecipientSelection, link: FakeLink
) -> None:
    ready(qtbot, panel, selection)
    assert panel.preflight.report is not None
    panel.form["destination"].setText("/data")
    assert panel.preflight.report is None
    assert panel.hint.text.full_text() == "Checking the recipients…"


def test_pressing_send_asks_for_it(qtbot: QtBot, panel: SendPanel, selection: RecipientSelection) -> None:
    ready(qtbot, panel, selection)
    with qtbot.waitSignal(panel.send_requested) as sent:
        QTest.mouseClick(panel.send_button, Qt.MouseButton.LeftButton)
    request = sent.args[0]
    assert request == panel.request()
    panel.accepted(request)
    assert panel.entries.paths() == ()


def test_a_list_that_changed_meanwhile_is_kept(
    qtbot: QtBot, panel: SendPanel, selection: RecipientSelection
) -> None:
    ready(qtbot, panel, selection)
    request = panel.request()
    add(qtbot, panel, "/home/ada/more.bin")
    panel.accepted(request)
    assert panel.entries.paths() == (MODEL, CONFIGS, "/home/ada/more.bin")


def test_a_long_hint_is_elided_and_complete_in_its_tool_tip(
    qtbot: QtBot, panel: SendPanel, selection: RecipientSelection
) -> None:
    panel.resize(280, 480)
    panel.show()
    hint, long = panel.hint, "node_1 has no room: /proc/castray has 0 B free and 900 MB are needed."
    for number in range(3):  # each time in a line that is as wide as before
        hint.show_hint(None, "Add what to send first", "2", "")
        hint.show_hint(GlyphState.LAGGING, f"{long} {number}", "warn", f"{long} Make room there.")
        qtbot.wait(20)
        assert hint.rect().contains(hint.text.geometry())
        assert hint.text.text().endswith("…")
        assert hint.text.toolTip() == f"{long} Make room there."
    assert panel.width() == 280
    hint.show_hint(GlyphState.VERIFIED, "Fits", "2", "")
    qtbot.wait(20)
    shown = hint.text.geometry().united(hint.glyph.geometry())
    assert hint.text.text() == "Fits"
    assert abs(shown.center().x() - hint.rect().center().x()) <= 2


def test_a_refusal_is_explained(qtbot: QtBot, panel: SendPanel, selection: RecipientSelection) -> None:
    ready(qtbot, panel, selection)
    panel.refused(NO_ROOM)
    assert panel.banner.text().startswith("node_3 has no room: /data has 2.1 GB free")
    assert panel.entries.paths() == (MODEL, CONFIGS)


DEAD_LINK = m.PreflightReport(
    1, 1, ("node_1", "node_2"), kept_links=2, broken_links=1, broken_names=("configs/base.json",)
)
PIPE = m.UnsentFile(
    "configs/pipe", Failure(FailureKind.NOT_SENDABLE, {"path": "configs/pipe", "what": "a named pipe"})
)
UNSENT = m.PreflightReport(1, 1, ("node_1", "node_2"), left_out=(PIPE,), left_out_count=3)


@pytest.mark.parametrize(
    ("report", "told"),
    [
        (DEAD_LINK, "A link would be broken on the recipients: configs/base.json"),
        (UNSENT, "configs/pipe is a named pipe and can't be sent. (and 2 more)"),
    ],
)
def test_unsent_files_are_shown_before_the_cast(
    qtbot: QtBot,
    panel: SendPanel,
    selection: RecipientSelection,
    link: FakeLink,
    report: m.PreflightReport,
    told: str,
) -> None:
    link.answers[m.Preflight] = lambda command: report
    ready(qtbot, panel, selection)
    panel.show()
    assert panel.hint.text.full_text() == told
    assert panel.hint.text.property("tone") == "warn"
    with qtbot.assertNotEmitted(panel.send_requested):
        QTest.mouseClick(panel.send_button, Qt.MouseButton.LeftButton)
    assert panel.banner.isVisible()
    assert told in panel.banner.text()
    go_on = next(each for each in panel.banner.findChildren(QPushButton) if each.text() == "Send anyway")
    with qtbot.waitSignal(panel.send_requested) as sent:
        QTest.mouseClick(go_on, Qt.MouseButton.LeftButton)
    assert sent.args[0] == panel.request()


def test_a_recipient_without_room_can_be_left_out(
    qtbot: QtBot, panel: SendPanel, selection: RecipientSelection, link: FakeLink
) -> None:
    problem = m.PreflightProblem("node_3", NO_ROOM)
    link.answers[m.Preflight] = lambda command: m.PreflightReport(
        1, 1, command.request.recipients, (problem,)
    )
    ready(qtbot, panel, selection)
    assert panel.hint.text.full_text() == "No room: 2.1 GB free, 15.0 GB needed · node_3"
    assert panel.hint.text.property("tone") == "warn"
    with qtbot.assertNotEmitted(panel.send_requested):
        panel.send()
    assert "node_3 has no room" in panel.banner.text()
    others = next(each for each in panel.banner.findChildren(QPushButton) if "other" in each.text())
    assert others.text() == "Send to the other 1"
    with qtbot.waitSignal(panel.send_requested) as sent:
        others.click()
    assert sent.args[0].leave_out
    assert "node_3" in panel.request().recipients
    assert sent.args[0].recipients == tuple(each for each in panel.request().recipients if each != "node_3")
    assert panel.banner.text() == ""


def test_a_busy_server_keeps_nobody_from_sending(
    qtbot: QtBot, panel: SendPanel, selection: RecipientSelection, link: FakeLink
) -> None:
    url = "https://host/model.bin"
    values = {"url": url, "reason": "the server answers 429 and asks to wait 45 s", "seconds": "45"}
    busy = Failure(FailureKind.SERVER_BUSY, values)
    link.answers[m.MeasurePaths] = lambda command: m.Measured(
        (m.PathSummary(url, "model.bin", failure=busy),)
    )
    link.answers[m.Preflight] = lambda command: m.PreflightReport(0, 0, (), failure=busy)
    selection.set_selected(["node_2"])
    add(qtbot, panel, url)
    qtbot.waitUntil(lambda: panel.preflight.failure is not None)
    assert panel.why_not() == ""
    assert panel.hint.text.full_text() == "Server busy · the cast waits for it"
    assert size_text(panel.entries.entry(panel.entries.index(0))) == "Server busy"
    assert panel.drop_area._bytes.text() == "…"
    assert panel._asking_again.remainingTime() > 30_000
    with qtbot.waitSignal(panel.send_requested) as sent:
        panel.send()
    assert sent.args[0].paths == (url,)
    assert sent.args[0].leave_out  # who can't receive it is not known yet
    good = m.PathSummary(url, "model.bin", files=1, bytes=2_000_000)
    link.answers[m.MeasurePaths] = lambda command: m.Measured((good,))
    link.answers[m.Preflight] = lambda command: m.PreflightReport(1, 2_000_000, command.request.recipients)
    panel._asking_again.start(0)
    qtbot.waitUntil(lambda: panel.preflight.failure is None and panel.preflight.report is not None)
    assert panel.drop_area._bytes.text() == "2.0 MB"
    assert not panel._asking_again.isActive()


def test_a_row_is_removed_by_its_cross_or_the_delete_key(qtbot: QtBot, panel: SendPanel) -> None:
    add(qtbot, panel, MODEL, CONFIGS)
    view = panel.drop_area.view
    row = view.visualRect(panel.entries.index(0))
    QTest.mouseClick(
        view.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(row.right() - 10, row.center().y())
    )
    assert panel.entries.paths() == (CONFIGS,)
    view.setCurrentIndex(panel.entries.index(0))
    QTest.keyClick(view, Qt.Key.Key_Delete)
    assert panel.entries.paths() == ()


def test_clear_empties_the_list(qtbot: QtBot, panel: SendPanel) -> None:
    assert panel.clear_button.isHidden()
    add(qtbot, panel, MODEL)
    panel.clear_button.click()
    assert panel.entries.paths() == ()


def test_every_field_has_an_accessible_name(qtbot: QtBot, panel: SendPanel) -> None:
    assert panel.form["destination"].accessibleName() == "Save to"
    assert panel.form["on_conflict"].accessibleName() == "If a file exists: Skip identical"
    assert panel.source.accessibleName() == "From: This computer (ubuntu-ws)"
    assert panel.drop_area.view.accessibleName() == "What will be sent"
    add(qtbot, panel, CONFIGS)
    name = panel.entries.index(0).data(Qt.ItemDataRole.AccessibleTextRole)
    assert name == "configs, 14 files, 86 KB"


def test_a_button_that_is_disabled_hands_its_focus_to_no_other_card(window: MainWindow) -> None:
    """Qt would move it on as if Tab had been pressed, which shows a focus ring on the graph."""
    window.show()
    window.activateWindow()
    panel = window.send_panel
    panel.send_button.setEnabled(True)
    panel.send_button.setFocus(Qt.FocusReason.MouseFocusReason)
    assert panel.send_button.hasFocus()
    panel.entries.clear()
    panel._refresh()
    assert not panel.send_button.isEnabled()
    assert panel.form["limit"].hasFocus()


def test_an_address_is_added_by_a_dialog_and_downloaded_by_a_node(
    qtbot: QtBot, panel: SendPanel, link: FakeLink, selection: RecipientSelection
) -> None:
    panel.drop_area.url_wanted.emit()
    dialog = panel.window().findChild(QInputDialog)
    assert dialog is not None
    dialog.setTextValue(" https://example.org/model.bin?key=1 ")
    dialog.accept()
    selection.select_all()
    request = panel.request()
    assert request.paths == ("https://example.org/model.bin?key=1",)
    assert request.source == ""  # the engine chooses the node


def test_what_is_no_address_is_not_added(panel: SendPanel) -> None:
    panel.drop_area.url_wanted.emit()
    dialog = panel.window().findChild(QInputDialog)
    assert dialog is not None
    dialog.setTextValue("model.bin")
    dialog.accept()
    assert panel.entries.paths() == ()
    assert (
        panel.banner.text()
        == "model.bin is not an address that can be sent (https://…, hf://…, s3://…, gs://…, az://…)."
    )


def test_where_addresses_are_downloaded(panel: SendPanel) -> None:
    panel.add_paths(["https://example.org/model.bin"])
    assert panel.download.isVisibleTo(panel)
    assert not panel.source.isVisibleTo(panel)
    names = [panel.download.itemText(number) for number in range(panel.download.count())]
    assert names[:2] == ["Fastest node (measured)", "This computer (ubuntu-ws)"]
    assert panel.request().source == ""
    panel.download.activated.emit(names.index("node_1"))
    assert panel.request().source == "node_1"
    panel.download.activated.emit(1)
    assert panel.request().source == "ubuntu-ws"
    panel.add_paths([MODEL])
    assert panel.source.isVisibleTo(panel)
    panel.entries.clear()
    panel.add_paths(["https://example.org/model.bin"])
    assert panel.request().source == ""


def test_what_was_measured_last_is_shown(panel: SendPanel) -> None:
    speeds = (m.StoreSpeed("node_1", 4e7), m.StoreSpeed("node_3", 1.1e8))
    panel.add_paths(["https://example.org/model.bin"])
    panel.download.set_placement(m.DownloadPlacement(m.PlacementReason.AWAITED, "example.org", speeds))
    assert panel.download.texts() == ("Fastest: node_3", "110 MB/s")
    items = [panel.download.itemText(number) for number in range(panel.download.count())]
    assert {"node_1 · 40 MB/s", "node_2", "node_3 · 110 MB/s"} < set(items)
    assert panel.download.sentence() == "Last measured with example.org: node_3 110 MB/s, node_1 40.0 MB/s."
