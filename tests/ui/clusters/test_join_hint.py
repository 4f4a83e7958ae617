"""A shared cluster says how to join it, as long as nobody has; the token is copied, but not shown."""

from __future__ import annotations

from PySide6.QtWidgets import QApplication

from castray_desktop.core.protocol import messages as m
from castray_desktop.ui.clusters.membership_dialogs import ShareSheet
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.desktop.on_screen import click
from tests.helpers.desktop.seen import painted
from tests.helpers.fake_engine import FakeLink

TOKEN = "5" * 64
COMMAND = f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN={TOKEN} ray start --address=10.0.0.1:6379"


def shared(window: MainWindow, link: FakeLink, *nodes: m.NodeInfo) -> None:
    link.answers[m.ShareCluster] = lambda command: m.ShareInfo(COMMAND, "10.0.0.1:6379")
    cluster = fake.local_cluster(target="shared", address="10.0.0.1:6379", nodes_ready=len(nodes))
    link.start(m.Welcome(m.PROTOCOL_VERSION, "0.1.0", 4711, cluster, nodes, (), {}))


def test_a_shared_cluster_without_members_shows_the_command(window: MainWindow, link: FakeLink) -> None:
    here = fake.node("ubuntu-ws", 1, this_computer=True)
    shared(window, link, here, fake.node("node_1", 2, node_id=here.node_id))  # both on this computer
    hint = window.recipients.join_hint
    assert hint.isVisible()
    assert "--address=10.0.0.1:6379" in hint.command.full_text()
    assert not any(TOKEN in text for text in painted(window))
    assert TOKEN not in hint.command.full_text() + hint.command.toolTip()
    click(hint.copy_button)
    assert QApplication.clipboard().text() == COMMAND
    link.say(m.NodesChanged((fake.node("gpu-01", 9, address="10.0.0.9"),), ()))
    assert not hint.isVisible()


def test_another_cluster_shows_none(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    assert not window.recipients.join_hint.isVisible()
    assert link.asked(m.ShareCluster) == []


def test_the_sheet_with_the_command_goes_with_its_cluster(window: MainWindow, link: FakeLink) -> None:
    shared(window, link, fake.node("ubuntu-ws", 1, this_computer=True))
    window.node_dialogs.show_share(m.ShareInfo(COMMAND, "10.0.0.1:6379"))
    (sheet,) = window.findChildren(ShareSheet)
    link.say(m.ClusterChanged(fake.local_cluster(target="shared", nodes_ready=2)))
    assert sheet.isVisible()
    link.say(m.ClusterChanged(m.ClusterStatus()))
    assert not sheet.isVisible()
    assert sheet.command.toPlainText() == ""
