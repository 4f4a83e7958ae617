"""Everything about one cast: its facts, and each delivery with its transport, its hash and its reason."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from PySide6.QtCore import QCoreApplication, QObject, Qt, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QStackedWidget, QVBoxLayout, QWidget

from castray_desktop.core.casts.multicast_status import multicast_status
from castray_desktop.core.casts.states import have_files_changed
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    Transport,
    VerifiedNode,
    VerifiedState,
)
from castray_desktop.core.routing.download_nodes import explain_placement
from castray_desktop.ui.i18n.failure_text import explain_failure, failure_text, reason_text
from castray_desktop.ui.i18n.number_format import (
    DASH,
    format_bytes,
    format_duration,
    format_list,
    format_rate,
)
from castray_desktop.ui.model.desktop_services import copy
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.node_list import delivery_glyph
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers import path_text
from castray_desktop.ui.transfers.file_text import telling_counts
from castray_desktop.ui.transfers.files_view import FilesView
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.transfers.transfer_text import (
    cast_status,
    cast_title,
    cast_word,
    count_text,
    delivery_rate,
    delivery_status,
    elapsed,
    full_time,
    hook_text,
    rate_text,
)
from castray_desktop.ui.widgets.basic_widgets import bind_text, button, label, lay_in, set_tone
from castray_desktop.ui.widgets.sheet import Sheet
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.widgets.tabs import Tabs
from castray_desktop.ui.widgets.text_table import TableCell, TextTable, TextTableModel

translate = QCoreApplication.translate

ENCRYPTED, WHERE, HASH = 7, 8, 9  # columns of a table of deliveries


def transport_word(transport: Transport | None) -> str:
    """The transport of a delivery's bytes."""
    if transport is None:
        return DASH
    return {
        Transport.DIRECT: translate("CastDetails", "Direct"),
        Transport.REVERSE: translate("CastDetails", "Direct, reverse connection"),
        Transport.RAY: translate("CastDetails", "Through Ray"),
        Transport.UDP: translate("CastDetails", "Multicast"),
        Transport.LOCAL: translate("CastDetails", "Same machine"),
    }[transport]


def make_delivery_table(theme: Theme) -> tuple[TextTableModel, TextTable]:
    """A table of deliveries, to be filled with `delivery_rows`."""
    headings = (
        lambda: translate("CastDetails", "Node"),
        lambda: translate("CastDetails", "State"),
        lambda: translate("CastDetails", "Size"),
        lambda: translate("CastDetails", "Speed"),
        lambda: translate("CastDetails", "Duration"),
        lambda: translate("CastDetails", "Upstream"),
        lambda: translate("CastDetails", "Transport"),
        lambda: translate("CastDetails", "Encrypted"),
        lambda: translate("CastDetails", "Path or reason"),
        lambda: translate("CastDetails", "Hash"),
    )
    model = TextTableModel(headings, frozenset({2, 3, 4}))
    table = TextTable(
        theme,
        model,
        lambda: translate("CastDetails", "Deliveries"),
        (104, 96, 72, 96, 64, 84, 108, 92, 200, 80),
        WHERE,
    )
    model.setParent(table)
    return model, table


def show_deliveries(model: TextTableModel, table: TextTable, deliveries: Sequence[DeliverySnapshot]) -> None:
    """Fill a table of `make_delivery_table`. Reasons take what columns without content leave."""
    model.set_rows(delivery_rows(deliveries))
    table.clearSpans()
    table.set_column_shown(ENCRYPTED, any(delivery.encrypted is not None for delivery in deliveries))
    for row, delivery in enumerate(deliveries):
        if delivery.failure is not None and not delivery.hash:
            table.setSpan(row, WHERE, 1, HASH - WHERE + 1)


def delivery_rows(deliveries: Sequence[DeliverySnapshot]) -> list[tuple[object, list[TableCell]]]:
    """The rows of `make_delivery_table`; the object of each is its delivery."""
    return [(delivery, _cells(delivery)) for delivery in deliveries]


def _cells(delivery: DeliverySnapshot) -> list[TableCell]:
    tone = {DeliveryState.FAILED: "bad", DeliveryState.COMPLETED: "ok"}.get(delivery.state, "text")
    where = "\n".join(delivery.paths)
    if delivery.failure is not None:
        where = reason_text(delivery.failure)
    parts = (where, telling_counts(delivery.counts), hook_text(delivery))
    where = "\n".join(part for part in parts if part)
    return [
        TableCell(delivery.node, glyph=delivery_glyph(delivery), tip=delivery.address),
        TableCell(delivery_status(delivery), tone),
        TableCell(format_bytes(delivery.bytes), "text_2"),
        TableCell(rate_text(delivery_rate(delivery)), "text_2"),
        TableCell(format_duration(delivery.seconds or None), "text_2"),
        TableCell(delivery.upstream or DASH, "text_2"),
        TableCell(transport_word(delivery.transport), "text_2", tip=path_text.came_line(delivery)),
        TableCell(
            path_text.encryption_word(delivery.encrypted),
            "warn" if delivery.encrypted is False else "text_2",
            tip=path_text.delivery_encryption_line(delivery, ""),
        ),
        TableCell(where or DASH, "bad" if delivery.failure is not None else "text_2", tip=where),
        TableCell(delivery.hash or DASH, "text_2", tip=delivery.hash),
    ]


def cast_facts(cast: CastSummary, deliveries: Sequence[DeliverySnapshot] = ()) -> list[tuple[str, str]]:
    """The facts about a cast, by name."""
    facts = [
        (translate("CastDetails", "State"), cast_status(cast)),
        (translate("CastDetails", "Size"), f"{format_bytes(cast.bytes)} · {count_text(cast)}"),
        (translate("CastDetails", "Source"), cast.source),
        (
            translate("CastDetails", "Saved to"),
            cast.options.destination or translate("CastDetails", "Inbox of each node"),
        ),
        (translate("CastDetails", "Started"), full_time(cast.started)),
        (translate("CastDetails", "Duration"), format_duration(elapsed(cast))),
        (
            translate("CastDetails", "Relay"),
            " → ".join(cast.chain[:12]) + (" …" if len(cast.chain) > 12 else ""),
        ),
        (translate("CastDetails", "Copies from the source"), f"{cast.source_copies:.2f}"),
        (
            translate("CastDetails", "Speed limit"),
            format_rate(cast.options.limit) if cast.options.limit else translate("CastDetails", "None"),
        ),
        (translate("CastDetails", "ID"), cast.cast),
    ]
    if cast.download is not None:
        why = explain_placement(cast.download, lambda text: translate("Placement", text))
        facts.insert(3, (translate("CastDetails", "Why it downloads"), why))
    if cast.followed_links:
        facts.append((translate("CastDetails", "Links sent as files"), f"{cast.followed_links:,}"))
    if cast.kept_links:
        facts.append((translate("CastDetails", "Links sent as links"), f"{cast.kept_links:,}"))
    if cast.broken_links:
        dead = f"{cast.broken_links:,}"
        if cast.broken_names:
            template = translate("CastDetails", "{count} ({names})")
            dead = template.format(count=dead, names=format_list(cast.broken_names))
        facts.append((translate("CastDetails", "Broken links"), dead))
    if stream := path_text.multicast_cast_text(cast, multicast_status(cast, deliveries)):
        facts.insert(7, (translate("CastDetails", "Multicast"), stream))
    if encryption := path_text.cast_encryption_text(cast, deliveries):
        facts.insert(7, (translate("CastDetails", "Encryption"), encryption))
    for number, attempt in enumerate(cast.attempts, 1):
        facts.append((translate("CastDetails", "Attempt {number}").format(number=number), _attempt(attempt)))
    if have_files_changed(cast):
        changed = translate(
            "CastDetails",
            "The files have changed since attempt {number}. This attempt sends the current ones.",
        )
        facts.insert(1, (translate("CastDetails", "Files"), changed.format(number=len(cast.attempts))))
    if cast.failure is not None:
        facts.insert(1, (translate("CastDetails", "Reason"), failure_text(cast.failure)))
    return facts


def _attempt(attempt: messages.CastAttempt) -> str:
    """When an earlier attempt began, how it ended, and why deliveries failed in it."""
    parts = [full_time(attempt.started), cast_word(attempt.state)]
    line = translate("CastDetails", "{name}: {value}")
    parts += [
        line.format(name=node, value=reason_text(failure)) for node, failure in attempt.failures.items()
    ]
    return " · ".join(parts)


class CastDetails(Sheet):
    """A sheet about one cast; `show_cast` brings it up to date."""

    def __init__(self, theme: Theme, link: EngineLink, parent: QWidget) -> None:
        self.cast = ""
        self._told: tuple[CastSummary, tuple[DeliverySnapshot, ...]] | None = None
        super().__init__(theme, lambda: translate("CastDetails", "Details"), parent, size=(1004, 560))
        self._model, self.table = make_delivery_table(theme)
        self.files = FilesView(theme, link)
        self.tabs = Tabs(theme)
        self.tabs.add("overview", lambda: translate("CastDetails", "Overview"))
        self.tabs.add("files", lambda: translate("CastDetails", "Files"))
        bind_text(self.tabs, self.tabs.setAccessibleName, lambda: translate("CastDetails", "Details"))
        self._facts = label("", 12, 400, "1", tabular=True)
        self._facts.setWordWrap(True)
        self._facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._copy_button = button(theme, lambda: translate("CastDetails", "Copy all"), "copy")
        self._copy_button.clicked.connect(self._copy)
        overview = QWidget()
        lay_in(QVBoxLayout(overview), self._facts, (self.table, 1), spacing=12, margins=(0, 0, 0, 0))
        self._stack = QStackedWidget()
        self._stack.addWidget(overview)
        self._stack.addWidget(self.files)
        self.set_body(lay_in(QVBoxLayout(), self.tabs, (self._stack, 1), spacing=12))
        self.set_foot(lay_in(QHBoxLayout(), None, self._copy_button))
        self.tabs.chosen.connect(self.show_tab)

    def show_tab(self, key: str) -> None:
        """Show the overview or the files."""
        self.tabs.choose(key)
        self._stack.setCurrentIndex(self.tabs.keys.index(key))
        self._copy_button.setVisible(key == "overview")

    def show_cast(self, cast: CastSummary, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Show the current state of a cast."""
        ended = self._told is not None and not self._told[0].state.finished and cast.state.finished
        self.cast, self._told = cast.cast, (cast, deliveries)
        self.files.show_cast(cast.cast, cast.recipients)
        if ended:
            self.files.refresh()
        self.retranslate()

    def retranslate(self) -> None:
        super().retranslate()
        if self._told is None:
            return
        cast, deliveries = self._told
        self.set_fixed_title(cast_title(cast))
        line = translate("CastDetails", "{name}: {value}")
        facts = (line.format(name=name, value=value) for name, value in cast_facts(cast, deliveries))
        self._facts.setText("\n".join(facts))
        show_deliveries(self._model, self.table, deliveries)

    def text(self) -> str:
        """All of it as text."""
        if self._told is None:
            return ""
        lines = [cast_title(self._told[0]), self._facts.text(), ""]
        for _, cells in delivery_rows(self._told[1]):
            lines.append("\t".join(cell.text for cell in cells))
        return "\n".join(lines)

    def _copy(self) -> None:
        copy(self.text())


def state_cell(node: VerifiedNode) -> TableCell:
    """What was found on a node, in a word."""
    match node.state:
        case VerifiedState.SAME:
            return TableCell(translate("Verify", "Identical"), "ok", GlyphState.VERIFIED)
        case VerifiedState.DIFFERENT:
            return TableCell(translate("Verify", "Different"), "bad", GlyphState.FAILED)
        case VerifiedState.MISSING:
            return TableCell(translate("Verify", "Missing"), "bad", GlyphState.FAILED)
    return TableCell(translate("Verify", "Could not be read"), "warn", GlyphState.LAGGING)


def node_cells(node: VerifiedNode) -> list[TableCell]:
    """A node's row."""
    what = failure_text(node.failure) if node.failure is not None else format_list(node.differing)
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
    """One reading of what is on the nodes. Closing it stops the reading.

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
            lambda: translate("Verify", "Differences"),
            lambda: translate("Verify", "Hash"),
        )
        self.model = TextTableModel(headings, frozenset({2, 3}), self)
        self.table = TextTable(
            theme, self.model, lambda: translate("Verify", "Results"), (150, 140, 64, 76, 240, 180), 4
        )
        self.words = label("", 13, 500)
        self.words.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.stop_button = button(theme, lambda: translate("Verify", "Stop"), height=32)
        self.stop_button.clicked.connect(self.stop)
        self.set_body(lay_in(QVBoxLayout(), self.words, self.bar, (self.table, 1), spacing=10))
        self.set_foot(lay_in(QHBoxLayout(), None, self.stop_button))
        link.verify_progress.connect(self._on_progress)

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
        """Stop reading."""
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
        if not self.job:
            return
        self.stop_button.setVisible(self.reading)
        self.bar.setVisible(self.reading)
        self.bar.setRange(0, 1000 if self._of else 0)
        self.bar.setValue(round(1000 * self._read / self._of) if self._of else 0)
        self.bar.setAccessibleName(translate("Verify", "Read progress"))
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
            return translate("Verify", "All {count} nodes have identical files.").format(
                count=len(self.report.nodes)
            ), "ok"
        text = translate("Verify", "{count} of {total} nodes differ from what was sent.")
        return text.format(count=len(other), total=len(self.report.nodes)), "bad"

    def closeEvent(self, event: QCloseEvent) -> None:
        self.stop()
        super().closeEvent(event)


class CastSheets(QObject):
    """Creates the sheets when they are first used."""

    def __init__(self, theme: Theme, link: EngineLink, transfers: TransferModel, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme, self._link, self._transfers, self._window = theme, link, transfers, parent
        self.details: CastDetails | None = None
        self.verifying: VerifySheet | None = None

    def show_details(self, cast: str) -> None:
        """Show the details of a cast of the transfers; an unknown one is ignored."""
        summary = self._transfers.summary(cast)
        if summary is not None:
            self._details().show_cast(summary, self._transfers.deliveries(cast))
            self._raise(self._details())

    def show_result(self, result: messages.CastResult) -> None:
        """Show the details of an ended cast."""
        self._details().show_cast(result.summary, result.deliveries)
        self._raise(self._details())

    def refresh(self, cast: str) -> None:
        """Update the details of a cast while they are open."""
        sheet = self.details
        summary = self._transfers.summary(cast)
        if sheet is not None and sheet.isVisible() and sheet.cast == cast and summary is not None:
            sheet.show_cast(summary, self._transfers.deliveries(cast))

    def verify(self, cast: str) -> None:
        """Read back what a cast delivered. One at a time: another one takes the place of the first."""
        if self.verifying is None:
            self.verifying = VerifySheet(self._theme, self._link, self._window)
        summary = self._transfers.summary(cast)
        self.verifying.stop()
        self.verifying.start(cast, cast_title(summary) if summary is not None else cast)
        self._raise(self.verifying)

    def _details(self) -> CastDetails:
        if self.details is None:
            self.details = CastDetails(self._theme, self._link, self._window)
        return self.details

    def _raise(self, sheet: QWidget) -> None:
        sheet.show()
        sheet.raise_()
        sheet.activateWindow()
