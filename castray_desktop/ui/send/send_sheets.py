"""Opens the sheets of the send panel: options, preflight report, and the files of another node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol import messages
from castray_desktop.ui.send.option_fields import OPTION_FIELDS, OptionForm
from castray_desktop.ui.send.preflight_sheet import PreflightSheet
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import button, label, lay_in
from castray_desktop.ui.widgets.fields import labelled_form
from castray_desktop.ui.widgets.sheet import Sheet

if TYPE_CHECKING:
    from castray_desktop.ui.model.engine_link import EngineLink
    from castray_desktop.ui.send.node_browser import NodeBrowser


translate = QCoreApplication.translate

PANEL_OPTIONS = ("destination", "on_conflict", "limit")
SHEET_OPTIONS = tuple(name for name in OPTION_FIELDS if name not in PANEL_OPTIONS)


class OptionsSheet(Sheet):
    """The options that are rarely set. Signals: `changed(TransferOptions)` at every change."""

    changed = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(theme, lambda: translate("SendOptions", "More options"), parent, size=(560, 440))
        self.form = OptionForm(theme, SHEET_OPTIONS, self)
        self.form.changed.connect(self._tell)
        hint = label(
            lambda: translate(
                "SendOptions",
                "Files are removed only with Overwrite, and are listed before anything is sent. The"
                " command runs on each recipient that allows it, after its files are verified.",
            ),
            12,
            400,
            "2",
        )
        hint.setWordWrap(True)
        self.set_body(lay_in(QVBoxLayout(), labelled_form(self.form.rows()), hint, None))
        self.reset_button = button(theme, lambda: translate("SendOptions", "Default"), "undo-2", height=32)
        self.reset_button.clicked.connect(self._reset)
        self.set_foot(lay_in(QHBoxLayout(), self.reset_button, None))

    def _reset(self) -> None:
        self.form.set_options(TransferOptions())
        self._tell()

    def _tell(self) -> None:
        self.changed.emit(self.form.options(TransferOptions()))


class SendSheets(QObject):
    """Creates each sheet when it is first shown.

    Signals: `options_changed(TransferOptions)`; `go_on(frozenset)` to send without these nodes;
    `picked(list)` with paths of the node that was browsed.
    """

    options_changed = Signal(object)
    go_on = Signal(object)
    picked = Signal(list)

    def __init__(self, theme: Theme, link: EngineLink, panel: QWidget) -> None:
        super().__init__(panel)
        self._theme, self._link, self._panel = theme, link, panel
        self.options: OptionsSheet | None = None
        self.preflight: PreflightSheet | None = None
        self.browser: NodeBrowser | None = None

    def show_options(self, options: TransferOptions, paths: Sequence[str]) -> None:
        """Open the sheet that changes these, for what is sent."""
        if self.options is None:
            self.options = OptionsSheet(self._theme, self._panel.window())
            self.options.changed.connect(self.options_changed)
        self.options.form.set_options(options)
        self.options.form.set_sent(paths)
        self.options.show()
        self.options.raise_()

    def show_report(self, report: messages.PreflightReport) -> None:
        """Show what was found, and ask whether to go on."""
        if self.preflight is None:
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
