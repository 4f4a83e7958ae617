"""Opens the sheets of the send panel: options, preflight report, and the files of another node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QWidget

from castray_desktop.core.protocol import messages
from castray_desktop.ui.send.options_sheet import OptionsSheet, SendOptions
from castray_desktop.ui.theme.theme import Theme

if TYPE_CHECKING:
    from castray_desktop.ui.model.engine_link import EngineLink
    from castray_desktop.ui.send.node_browser import NodeBrowser
    from castray_desktop.ui.send.preflight_sheet import PreflightSheet


class SendSheets(QObject):
    """Made when they are first wanted.

    Signals: `options_changed(SendOptions)`; `go_on()` to send without those that can't take it;
    `picked(list)` with paths of the node that was browsed.
    """

    options_changed = Signal(object)
    go_on = Signal()
    picked = Signal(list)

    def __init__(self, theme: Theme, link: EngineLink, panel: QWidget) -> None:
        super().__init__(panel)
        self._theme, self._link, self._panel = theme, link, panel
        self.options: OptionsSheet | None = None
        self.preflight: PreflightSheet | None = None
        self.browser: NodeBrowser | None = None

    def show_options(self, options: SendOptions) -> None:
        """Change these."""
        if self.options is None:
            self.options = OptionsSheet(self._theme, self._panel.window())
            self.options.changed.connect(self.options_changed)
        self.options.show_options(options)
        self.options.show()
        self.options.raise_()

    def show_report(self, report: messages.PreflightReport) -> None:
        """Show what was found, and ask whether to go on."""
        if self.preflight is None:
            from castray_desktop.ui.send.preflight_sheet import PreflightSheet

            self.preflight = PreflightSheet(self._theme, self._panel.window())
            self.preflight.go_on.connect(self.go_on)
        self.preflight.show_report(report)

    def browse(self, node: str) -> None:
        """Pick files of a node."""
        if self.browser is None:
            from castray_desktop.ui.send.node_browser import NodeBrowser

            self.browser = NodeBrowser(self._theme, self._link, self._panel.window())
            self.browser.picked.connect(self.picked)
        self.browser.browse(node)

    def close(self) -> None:
        """Close what is open."""
        for sheet in (self.options, self.preflight, self.browser):
            if sheet is not None:
                sheet.close()
