"""How other machines join a shared cluster, as long as none has."""

from __future__ import annotations

import re

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus, NodeInfo, NodeState, ShareInfo
from castray_desktop.core.protocol.nodes.driver_protocol import SHARED_TARGET
from castray_desktop.ui.model.desktop_services import copy
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import ElidedLabel, Rule, icon_button, label, lay_in

SECRET = re.compile(r"(RAY_AUTH_TOKEN=)\S+")


def _members(nodes: tuple[NodeInfo, ...]) -> list[NodeInfo]:
    """The nodes of other machines than this computer."""
    here = {node.node_id for node in nodes if node.this_computer}
    return [node for node in nodes if node.node_id not in here]


def has_members(nodes: tuple[NodeInfo, ...]) -> bool:
    """Whether another machine than this computer is in the cluster."""
    return bool(_members(nodes))


def joined_machines(nodes: tuple[NodeInfo, ...]) -> int:
    """How many other machines than this computer are in the cluster now."""
    present = (node for node in _members(nodes) if node.state is not NodeState.OFFLINE)
    return len({node.address or node.node_id for node in present})


class JoinHint(QWidget):
    """The command that joins, with a button that copies it; hidden without one. It shows no secret."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._command = ""
        words = label(
            lambda: self.tr("No other machine has joined yet. Run this on each machine that should join:"),
            12,
            400,
            "2",
        )
        words.setWordWrap(True)
        self.command = ElidedLabel("", 12, 500, "1", Qt.TextElideMode.ElideMiddle)
        self.copy_button = icon_button(theme, "copy", lambda: self.tr("Copy the command"))
        self.copy_button.clicked.connect(lambda: copy(self._command))
        row = lay_in(QHBoxLayout(), (self.command, 1), self.copy_button, spacing=8)
        body = lay_in(QVBoxLayout(), words, row, spacing=4, margins=(15, 8, 11, 4))
        lay_in(QVBoxLayout(self), Rule(theme), body, spacing=0, margins=(0, 0, 0, 0))
        self.hide()

    def show_command(self, command: str) -> None:
        """Show how to join; "" hides it."""
        self._command = command
        self.command.set_full_text(SECRET.sub(r"\1…", command))
        self.setVisible(bool(command))


class JoinHintController(QObject):
    """Asks the engine for the command when the shared cluster has no member, and shows it until it has one.

    Signal: `needed(str)` with the command, "" for none.
    """

    needed = Signal(str)

    def __init__(self, link: EngineLink, nodes: NodeList, parent: QObject) -> None:
        super().__init__(parent)
        self._link, self._nodes = link, nodes
        self._cluster = ClusterStatus()
        self._wanted = False
        nodes.changed.connect(self._refresh)

    def set_cluster(self, cluster: ClusterStatus) -> None:
        """The cluster that is in use."""
        self._cluster = cluster
        self._refresh()

    def _refresh(self) -> None:
        ready = self._cluster.phase is ClusterPhase.READY and self._cluster.target == SHARED_TARGET
        nodes = self._nodes.nodes()
        wanted = ready and bool(nodes) and not has_members(nodes)
        if wanted is self._wanted:
            return
        self._wanted = wanted
        if not wanted:
            self.needed.emit("")
            return

        def told(info: ShareInfo) -> None:
            if self._wanted:
                self.needed.emit(info.command)

        self._link.ask(messages.ShareCluster(), ShareInfo, told)
