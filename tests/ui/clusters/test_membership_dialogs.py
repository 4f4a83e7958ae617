"""How another machine joins: the sheet says what the network can read along."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from castray_desktop.core.protocol.messages import ShareInfo
from castray_desktop.ui.clusters.membership_dialogs import ShareSheet
from castray_desktop.ui.theme.theme import Theme


def test_the_sheet_says_whether_the_token_crosses_the_network_in_clear(qtbot: QtBot, theme: Theme) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    window.resize(900, 600)
    window.show()
    sheet = ShareSheet(theme, window)
    sheet.show_info(ShareInfo("RAY_AUTH_TOKEN=0 ray start", "10.0.0.1:6379"))
    qtbot.waitUntil(lambda: sheet.network.isVisible() and not sheet.network.visibleRegion().isEmpty())
    assert "the token and the secret of each cast cross the network unencrypted" in sheet.network.text()
    assert sheet.network.height() >= sheet.network.heightForWidth(sheet.network.width())
    sheet.show_info(ShareInfo("RAY_USE_TLS=1 ray start", "10.0.0.1:6379", encrypted=True))
    assert "in clear" not in sheet.network.text()
    sheet.close()
