"""The doctor page: the engine's diagnosis as a table, sorted by urgency."""

from __future__ import annotations

import secrets

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QVBoxLayout, QWidget

from castray_desktop.core.failures.check_sentences import by_importance, diagnostics_text, explain_check
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import Check, CheckState, DiagnosisProgress
from castray_desktop.ui.i18n.failure_text import in_window_language
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.model.desktop_services import copy
from castray_desktop.ui.model.engine_link import EngineLink, EngineLinkState
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.banner import Banner, lay_out
from castray_desktop.ui.widgets.basic_widgets import bind_text, button, label, lay_in, set_tone
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.widgets.text_table import TableCell, TextTable, TextTableModel

translate = QCoreApplication.translate

DETAILS_FROM = 200
"""A page that is lower has more use for its rows."""

_LOOKS = {
    CheckState.GOOD: (GlyphState.VERIFIED, "text"),
    CheckState.NOTICE: (GlyphState.LAGGING, "warn"),
    CheckState.BAD: (GlyphState.FAILED, "bad"),
}


def check_cells(check: Check) -> list[TableCell]:
    """A row of the table."""
    finding = explain_check(check, in_window_language)
    glyph, tone = _LOOKS[check.state]
    return [
        TableCell(finding.title, tone, glyph),
        TableCell(check.node or translate("Doctor", "This computer"), "text_2"),
        TableCell(finding.found, tip=finding.found),
        TableCell(finding.remedy, "text_2", tip=finding.remedy),
    ]


class DoctorPage(QWidget):
    """Asks the engine when the user wants it; shows how far it is, and can be cancelled."""

    def __init__(self, theme: Theme, link: EngineLink) -> None:
        super().__init__()
        self._link = link
        self._job = ""
        self._checks: list[Check] = []
        headings = (
            lambda: translate("Doctor", "Check"),
            lambda: translate("Doctor", "Node"),
            lambda: translate("Doctor", "Found"),
            lambda: translate("Doctor", "What to do"),
        )
        self.model = TextTableModel(headings, parent=self)
        self.table = TextTable(
            theme, self.model, lambda: self.tr("Checks"), (150, 120, 300, 300), 2, self._empty_words
        )
        self.diagnose_button = button(theme, lambda: self.tr("Check now"), "refresh-cw")
        self.cancel_button = button(theme, lambda: self.tr("Cancel"), "x", kind="flat")
        self.copy_button = button(theme, lambda: self.tr("Copy diagnostics"), "clipboard-paste", kind="flat")
        self.verdict = label("", 12, 400, "2", tabular=True)
        self.found = label("", 12, 500)
        self.remedy = label("", 12, 400, "2")
        self.banner = Banner(theme, "bad")
        self._build()
        self._wire()
        Retranslator(self, self._retranslate)

    def _build(self) -> None:
        bind_text(
            self.copy_button,
            self.copy_button.setToolTip,
            lambda: self.tr("All results, without tokens"),
        )
        self._details = QWidget()
        for text in (self.found, self.remedy):
            text.setWordWrap(True)
            text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        lay_in(QVBoxLayout(self._details), self.found, self.remedy, spacing=2, margins=(16, 8, 16, 8))
        tools = (self.diagnose_button, self.cancel_button, self.verdict)
        column = lay_out(self, tools, (self.copy_button,), self.banner, self.table)
        column.addWidget(self._details)

    def _wire(self) -> None:
        self.diagnose_button.clicked.connect(self.diagnose)
        self.cancel_button.clicked.connect(self.cancel)
        self.copy_button.clicked.connect(lambda: copy(self.diagnostics()))
        self._link.diagnosis_progress.connect(self._on_progress)
        self._link.connection_changed.connect(self._on_connection)
        self.table.selectionModel().currentRowChanged.connect(lambda *_: self._show_details())
        self.model.modelReset.connect(self._show_details)
        key = QShortcut(QKeySequence(QKeySequence.StandardKey.Refresh), self)
        key.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        key.activated.connect(self.diagnose)

    def _retranslate(self) -> None:
        self._show_rows()
        self._show_state()

    # --- looking ---------------------------------------------------------------------------

    def diagnose(self) -> None:
        """Start a diagnosis, unless one is running."""
        if self._job or not self._link.connected:
            return
        self._job = job = secrets.token_hex(6)
        self.banner.hide()

        def done(found: messages.Diagnosis) -> None:
            if job == self._job:
                self._job = ""
                self._checks = by_importance(found.checks)
                self._retranslate()

        def failed(failure: Failure) -> None:
            if job == self._job:
                self._job = ""
                self.banner.show_failure(failure)
                self._show_state()

        self._show_state()
        self._link.ask(messages.Diagnose(job), messages.Diagnosis, done, failed)

    def cancel(self) -> None:
        """End the diagnosis; what was found until then is shown."""
        if self._job:
            self.cancel_button.setEnabled(False)
            self._link.ask(messages.CancelDiagnosis(self._job), messages.Done)

    def _on_progress(self, progress: DiagnosisProgress) -> None:
        if progress.job == self._job:
            text = self.tr("Checking: {done} of {total}")
            self.verdict.setText(text.format(done=progress.done, total=progress.total))

    def _on_connection(self, connection: EngineLinkState) -> None:
        if connection is not EngineLinkState.CONNECTED:
            self._job = ""
        self._show_state()

    # --- showing ---------------------------------------------------------------------------

    def diagnostics(self) -> str:
        """The whole diagnosis as English text, to send to somebody who helps."""
        return diagnostics_text(self._checks) + "\n"

    def _show_rows(self) -> None:
        self.model.set_rows([(check, check_cells(check)) for check in self._checks])
        self._show_details()

    def _show_details(self) -> None:
        check = self.table.current_key()
        self._details.setVisible(isinstance(check, Check) and self.height() >= DETAILS_FROM)
        if isinstance(check, Check):
            finding = explain_check(check, in_window_language)
            self.found.setText(finding.found)
            self.remedy.setText(finding.remedy)
            self.remedy.setVisible(bool(finding.remedy))

    def _show_state(self) -> None:
        looking = bool(self._job)
        if looking and self.diagnose_button.hasFocus():
            self.cancel_button.setVisible(True)
            self.cancel_button.setFocus()
        self.diagnose_button.setEnabled(not looking and self._link.connected)
        self.cancel_button.setVisible(looking)
        self.cancel_button.setEnabled(looking)
        self.copy_button.setEnabled(bool(self._checks))
        if looking:
            self.verdict.setText(self.tr("Checking…"))
            set_tone(self.verdict, "2")
            return
        self.verdict.setText(self._verdict())
        bad = any(check.state is CheckState.BAD for check in self._checks)
        set_tone(self.verdict, "bad" if bad else "2")

    def _verdict(self) -> str:
        if not self._checks:
            return ""
        bad = sum(check.state is CheckState.BAD for check in self._checks)
        notices = sum(check.state is CheckState.NOTICE for check in self._checks)
        if not bad and not notices:
            return self.tr("All {count} checks passed").format(count=len(self._checks))
        parts = []
        if bad:
            one, many = self.tr("{count} problem"), self.tr("{count} problems")
            parts.append((one if bad == 1 else many).format(count=bad))
        if notices:
            one, many = self.tr("{count} note"), self.tr("{count} notes")
            parts.append((one if notices == 1 else many).format(count=notices))
        return " · ".join(parts)

    def _empty_words(self) -> tuple[str, str]:
        return (
            self.tr("No checks yet"),
            self.tr(
                "Check now checks this computer, the cluster, every node and the connections between them."
            ),
        )

    # --- Qt --------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._show_details()
