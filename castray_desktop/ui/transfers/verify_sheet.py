"""Reads back what a cast delivered, node by node, and says whether it is still the same."""

from __future__ import annotations

import secrets

from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import VerifiedNode, VerifiedState
from castray_desktop.ui.i18n.number_format import DASH, format_bytes
from castray_desktop.ui.model.cluster_text import explain_failure
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.transfer_text import failure_text
from castray_desktop.ui.widgets.basic_widgets import button, label, set_tone
from castray_desktop.ui.widgets.sheet import Sheet
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.widgets.text_table import TableCell, TextTable, TextTableModel

translate = QCoreApplication.translate


def state_cell(node: VerifiedNode) -> TableCell:
    """What was found on a node, in a word."""
    match node.state:
        case VerifiedState.SAME:
            return TableCell(translate("Verify", "The same"), "ok", GlyphState.VERIFIED)
        case VerifiedState.DIFFERENT:
            return TableCell(translate("Verify", "Different"), "bad", GlyphState.FAILED)
        case VerifiedState.MISSING:
            return TableCell(translate("Verify", "Missing"), "bad", GlyphState.FAILED)
    return TableCell(translate("Verify", "Could not be read"), "warn", GlyphState.LAGGING)


def node_cells(node: VerifiedNode) -> list[TableCell]:
    """A node's row."""
    what = failure_text(node.failure) if node.failure is not None else ", ".join(node.differing)
    if node.differing_count > len(node.differing):
        what += translate("Verify", " and {count} more").format(
            count=f"{node.differing_count - len(node.differing):,}"
        )
    return [
        TableCell(node.node),
        state_cell(node),
        TableCell(f"{node.files:,}", "text_2"),
        TableCell(format_bytes(node.bytes), "text_2"),
        TableCell(what or DASH, "text_2", tip=what),
        TableCell(node.hash or DASH, "text_2", tip=node.hash),
    ]


class VerifySheet(Sheet):
    """One look at what stands on the nodes. Closing it stops the reading.

    Signals: `finished_reading()` when there is a result or a failure.
    """

    finished_reading = Signal()

    def __init__(self, theme: Theme, link: EngineLink, parent: QWidget) -> None:
        self.job = ""
        self.report: messages.VerifyReport | None = None
        self.problem: Failure | None = None
        self._read = self._of = 0
        super().__init__(theme, lambda: translate("Verify", "Verify again"), parent, size=(860, 420))
        self._link = link
        headings = (
            lambda: translate("Verify", "Node"),
            lambda: translate("Verify", "Result"),
            lambda: translate("Verify", "Files"),
            lambda: translate("Verify", "Size"),
            lambda: translate("Verify", "What is different"),
            lambda: translate("Verify", "Hash"),
        )
        self.model = TextTableModel(headings, frozenset({2, 3}), self)
        self.table = TextTable(
            theme, self.model, lambda: translate("Verify", "What was found"), (150, 140, 64, 76, 240, 180), 4
        )
        self.words = label("", 13, 500)
        self.words.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.stop_button = button(theme, lambda: translate("Verify", "Stop"), height=32)
        self.stop_button.clicked.connect(self.stop)
        body = QVBoxLayout()
        body.setSpacing(10)
        body.addWidget(self.words)
        body.addWidget(self.bar)
        body.addWidget(self.table, 1)
        self.set_body(body)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(self.stop_button)
        self.set_foot(row)
        link.verify_progress.connect(self._on_progress)
        self.retranslate()

    def start(self, cast: str, name: str) -> None:
        """Read back what this cast delivered."""
        self.job = secrets.token_hex(6)
        self.set_fixed_title(name)
        self.report = self.problem = None
        self._link.ask(messages.Verify(self.job, cast=cast), messages.VerifyReport, self._done, self._failed)
        self.retranslate()

    @property
    def reading(self) -> bool:
        return bool(self.job) and self.report is None and self.problem is None

    def stop(self) -> None:
        """Read no more."""
        if self.reading:
            self._link.ask(messages.CancelVerify(self.job), messages.Done, None, self._failed)

    def _done(self, report: messages.VerifyReport) -> None:
        self.report = report
        self.retranslate()
        self.finished_reading.emit()

    def _failed(self, failure: Failure) -> None:
        self.problem = failure
        self.retranslate()
        self.finished_reading.emit()

    def _on_progress(self, progress: messages.VerifyProgress) -> None:
        if progress.job == self.job and self.reading:
            self._read, self._of = progress.read, progress.total
            self.retranslate()

    def retranslate(self) -> None:
        super().retranslate()
        if not hasattr(self, "words"):
            return
        self.stop_button.setVisible(self.reading)
        self.bar.setVisible(self.reading)
        self.bar.setRange(0, 1000 if self._of else 0)
        self.bar.setValue(round(1000 * self._read / self._of) if self._of else 0)
        self.bar.setAccessibleName(translate("Verify", "How much has been read"))
        text, tone = self._verdict()
        self.words.setText(text)
        set_tone(self.words, tone)
        if self.report is not None:
            self.model.set_rows([(node.node, node_cells(node)) for node in self.report.nodes])

    def _verdict(self) -> tuple[str, str]:
        if self.problem is not None:
            if self.problem.kind is FailureKind.CANCELLED:
                return translate("Verify", "Stopped before everything was read."), "2"
            return explain_failure(self.problem).text, "bad"
        if self.report is None:
            read = format_bytes(self._read)
            if self._of:
                text = translate("Verify", "Reading files back: {read} of {total}")
                return text.format(read=read, total=format_bytes(self._of)), "1"
            return translate("Verify", "Reading files back: {read}").format(read=read), "1"
        other = [node for node in self.report.nodes if node.state is not VerifiedState.SAME]
        if not other:
            return translate("Verify", "All {count} nodes hold the same.").format(
                count=len(self.report.nodes)
            ), "ok"
        text = translate("Verify", "{count} of {total} nodes don't hold what was sent.")
        return text.format(count=len(other), total=len(self.report.nodes)), "bad"

    def closeEvent(self, event: QCloseEvent) -> None:
        self.stop()
        super().closeEvent(event)
