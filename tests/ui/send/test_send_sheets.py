"""Beyond a plain send: options, problems, removals, other sources, later recipients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytestqt.qtbot import QtBot

from castray_desktop.core.casts.transfer_options import Layout
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import Encryption, Links, NodeState, OnConflict, TransportOption
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink

MODEL = "/home/ada/models/llama-3-8b.safetensors"
NO_ROOM = Failure(
    FailureKind.NO_ROOM, {"node": "node_3", "path": "/data", "needed": "15.0 GB", "free": "2.0 GB"}
)


@pytest.fixture
def ready(window: MainWindow, link: FakeLink) -> Iterator[MainWindow]:
    link.start(m.Welcome(1, "", 1, fake.local_cluster(), fake.local_nodes(), ()))
    window.selection.select_all()
    yield window
    window.close_sheets()


def add_files(qtbot: QtBot, window: MainWindow) -> None:
    with qtbot.waitSignal(window.send_panel.preflight.changed):
        window.add_files([MODEL])


def test_options_go_with_the_request(qtbot: QtBot, ready: MainWindow, link: FakeLink) -> None:
    panel = ready.send_panel
    panel.options_button.click()
    sheet = panel.sheets.options
    assert sheet is not None
    sheet.form["exclude"].setText("*.tmp，.git")
    sheet.form["include"].setText("*.bin")
    sheet.form["links"].set_value(Links.FOLLOW)
    assert all(sheet.form["transport"].itemText(index) for index in range(len(TransportOption)))
    sheet.form["transport"].setCurrentIndex(3)
    sheet.form["remove_extra"].setChecked(True)
    sheet.form["hook"].setText("systemctl restart model")
    sheet.form["encrypt"].setCurrentIndex(2)
    add_files(qtbot, ready)
    request = panel.request()
    assert request.options.exclude == ("*.tmp", ".git")
    assert (request.options.links, request.options.transport) == (Links.FOLLOW, TransportOption.UDP)
    assert request.options.encrypt is Encryption.NEVER
    assert not request.options.remove_extra  # only where existing files are overwritten
    panel.form["on_conflict"].set_value(OnConflict.OVERWRITE)
    assert panel.request().options.remove_extra
    assert panel.options_button.text() == "Options · 7"
    assert link.asked(m.MeasurePaths)[-1].exclude == ("*.tmp", ".git")
    assert link.asked(m.MeasurePaths)[-1].include == ("*.bin",)
    sheet.reset_button.click()
    assert panel.options_button.text() == "Options"


def test_the_layout_is_for_the_hub_alone(qtbot: QtBot, ready: MainWindow) -> None:
    panel = ready.send_panel
    add_files(qtbot, ready)
    panel.options_button.click()
    sheet = panel.sheets.options
    assert sheet is not None
    assert not sheet.form["layout"].isEnabled()
    panel.entries.clear()
    panel.add_paths(["hf://org/name"])
    panel.options_button.click()
    assert sheet.form["layout"].isEnabled()
    sheet.form["layout"].set_value(Layout.HF_CACHE)
    assert panel.request().options.layout is Layout.HF_CACHE
    add_files(qtbot, ready)
    assert panel.request().options.layout is Layout.PLAIN


def test_several_problems_are_shown_with_their_remedies(
    qtbot: QtBot, ready: MainWindow, link: FakeLink
) -> None:
    silent = Failure(FailureKind.NODE_SILENT, {"node": "node_1"})
    problems = (m.PreflightProblem("node_3", NO_ROOM), m.PreflightProblem("node_1", silent))
    names = ("node_1", "node_2", "node_3")
    link.answers[m.Preflight] = lambda command: m.PreflightReport(1, 15, names, problems)
    add_files(qtbot, ready)
    ready.send_panel.send()
    sheet = ready.send_panel.sheets.preflight
    assert sheet is not None
    assert link.asked(m.Send) == []
    assert sheet.words.text() == "2 of 3 nodes can't receive this."
    assert sheet._problems.index(0, 0).data() == "node_3"
    assert sheet._problems.index(1, 2).data()
    assert sheet.go_on_button.text() == "Send to the other 1"
    sheet.grab()
    sheet.go_on_button.click()
    assert link.asked(m.Send)[0].request.leave_out
    assert link.asked(m.Send)[0].request.recipients == ("node_2",)


def test_removals_are_previewed_before_anything_is_sent(
    qtbot: QtBot, ready: MainWindow, link: FakeLink
) -> None:
    removal = m.Removal("node_2", 102, ("/data/models/old.bin", "/data/models/older.bin"))
    report = m.PreflightReport(1, 15, ("node_1", "node_2", "node_3"), removals=(removal,))
    link.answers[m.Preflight] = lambda command: report
    add_files(qtbot, ready)
    assert ready.send_panel.hint.text.full_text() == "Removes 102 entries on the recipients"
    ready.send_panel.send()
    sheet = ready.send_panel.sheets.preflight
    assert sheet is not None
    assert sheet.words.text() == "102 entries that the source no longer has would be removed."
    rows = [sheet._removals.index(row, 1).data() for row in range(sheet._removals.rowCount())]
    assert rows == ["/data/models/old.bin", "/data/models/older.bin", "and 100 more"]
    assert link.asked(m.Send) == []
    sheet.go_on_button.click()
    assert len(link.asked(m.Send)) == 1


def test_offline_nodes_get_theirs_later(qtbot: QtBot, ready: MainWindow, link: FakeLink) -> None:
    link.say(m.NodesChanged((fake.node("node_3", 4, state=NodeState.OFFLINE),)))
    ready.selection.clear()
    ready.selection.toggle("node_1")
    ready.selection.toggle("node_3")
    add_files(qtbot, ready)
    request = ready.send_panel.request()
    assert (request.recipients, request.options.await_offline) == (("node_1", "node_3"), True)
    assert "1 receive it when they are back online" in ready.send_panel.hint.text.full_text()
    ready.selection.toggle("node_1")
    assert ready.send_panel.send_button.text() == "Keep for 1 node"
    assert ready.send_panel.send_button.isEnabled()


def test_another_node_is_the_source_and_its_files_are_browsed(
    qtbot: QtBot, ready: MainWindow, link: FakeLink
) -> None:
    entries = (m.FolderEntry("models", folder=True), m.FolderEntry("a.bin", bytes=5_000_000))
    link.answers[m.Browse] = lambda command: m.FolderListing(
        command.node, command.path or "/home/ada", entries, left_out=3
    )
    panel = ready.send_panel
    add_files(qtbot, ready)
    names = [panel.source.itemText(number) for number in range(panel.source.count())]
    assert names == ["This computer (ubuntu-ws)", "node_1", "node_2", "node_3"]
    panel.source.activated.emit(2)
    assert ready.selection.source == "node_2"
    assert ready.selection.selected() == {"node_1", "node_3"}
    assert panel.entries.paths() == ()
    panel.drop_area.files_wanted.emit()
    browser = panel.sheets.browser
    assert browser is not None
    assert browser.address.text() == "/home/ada"
    assert browser.left_out.text() == "3 more not shown"
    browser.table.selectRow(0)
    browser._open()
    assert link.asked(m.Browse)[-1] == m.Browse("node_2", "/home/ada/models")
    browser.table.selectRow(1)
    browser.add_button.click()
    assert panel.entries.paths() == ("/home/ada/models/a.bin",)
    qtbot.waitUntil(lambda: link.asked(m.MeasurePaths)[-1].node == "node_2")
    browser.up_button.click()
    assert link.asked(m.Browse)[-1].path == "/home/ada"
    assert panel.request().source == "node_2"


def test_a_node_that_does_not_answer_is_reported(ready: MainWindow, link: FakeLink) -> None:
    failure = Failure(FailureKind.NODE_SILENT, {"node": "node_1"})
    link.answers[m.Browse] = lambda command: m.Failed(failure)
    ready.selection.use_source("node_1")
    ready.send_panel.drop_area.files_wanted.emit()
    assert ready.send_panel.sheets.browser is not None
    assert ready.send_panel.sheets.browser.banner.text()


def test_verification_shows_its_progress_and_result(ready: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    asked: list[m.Verify] = []
    kept = link.ask

    def hold(command, expect, done=None, failed=None) -> None:  # type: ignore[no-untyped-def]
        if isinstance(command, m.Verify):
            asked.append(command)
            hold.done = done  # type: ignore[attr-defined]
        else:
            kept(command, expect, done, failed)

    link.ask = hold  # type: ignore[method-assign]
    ready.actions_on_casts.verify_wanted.emit("c0ffee000002")
    sheet = ready.sheets.verifying
    assert sheet is not None
    assert sheet.reading
    link.say(m.VerifyProgress(asked[0].job, 5_000_000_000, 10_000_000_000))
    assert sheet.words.text() == "Reading files back: 5.0 GB of 10.0 GB"
    assert sheet.bar.value() == 500
    nodes = (
        m.VerifiedNode("node_1", m.VerifiedState.SAME, "blake3:00", 1, 10),
        m.VerifiedNode("node_2", m.VerifiedState.DIFFERENT, differing=("a", "b"), differing_count=5),
    )
    hold.done(m.VerifyReport(asked[0].job, nodes))  # type: ignore[attr-defined]
    assert sheet.words.text() == "1 of 2 nodes differ from what was sent."
    assert sheet.model.index(1, 4).data() == "a, b and 3 more"
    sheet.grab()
    sheet.close()
    assert link.asked(m.CancelVerify) == []


def test_details_follow_the_cast(ready: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    ready.actions_on_casts.details_wanted.emit("c0ffee000002")
    sheet = ready.sheets.details
    assert sheet is not None
    text = sheet.text()
    assert "State: 1 failed" in text
    assert "Went offline" in text
    assert "blake3:9f2c" in text
    sheet.grab()
