"""Dialogs that add nodes, remove nodes, and show how other machines join."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QObject, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QInputDialog, QPlainTextEdit, QVBoxLayout, QWidget

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterStatus, ShareInfo
from castray_desktop.core.protocol.nodes.driver_protocol import SHARED_TARGET
from castray_desktop.ui.model.desktop_services import copy
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import bind_text, button, label, lay_in
from castray_desktop.ui.widgets.sheet import Sheet


class NodeDialogs(QObject):
    """Opens the dialogs. Signals: `failed(Failure)` when the engine could not."""

    failed = Signal(object)

    def __init__(self, theme: Theme, link: EngineLink, nodes: NodeList, window: QWidget) -> None:
        super().__init__(window)
        self._theme, self._link, self._nodes, self._window = theme, link, nodes, window
        self._share_sheet: ShareSheet | None = None

    def ask_name(self) -> None:
        """Ask for a name, and add a node with that name."""
        taken = {node.name for node in self._nodes.nodes()}
        free = next(name for number in range(1, 10_000) if (name := f"node_{number}") not in taken)
        dialog = QInputDialog(self._window)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(self.tr("Add a node"))
        dialog.setLabelText(self.tr("Name of the new node (it gets its own inbox):"))
        dialog.setTextValue(free)
        dialog.setOkButtonText(self.tr("Add"))
        dialog.setCancelButtonText(self.tr("Cancel"))
        dialog.textValueSelected.connect(self.add)
        dialog.open()

    def add(self, name: str) -> None:
        """Add a node."""
        if name.strip():
            self._link.ask(messages.AddNode(name.strip()), messages.Done, None, self.failed.emit)

    def remove(self, name: str) -> None:
        """Remove a node that was added."""
        self._link.ask(messages.RemoveNode(name), messages.Done, None, self.failed.emit)

    def set_cluster(self, cluster: ClusterStatus) -> None:
        """The cluster that is in use: the command that joins another one is hidden."""
        if self._share_sheet is not None and cluster.target != SHARED_TARGET:
            self._share_sheet.close()

    def show_share(self, info: ShareInfo) -> None:
        """Show how another machine joins."""
        if self._share_sheet is None:
            self._share_sheet = ShareSheet(self._theme, self._window)
        self._share_sheet.show_info(info)


translate = QCoreApplication.translate


class ShareSheet(Sheet):
    """Shows the command; it holds a secret and is forgotten when the sheet is closed."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(
            theme, lambda: translate("Share", "Let other machines join"), parent, size=(620, 330)
        )
        hint = label(
            lambda: translate(
                "Share",
                "Run this on each machine that should join. It requires CastRay or Ray, and a network"
                " connection to this computer.",
            ),
            12,
            400,
            "2",
        )
        warning = label(
            lambda: translate(
                "Share", "Anyone with this command can run code in this cluster. Keep it secret."
            ),
            12,
            500,
            "warn",
        )
        self._encrypted = False
        self.network = label(self._about_network, 12, 500, "warn")
        for text in (hint, warning, self.network):
            text.setWordWrap(True)
        self.command = QPlainTextEdit()
        self.command.setReadOnly(True)
        self.command.setFont(font(12))
        self.command.setTabChangesFocus(True)
        self.command.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        bind_text(self.command, self.command.setAccessibleName, lambda: translate("Share", "Command to join"))
        self.copy_button = button(theme, lambda: translate("Share", "Copy the command"), "copy", height=32)
        self.copy_button.clicked.connect(lambda: copy(self.command.toPlainText()))
        self.set_body(lay_in(QVBoxLayout(), hint, (self.command, 1), warning, self.network, spacing=10))
        self.set_foot(lay_in(QHBoxLayout(), None, self.copy_button))
        self.finished.connect(self.command.clear)

    def show_info(self, info: ShareInfo) -> None:
        """Show how to join this one."""
        self.command.setPlainText(info.command)
        self._encrypted = info.encrypted
        self.network.setText(self._about_network())
        self.set_fixed_title(info.address)
        self.show()
        self.raise_()

    def _about_network(self) -> str:
        if self._encrypted:
            return translate("Share", "Connections are encrypted with Ray's certificates (RAY_USE_TLS=1).")
        return translate(
            "Share",
            "Ray's connections are not encrypted: the token and the secret of each cast cross the"
            " network unencrypted. Share only on a network that you trust, or set RAY_USE_TLS=1.",
        )
