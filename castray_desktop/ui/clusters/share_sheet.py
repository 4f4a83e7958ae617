"""How another machine joins the shared cluster: the command to run there."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from castray_desktop.core.messages import ShareInfo
from castray_desktop.ui.controls.sheet import Sheet
from castray_desktop.ui.controls.widgets import button, label, say
from castray_desktop.ui.fonts import font
from castray_desktop.ui.opening import copy
from castray_desktop.ui.theme import Theme

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
                "Run this on each machine that is to join. It needs CastRay or Ray there, and a way to the"
                " address of this computer.",
            ),
            12,
            400,
            "2",
        )
        warning = label(
            lambda: translate(
                "Share", "Whoever has this command can run code in this cluster: keep it secret."
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
        say(self.command, self.command.setAccessibleName, lambda: translate("Share", "Command to join"))
        self.copy_button = button(theme, lambda: translate("Share", "Copy the command"), "copy", height=32)
        self.copy_button.clicked.connect(lambda: copy(self.command.toPlainText()))
        body = QVBoxLayout()
        body.setSpacing(10)
        body.addWidget(hint)
        body.addWidget(self.command, 1)
        body.addWidget(warning)
        body.addWidget(self.network)
        self.set_body(body)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(self.copy_button)
        self.set_foot(row)
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
            "Connections are not encrypted: the token and the secret of each cast cross the network in clear."
            " Share only in a network that you trust, or set RAY_USE_TLS=1.",
        )
