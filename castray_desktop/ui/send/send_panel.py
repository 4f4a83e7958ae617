"""The card in which the user chooses what to send, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
from PySide6.QtCore import QCoreApplication, QMargins, QRect, Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.urls import is_url
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus, OnConflict, SendRequest
from castray_desktop.ui.i18n.failure_text import explain_failure
from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.model.desktop_services import ask_for_paths
from castray_desktop.ui.model.engine_link import EngineLinkState
from castray_desktop.ui.model.node_list import NodeList, natural_key
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.send.download_field import DownloadField
from castray_desktop.ui.send.option_fields import (
    OPTION_FIELDS,
    OptionForm,
    SourceField,
    destination_problem,
    effective,
)
from castray_desktop.ui.send.preflight_sheet import HintLine, PreflightCheck, caution, problems_text, verdict
from castray_desktop.ui.send.send_list import DropArea, SendList
from castray_desktop.ui.send.send_sheets import PANEL_OPTIONS, SHEET_OPTIONS, SendSheets
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.widgets.basic_widgets import (
    Card,
    PrimaryButton,
    button,
    icon_button,
    label,
    lay_in,
)

if TYPE_CHECKING:
    from castray_desktop.ui.model.engine_link import EngineLink


translate = QCoreApplication.translate

LABEL_WIDTH = 56


def _lay_out_fields(source_name: QLabel, source: QWidget, form: OptionForm) -> QGridLayout:
    """Two fields with their names beside them, two with theirs above."""
    grid = QGridLayout()
    grid.setVerticalSpacing(8)
    grid.setHorizontalSpacing(0)
    grid.setColumnStretch(1, 1)
    destination, *others = (_named(form, option) for option in PANEL_OPTIONS)
    for row, (name, field) in enumerate(((source_name, source), destination)):
        name.setMinimumWidth(LABEL_WIDTH)
        name.setContentsMargins(0, 0, 8, 0)
        grid.addWidget(name, row, 0)
        grid.addWidget(field, row, 1)
    columns = [(lay_in(QVBoxLayout(), *named, spacing=4), 1) for named in others]
    grid.addLayout(lay_in(QHBoxLayout(), *columns, spacing=8), 2, 0, 1, 2)
    return grid


def _named(form: OptionForm, option: str) -> tuple[QLabel, QWidget]:
    """The name of an option, and its field."""
    name, field = label(OPTION_FIELDS[option][0], 12, 500, "2"), form[option]
    name.setBuddy(field)
    return name, field


MEASURE_MS = 300

LEAST_BUSY_SECONDS = 5.0
"""A server that is busy is not asked again sooner."""


class SendPanel(Card):
    """What will be sent and how.

    Signals: `send_requested(SendRequest)` when the user wants it sent; the owner answers with
    `accepted` or `refused`.
    """

    send_requested = Signal(object)

    def __init__(
        self, theme: Theme, link: EngineLink, nodes: NodeList, selection: RecipientSelection
    ) -> None:
        super().__init__(theme)
        self._theme = theme
        self._link = link
        self._nodes = nodes
        self._selection = selection
        self._cluster = ClusterStatus()
        self._connection = EngineLinkState.CONNECTING
        self._compact = False
        self._usual_conflict = OnConflict.SKIP
        self._margin = 16
        self.entries = SendList()
        self.entries.setParent(self)
        self.preflight = PreflightCheck(link, self)
        self.drop_area = DropArea(theme, self.entries)
        self.source = SourceField(theme, nodes, selection)
        self.download = DownloadField(theme, nodes, selection)
        self._source_name = label(self._source_title, 12, 500, "2")
        self.form = OptionForm(theme, PANEL_OPTIONS, self)
        self.options = TransferOptions()  # the options of the sheet
        self.options_button = button(theme, "", "settings", kind="flat", height=24)
        self.sheets = SendSheets(theme, link, self)
        self.clear_button = button(theme, lambda: self.tr("Clear"), kind="flat", height=24)
        self.add_button = icon_button(theme, "plus", lambda: self.tr("Add files or a folder"), side=24)
        self.send_button = PrimaryButton(theme, "", "send", "Ctrl+Enter")
        self.hint = HintLine(theme)
        self.banner = Banner(theme, "warn")
        self._files_on = messages.THIS_COMPUTER  # the node that has the files on the list
        self._measuring = QTimer(self, singleShot=True)
        self._measuring.timeout.connect(self._measure)
        self._asking_again = QTimer(self, singleShot=True)  # servers that are busy
        self._asking_again.timeout.connect(self._ask_busy_servers)
        self._build()
        self._wire()
        Retranslator(self, self._refresh)

    # --- for the owner ---------------------------------------------------------------------------

    def add_paths(self, paths: Iterable[str]) -> None:
        """Put files and folders on the list."""
        if self.entries.add(paths):
            self.banner.hide()
            self._show_hint()
            self._measuring.start(0)

    def request(self, *, leave_out: bool = False) -> SendRequest:
        """What a press of Send means now."""
        waiting, paths = self._selection.waiting(), self.entries.paths()
        options = effective(self.form.options(self.options), paths)
        return SendRequest(
            paths=paths,
            recipients=tuple(sorted(self._selection.ready() | waiting, key=natural_key)),
            source=self._request_source(paths),
            leave_out=leave_out,
            options=replace(options, await_offline=bool(waiting)),
        )

    def _request_source(self, paths: tuple[str, ...]) -> str:
        """The selected source; for addresses alone the node that downloads."""
        if self._downloads_only(paths):
            return self.download.node
        return self._selection.source or messages.THIS_COMPUTER

    def _downloads_only(self, paths: tuple[str, ...]) -> bool:
        """Whether there are addresses only, so that any node can be the source."""
        return bool(paths) and all(map(is_url, paths))

    def _source_title(self) -> str:
        shown = self.download if self._downloads_only(self.entries.paths()) else self.source
        return shown.title()

    def set_usual_conflict(self, conflict: OnConflict) -> None:
        """What to begin with where a file exists."""
        if conflict is not self._usual_conflict:
            self._usual_conflict = conflict
            self.form["on_conflict"].set_value(conflict)

    def send(self) -> None:
        """Press the button; does nothing while it is disabled."""
        if self.send_button.isEnabled():
            self._press()

    def accepted(self, request: SendRequest) -> None:
        """The cast exists: clear the list, unless the user has changed it meanwhile."""
        if self.entries.paths() == request.paths:
            self.entries.clear()
        self.banner.hide()
        self._show_hint()

    def refused(self, failure: Failure) -> None:
        """The cast could not be started: say why, and look at the recipients again."""
        self.banner.show_message(lambda: explain_failure(failure))
        self._show_hint()
        self.preflight.ask_again()

    def set_status(self, cluster: ClusterStatus, connection: EngineLinkState) -> None:
        """Show the state of cluster and engine."""
        arrived = connection is EngineLinkState.CONNECTED and self._connection is not connection
        self._cluster, self._connection = cluster, connection
        if arrived:
            self._measuring.start(0)
            self.preflight.ask_again()
        self._refresh()

    def set_compact(self, compact: bool) -> None:
        """Less room: the hint becomes the button's tool tip."""
        self._compact = compact
        margin = 12 if compact else 16
        self._column.setContentsMargins(margin, 0, 0, 0)
        self._margin = margin
        self._title.setContentsMargins(0, 0, margin, 0)
        self._place_scroll_bar()
        self.drop_area.set_compact(compact)
        self._refresh()

    # --- building --------------------------------------------------------------------------------

    def _build(self) -> None:
        heading = label(lambda: self.tr("Send"), 14, 600)
        heading.setFixedHeight(48)
        buttons = (self.options_button, self.add_button, self.clear_button)
        self._title = lay_in(QHBoxLayout(), heading, None, *buttons)
        self._foot = lay_in(QVBoxLayout(), self.send_button, self.hint, spacing=0)
        self._column = lay_in(QVBoxLayout(self), self._title, (self._body(), 1), self._foot, spacing=0)
        self.banner.float_over(self, self._room_for_messages)
        self.set_compact(False)

    def _room_for_messages(self) -> QRect:
        """The area for messages: the list of files, since the fields below may have to be changed."""
        return self._scroll.geometry().marginsRemoved(QMargins(0, 0, self._margin, 0))

    def _body(self) -> QScrollArea:
        """What scrolls when there is too little room; the button stays."""
        body = QWidget()
        sources = QWidget()
        lay_in(QVBoxLayout(sources), self.source, self.download, margins=(0, 0, 0, 0))
        fields = _lay_out_fields(self._source_name, sources, self.form)
        self._body_column = lay_in(
            QVBoxLayout(body), (self.drop_area, 1), fields, spacing=16, margins=(0, 0, 0, 0)
        )
        self._scroll = scroll = QScrollArea()
        scroll.verticalScrollBar().rangeChanged.connect(self._place_scroll_bar)
        scroll.setWidget(body)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return scroll

    def _place_scroll_bar(self) -> None:
        """In the card's margin, so that nothing moves when it comes."""
        bar = self._scroll.verticalScrollBar()
        taken = bar.sizeHint().width() if bar.maximum() > bar.minimum() else 0
        self._body_column.setContentsMargins(0, 0, max(0, self._margin - taken), 0)

    def _wire(self) -> None:
        self.drop_area.files_wanted.connect(self.browse_files)
        self.drop_area.folder_wanted.connect(self._browse_folder)
        self.drop_area.url_wanted.connect(self._ask_for_url)
        self.add_button.clicked.connect(lambda: self.drop_area.open_menu(self.add_button))
        self.drop_area.invitation_changed.connect(self._refresh)
        self.clear_button.clicked.connect(self.entries.clear)
        self.options_button.clicked.connect(self._show_options)
        self.sheets.options_changed.connect(self._take_options)
        self.sheets.go_on.connect(self._send_without)
        self.sheets.picked.connect(self.add_paths)
        self._selection.source_changed.connect(self._on_source)
        self.download.chosen.connect(self._refresh)
        self.send_button.clicked.connect(self._press)
        self.form.changed.connect(self._refresh)
        self._selection.changed.connect(self._refresh)
        self._nodes.changed.connect(self._refresh)
        self.preflight.changed.connect(self._show_hint)
        self.preflight.changed.connect(self._show_measured)
        self.preflight.changed.connect(self._ask_busy_servers_later)
        self.banner.gone.connect(self._show_hint)
        entries = self.entries
        for signal in (entries.rowsInserted, entries.rowsRemoved, entries.modelReset, entries.dataChanged):
            signal.connect(self._refresh)

    # --- what happens ----------------------------------------------------------------------------

    def _press(self) -> None:
        report = self.preflight.report
        if report is None or not (report.problems or report.removals):
            if report is not None and caution(report) is not None:
                self._warn(report)
            else:  # a check that waits for a server has asked no recipient: the others get it in any case
                self.send_requested.emit(self.request(leave_out=self.preflight.server_busy))
            return
        if report.removals or len(report.problems) > 1:
            self.sheets.show_report(report)
            return
        problems = report.problems
        failing = report.failing
        others = len(self._selection.ready() - failing)
        actions: list[tuple[Text, Callable[[], None]]] = []
        if others > 0:
            actions.append((lambda: self._others_text(others), lambda: self._send_without(failing)))
        self.banner.show_message(lambda: problems_text(problems), *actions)
        self._show_hint()

    def _warn(self, report: messages.PreflightReport) -> None:
        """Say what would not arrive before anything is sent; the user may send all the same."""
        request = self.request()
        go_on = (lambda: self.tr("Send anyway"), lambda: self.send_requested.emit(request))
        self.banner.show_message(lambda: caution(report) or Explanation("", ""), go_on)
        self._show_hint()

    def _show_options(self) -> None:
        self.sheets.show_options(self.options, self.entries.paths())

    def _take_options(self, options: TransferOptions) -> None:
        if options.patterns != self.options.patterns:
            self.entries.measure_again()
            self._measuring.start(MEASURE_MS)
        self.options = options
        self._refresh()

    def _on_source(self) -> None:
        """The files of one node mean nothing on another. This computer may get its name only now."""
        if self._files_on != self._source_node:
            self._files_on = self._source_node
            self.entries.clear()

    @property
    def _source_node(self) -> str:
        return messages.THIS_COMPUTER if self.from_here else self._selection.source

    @property
    def from_here(self) -> bool:
        """Whether this computer is the source."""
        source = self._nodes.get(self._selection.source)
        return source is None or source.this_computer

    def _others_text(self, count: int) -> str:
        return self.tr("Send to the other {count}").format(count=count)

    def _send_without(self, failing: frozenset[str]) -> None:
        """Send to the others. Nodes that can't receive it are no part of the cast, which would fail there."""
        request = self.request(leave_out=True)
        recipients = tuple(node for node in request.recipients if node not in failing)
        self.send_requested.emit(msgspec.structs.replace(request, recipients=recipients))

    def _measure(self) -> None:
        self._measure_paths(self.entries.unmeasured())

    def _measure_paths(self, paths: tuple[str, ...]) -> None:
        if not paths or not self._link.connected:
            return

        def done(measured: messages.Measured) -> None:
            self.entries.measured(paths, measured.entries)
            self._ask_busy_servers_later()

        downloads = self._downloads_only(self.entries.paths())
        node = self.download.node if downloads else self._source_node
        command = messages.MeasurePaths(paths, *self.options.patterns, node)
        self._link.ask(command, messages.Measured, done, self.refused)

    def _ask_busy_servers_later(self) -> None:
        """Look again at files whose servers are busy, once these may say what the files are."""
        busy = [entry.failure for entry in self.entries.busy() if entry.failure is not None]
        if self.preflight.failure is not None and self.preflight.server_busy:
            busy.append(self.preflight.failure)
        if busy:
            seconds = max(LEAST_BUSY_SECONDS, *(float(each.values.get("seconds", "0")) for each in busy))
            self._asking_again.start(round(seconds * 1000))
        else:
            self._asking_again.stop()

    def _ask_busy_servers(self) -> None:
        self._measure_paths(tuple(entry.path for entry in self.entries.busy()))
        self.preflight.ask_again()

    def browse_files(self) -> None:
        """Open a dialog for files of the source node."""
        self._browse(QFileDialog.FileMode.ExistingFiles, self.tr("Add files"))

    def _browse_folder(self) -> None:
        self._browse(QFileDialog.FileMode.Directory, self.tr("Add a folder"))

    def _browse(self, mode: QFileDialog.FileMode, title: str) -> None:
        if not self.from_here:
            self.sheets.browse(self._selection.source)
            return
        ask_for_paths(self.window(), mode, self.add_paths, title)

    def _ask_for_url(self) -> None:
        """Ask for an address."""
        dialog = QInputDialog(self.window())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(self.tr("Add from URL"))
        dialog.setLabelText(self.tr("Address (https://…, hf://…, s3://…, gs://…, az://…):"))
        dialog.setOkButtonText(self.tr("Add"))
        dialog.setCancelButtonText(self.tr("Cancel"))
        dialog.resize(480, dialog.sizeHint().height())
        dialog.textValueSelected.connect(lambda text: self._add_url(text.strip()))
        dialog.open()

    def _add_url(self, text: str) -> None:
        if is_url(text):
            self.add_paths([text])
        elif text:
            refusal = self.tr(
                "{text} is not an address that can be sent (https://…, hf://…, s3://…, gs://…, az://…)."
            )
            self.banner.show_message(lambda: Explanation(refusal.format(text=text), ""))

    # --- showing ---------------------------------------------------------------------------------

    def _show_measured(self) -> None:
        """What is known of the ways to the server; the last of it stays until there is something newer."""
        if self.preflight.report is not None and self.preflight.report.download is not None:
            self.download.set_placement(self.preflight.report.download)

    def _refresh(self) -> None:
        self._show_source()
        self._show_count()
        usual = TransferOptions()
        changed = sum(getattr(self.options, name) != getattr(usual, name) for name in SHEET_OPTIONS)
        text = self.tr("Options · {count}").format(count=changed) if changed else self.tr("Options")
        self.options_button.setText(text)
        self.options_button.setAccessibleName(text)
        filled = bool(self.entries.rowCount())
        self.clear_button.setVisible(filled)
        self.add_button.setVisible(filled and not self.drop_area.inviting)
        reason = self.why_not()
        if reason and self.send_button.hasFocus():
            # Qt would hand it on as if Tab had been pressed, and a focus ring would show somewhere.
            self.form["limit"].setFocus(Qt.FocusReason.OtherFocusReason)
        self.send_button.setEnabled(not reason)
        self.preflight.set_request(self.request() if not reason else None)
        self._show_hint()

    def _show_source(self) -> None:
        """Where the files come from, or which node downloads them."""
        downloads = self._downloads_only(self.entries.paths())
        if not self.entries.rowCount():
            self.download.reset()
        self.source.refresh()
        self.download.refresh()
        self.source.setVisible(not downloads)
        self.download.setVisible(downloads)
        self._source_name.setText(self._source_title())
        self._source_name.setBuddy(self.download if downloads else self.source)

    def _show_count(self) -> None:
        count, waiting = len(self._selection.ready()), len(self._selection.waiting())
        if count or not waiting:
            text = self.tr("Send to {count} node") if count == 1 else self.tr("Send to {count} nodes")
            self.send_button.setText(text.format(count=count) if count else self.tr("Send"))
        else:
            one, many = self.tr("Keep for {count} node"), self.tr("Keep for {count} nodes")
            self.send_button.setText((one if waiting == 1 else many).format(count=waiting))

    def why_not(self) -> str:
        """Why nothing can be sent now; empty when it can."""
        if self._connection is not EngineLinkState.CONNECTED or self._cluster.phase is not ClusterPhase.READY:
            return self._why_not_connected()
        if not self.entries.rowCount():
            return self.tr("Add what to send first")
        broken = self.entries.broken()
        if broken is not None:
            return self.tr("{name} can't be sent; remove it").format(name=broken.name)
        if problem := destination_problem(self.form["destination"].text()):
            return problem
        if not self._selection.ready() and not self._selection.waiting():
            return self.tr("Choose at least one recipient")
        return ""

    def _why_not_connected(self) -> str:
        waiting = self._cluster.phase in (ClusterPhase.STARTING, ClusterPhase.PREPARING, ClusterPhase.PLACING)
        if self._connection is EngineLinkState.CONNECTED and waiting:
            return self.tr("Files wait here until the nodes are ready")
        return self.tr("Files wait here until you are connected")

    def _show_hint(self) -> None:
        reason = self.why_not()
        glyph, text, tone, details = (
            verdict(self.preflight, len(self._selection.waiting())) if not reason else (None, reason, "2", "")
        )
        if self.banner.isHidden():
            self.hint.show_hint(glyph, text, tone, details)
        else:
            self.hint.show_hint(None, "", "2", "")  # its place stays: the banner says it
        tip = details or text
        self.send_button.setToolTip(tip)
        self.send_button.setAccessibleDescription(tip)
        wanted = not self._compact or bool(reason) or tone == "warn"
        self.hint.set_compact(self._compact)
        self.hint.setVisible(wanted)
        above = 12 if self._compact else 16
        self._body_column.setSpacing(above)
        self._foot.setContentsMargins(
            0, above, self._margin, (6 if self._compact else 4) if wanted else above
        )
