"""The window: puts the parts in their places, takes what the engine reports to them, and asks it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QSettings, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QGuiApplication,
    QIcon,
    QKeySequence,
    QPaintEvent,
    QResizeEvent,
    QShortcut,
)
from PySide6.QtWidgets import (
    QApplication,
    QInputDialog,
    QLineEdit,
    QMainWindow,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.core import messages
from castray_desktop.core.errors import Explanation
from castray_desktop.core.failure import Failure
from castray_desktop.core.messages import CastSummary, ClusterPhase, ClusterStatus, SendRequest
from castray_desktop.ui.banner import Banner
from castray_desktop.ui.cast_actions import CastActions
from castray_desktop.ui.cluster_choice import ClusterChoice
from castray_desktop.ui.cluster_words import cluster_name, explain_failure
from castray_desktop.ui.connection import Connection
from castray_desktop.ui.drop_overlay import DropOverlay
from castray_desktop.ui.fields import Dropdown
from castray_desktop.ui.focus_ring import FocusRing
from castray_desktop.ui.header import Header
from castray_desktop.ui.language import Language
from castray_desktop.ui.node_graph import NodeGraph
from castray_desktop.ui.nodes import NodeList
from castray_desktop.ui.pages import Pages
from castray_desktop.ui.recipient_picker import RecipientPicker
from castray_desktop.ui.recipient_rows import Order
from castray_desktop.ui.resources import resource
from castray_desktop.ui.selection import RecipientSelection
from castray_desktop.ui.send_panel import SendPanel
from castray_desktop.ui.sheets import Sheets
from castray_desktop.ui.splitter import GapSplitter
from castray_desktop.ui.status_bar import StatusBar
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.transfer_model import TransferModel
from castray_desktop.ui.transfer_table import TransferTable
from castray_desktop.ui.transfers_card import TRANSFERS, TransfersCard
from castray_desktop.ui.welcome_page import WelcomePage
from castray_desktop.ui.words import Words

if TYPE_CHECKING:
    from castray_desktop.ui.engine_link import EngineLink

MINIMUM = (1024, 700)
COMPACT_BELOW = (1200, 800)
GAP, COMPACT_GAP = 16, 12
GEOMETRY, SPLIT, PAGE, ORDER = "window/geometry", "window/split", "window/page", "recipients/order"


class MainWindow(QMainWindow):
    """The CastRay window.

    Signals: `painted()` once, after it was drawn for the first time; `quit_requested()` when the user
    wants it closed: the owner stops what runs and then ends the application.
    """

    painted = Signal()
    quit_requested = Signal()

    def __init__(
        self,
        theme: Theme,
        language: Language,
        link: EngineLink,
        settings: QSettings,
        choice: ClusterChoice,
    ) -> None:
        super().__init__()
        self._theme, self._link, self._settings, self._choice = theme, link, settings, choice
        self._cluster = ClusterStatus()
        self._titled = False
        self._enlarged = False
        self._was_painted = False
        self._asked_to_close = False
        self._keyboard = False
        self._compact: bool | None = None
        self._drag_text = ""  # what a drop on the window would do, while files are dragged
        self._expected = ""  # a cast that was accepted and is to be selected
        # Summary and deliveries come one after the other and are shown at once.
        self._show_soon = QTimer(self)
        self._show_soon.setSingleShot(True)
        self._show_soon.timeout.connect(self._show_selected)
        self.nodes = NodeList(self)
        self.selection = RecipientSelection(self)
        self.selection.follow(self.nodes)
        self.transfers = TransferModel(self)
        self.header = Header(theme, language)
        self.banner = Banner(theme, "bad")
        self.send_panel = SendPanel(theme, link, self.nodes, self.selection)
        self.welcome_page = WelcomePage(theme)
        self.graph = NodeGraph(theme, self.nodes, self.selection)
        self.recipients = RecipientPicker(theme, self.nodes, self.selection)
        self.actions_on_casts = CastActions(link, self.transfers, self.selection, self)
        self.table = TransferTable(theme, self.transfers, self.nodes, self.actions_on_casts)
        self.transfers_card = TransfersCard(theme, self.transfers, self.table, self.actions_on_casts)
        self.pages = Pages(theme, link, self.actions_on_casts, self.nodes, lambda: self._cluster)
        self.pages.put_into(self.transfers_card)
        self.sheets = Sheets(theme, link, self.transfers, self)
        self.status = StatusBar(theme)
        self.overlay = DropOverlay(theme, self)
        self.focus_ring = FocusRing(theme, self)
        self._build()
        self._wire_parts()
        self._wire_engine()
        self._wire_keys()
        self._restore()
        self._show_status()
        Words(self, self._say_title)

    def add_files(self, paths: list[str]) -> None:
        """Put absolute paths on the send list."""
        self.send_panel.add_paths(paths)

    def show_failure(self, failure: Failure) -> None:
        """Say what went wrong, above everything else."""
        self.banner.show_message(lambda: explain_failure(failure))

    def save_state(self) -> None:
        """Remember where the window was and how it was divided."""
        self._settings.setValue(GEOMETRY, self.saveGeometry())
        self._settings.setValue(PAGE, self.transfers_card.page)
        self._settings.setValue(ORDER, self.recipients.model.order.value)
        self.table.save_columns(self._settings)
        if not self._compact:
            self._settings.setValue(SPLIT + "/rows", self._rows.saveState())
            self._settings.setValue(SPLIT + "/columns", self._columns.saveState())

    # --- building --------------------------------------------------------------------------------

    def _build(self) -> None:
        self.setMinimumSize(*MINIMUM)
        self.resize(1440, 900)
        self.setAcceptDrops(True)
        self.setWindowIcon(QIcon(str(resource("castray-256.png"))))
        self._middle = QStackedWidget()
        self._middle.addWidget(self.welcome_page)
        self._middle.addWidget(self.graph)
        self._columns = GapSplitter(self._theme, Qt.Orientation.Horizontal)
        for number, part in enumerate((self.send_panel, self._middle, self.recipients)):
            self._columns.addWidget(part)
            self._columns.setStretchFactor(number, 1 if part is self._middle else 0)
        self._rows = GapSplitter(self._theme, Qt.Orientation.Vertical)
        self._rows.addWidget(self._columns)
        self._rows.addWidget(self.transfers_card)
        self._rows.setStretchFactor(0, 3)
        self._rows.setStretchFactor(1, 2)
        self._limit_sizes()
        central = QWidget()
        central.setObjectName("central")
        column = QVBoxLayout(central)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        self._body = QVBoxLayout()
        self._body.addWidget(self.banner)
        self._body.addWidget(self._rows, 1)
        column.addWidget(self.header)
        column.addLayout(self._body, 1)
        column.addWidget(self.status)
        self.setCentralWidget(central)

    def _limit_sizes(self) -> None:
        self.send_panel.setMinimumWidth(288)
        self.send_panel.setMaximumWidth(420)
        self._middle.setMinimumSize(360, 296)
        self.recipients.setMinimumWidth(248)
        self.recipients.setMaximumWidth(400)
        self.transfers_card.setMinimumHeight(188)

    def _wire_parts(self) -> None:
        self.header.start_requested.connect(self._start_local)
        self.header.attach_requested.connect(self._show_attach)
        self.header.leave_requested.connect(self._choice.leave)
        self.header.add_node_requested.connect(self._ask_node_name)
        self.welcome_page.start_requested.connect(self._choice.use)
        self.welcome_page.cancel_requested.connect(self._choice.leave)
        self._choice.failed.connect(self.show_failure)
        self.banner.dismissed.connect(self._forget_close)
        self.send_panel.send_requested.connect(self._send)
        self.graph.files_dropped.connect(self._take_files)
        self.graph.drop_hint.connect(self._on_drop_hint)
        self.graph.send_requested.connect(self.send_panel.send)
        self.graph.browse_requested.connect(self._browse_for)
        self.graph.add_node_requested.connect(self._ask_node_name)
        self.graph.remove_node_requested.connect(self._remove_node)
        self.transfers_card.cast_selected.connect(self._show_cast)
        self.transfers_card.enlarged.connect(self._enlarge)
        self.transfers_card.page_changed.connect(self.pages.activate)
        self.actions_on_casts.details_wanted.connect(self.sheets.show_details)
        self.actions_on_casts.verify_wanted.connect(self.sheets.verify)
        self.pages.history.details_wanted.connect(self.sheets.show_result)
        self.actions_on_casts.failed.connect(self.show_failure)
        self.actions_on_casts.accepted.connect(self._expect)

    def _wire_engine(self) -> None:
        link = self._link
        link.connection_changed.connect(self._on_connection)
        link.connection_failed.connect(self.show_failure)
        link.welcome.connect(self._on_welcome)
        link.cluster_changed.connect(self._on_cluster)
        link.nodes_changed.connect(self.nodes.apply)
        self.nodes.changed.connect(self._find_this_computer)
        link.cast_changed.connect(self._on_cast)
        link.deliveries_changed.connect(self._on_deliveries)
        link.cast_finished.connect(self._on_result)
        link.casts_removed.connect(self.transfers.remove)
        link.throughput.connect(self.header.show_rates)
        link.throughput.connect(self.transfers_card.add_throughput)

    def _wire_keys(self) -> None:
        actions, table = self.actions_on_casts, self.table
        keys: list[tuple[str, Callable[[], object]]] = [
            ("Ctrl+Return", self.send_panel.send),
            ("Ctrl+Enter", self.send_panel.send),
            ("Ctrl+P", lambda: actions.pause(table.chosen_names())),
            ("Ctrl+S", lambda: actions.resume(table.chosen_names())),
            ("Ctrl+Shift+P", actions.pause_all),
            ("Ctrl+Shift+S", actions.resume_all),
            ("Ctrl+R", lambda: actions.retry(table.chosen_names())),
            ("Alt+Up", lambda: actions.move(table.selected_cast(), -1)),
            ("Alt+Down", lambda: actions.move(table.selected_cast(), 1)),
            ("Alt+Return", lambda: self.sheets.show_details(table.selected_cast())),
            ("Ctrl+F", self.transfers_card.focus_filter),
            ("F11", lambda: self._enlarge(not self._enlarged)),
        ]
        for number, page in enumerate(self.transfers_card.keys(), 1):
            keys.append((f"Ctrl+{number}", partial(self.transfers_card.show_page, page)))
        for key, run in keys:
            QShortcut(QKeySequence(key), self, run)
        QShortcut(QKeySequence(QKeySequence.StandardKey.Paste), self, self._paste)
        QShortcut(QKeySequence(QKeySequence.StandardKey.Quit), self, self.close)
        application = QGuiApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._on_focus)

    # --- what the engine reports -------------------------------------------------------------------

    def _on_connection(self, connection: Connection) -> None:
        if connection is Connection.CONNECTED:
            self.banner.hide()
        else:
            self.header.show_rates(None)
        self._show_status()

    def _on_welcome(self, welcome: messages.Welcome) -> None:
        self.nodes.replace(welcome.nodes)
        self._find_this_computer()
        self.transfers.load(welcome.casts, welcome.deliveries)
        self._link.ask(messages.Watch(None), messages.Done)
        self._on_cluster(welcome.cluster)
        if not self.table.selected_cast() and welcome.casts:
            self.table.select_cast(max(welcome.casts, key=lambda cast: cast.started).cast)

    def _find_this_computer(self) -> None:
        here = next((node.name for node in self.nodes.nodes() if node.this_computer), "")
        if here:
            self.transfers.set_here(here)

    def _on_cluster(self, cluster: ClusterStatus) -> None:
        self._cluster = cluster
        self._show_status()

    def _on_cast(self, summary: CastSummary) -> None:
        self.transfers.apply_summary(summary)
        if summary.cast == self._expected:
            self._expected = ""
            self.table.select_cast(summary.cast)
        if summary.cast == self.table.selected_cast():
            self._show_soon.start()

    def _on_deliveries(self, cast: str, deliveries: tuple[messages.DeliverySnapshot, ...]) -> None:
        self.transfers.apply_deliveries(cast, deliveries)
        if cast == self.table.selected_cast():
            self._show_soon.start()

    def _on_result(self, result: messages.CastResult) -> None:
        self._on_cast(result.summary)
        self._on_deliveries(result.summary.cast, result.deliveries)
        if self._asked_to_close and not self._running():
            self._forget_close()
            self.banner.hide()
        if result.summary.failure is not None:
            self.show_failure(result.summary.failure)

    # --- what the user asks for --------------------------------------------------------------------

    def _start_local(self) -> None:
        self._choice.use("local")

    def _show_attach(self) -> None:
        self._middle.setCurrentWidget(self.welcome_page)
        self.welcome_page.focus_address()

    def _send(self, request: SendRequest) -> None:
        def accepted(reply: messages.Accepted) -> None:
            self.send_panel.accepted(request)
            self._expect(reply.cast)

        self._link.ask(messages.Send(request), messages.Accepted, accepted, self.send_panel.refused)

    def _expect(self, cast: str) -> None:
        """Select a cast that was accepted, now or when it is told."""
        self._expected = cast
        summary = self.transfers.summary(cast)
        if summary is not None:
            self._on_cast(summary)

    def _take_files(self, paths: list[str], recipients: frozenset[str]) -> None:
        if recipients:
            self.selection.set_selected(recipients)
        self.send_panel.add_paths(paths)

    def _browse_for(self, recipients: frozenset[str]) -> None:
        if recipients:
            self.selection.set_selected(recipients)
        self.send_panel.drop_area.files_wanted.emit()

    def _ask_node_name(self) -> None:
        taken = {node.name for node in self.nodes.nodes()}
        free = next(name for number in range(1, 10_000) if (name := f"node_{number}") not in taken)
        dialog = QInputDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(self.tr("Add a node"))
        dialog.setLabelText(self.tr("Name of the new node, which gets an inbox of its own:"))
        dialog.setTextValue(free)
        dialog.setOkButtonText(self.tr("Add"))
        dialog.setCancelButtonText(self.tr("Cancel"))
        dialog.textValueSelected.connect(self._add_node)
        dialog.open()

    def _add_node(self, name: str) -> None:
        if name.strip():
            self._link.ask(messages.AddNode(name.strip()), messages.Done, None, self.show_failure)

    def _remove_node(self, name: str) -> None:
        self._link.ask(messages.RemoveNode(name), messages.Done, None, self.show_failure)

    def _paste(self) -> None:
        self.send_panel.add_paths(local_paths(QGuiApplication.clipboard().mimeData().urls()))

    # --- showing -------------------------------------------------------------------------------------

    def _show_selected(self) -> None:
        self._show_cast(self.table.selected_cast())

    def _show_cast(self, cast: str) -> None:
        summary = self.transfers.summary(cast)
        self.sheets.refresh(cast)
        self.graph.show_cast(summary, self.transfers.deliveries(cast))
        self.status.show_cast(summary, self.nodes.slowest)

    def _show_status(self) -> None:
        cluster, connection = self._cluster, self._link.connection
        self.header.set_status(cluster, connection)
        self.send_panel.set_status(cluster, connection)
        self.status.set_status(cluster, connection)
        self.welcome_page.set_status(cluster, connection is Connection.CONNECTED)
        there = cluster.phase is ClusterPhase.READY or (
            cluster.phase is ClusterPhase.RECONNECTING and bool(self.nodes.nodes())
        )
        self.graph.set_nodes_editable(cluster.phase is ClusterPhase.READY and cluster.target == "local")
        self._middle.setCurrentWidget(self.graph if there else self.welcome_page)
        self._titled = there
        self._say_title()

    def _say_title(self) -> None:
        name = cluster_name(self._cluster, self._link.connection)
        self.setWindowTitle(f"CastRay – {name}" if self._titled else "CastRay")

    def _enlarge(self, enlarged: bool) -> None:
        """The bottom card over the whole window, or at its place again."""
        self._enlarged = enlarged
        self._columns.setVisible(not enlarged)
        self.transfers_card.set_enlarged(enlarged)

    def _set_compact(self, compact: bool) -> None:
        if compact == self._compact:
            return
        self._compact = compact
        gap = COMPACT_GAP if compact else GAP
        self._body.setContentsMargins(gap, gap, gap, gap)
        self._body.setSpacing(gap)
        for splitter in (self._rows, self._columns):
            splitter.setHandleWidth(gap)
        for part in (self.header, self.send_panel, self.transfers_card):
            part.set_compact(compact)
        for view in (self.graph, self.recipients):
            if hasattr(view, "set_compact"):
                view.set_compact(compact)
        QTimer.singleShot(0, self, self._divide)

    def _divide(self) -> None:
        width = self._columns.width()
        left, right = (288, 248) if self._compact else (336, 304)
        gaps = 2 * self._columns.handleWidth()
        self._columns.setSizes([left, width - left - right - gaps, right])
        height = self._rows.height() - self._rows.handleWidth()
        top = 392 / 580 if self._compact else 472 / 768
        self._rows.setSizes([round(height * top), height - round(height * top)])
        if not self._compact:
            self._restore_split()

    def _restore(self) -> None:
        geometry = self._settings.value(GEOMETRY)
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        self.table.restore_columns(self._settings)
        order = self._settings.value(ORDER)
        if order in {each.value for each in Order}:
            self.recipients.set_order(Order(order))
        self.transfers_card.show_page(str(self._settings.value(PAGE, TRANSFERS)))

    def _restore_split(self) -> None:
        for key, splitter in (("/rows", self._rows), ("/columns", self._columns)):
            state = self._settings.value(SPLIT + key)
            if isinstance(state, QByteArray):
                splitter.restoreState(state)

    def _on_focus(self, before: QWidget | None, now: QWidget | None) -> None:
        ringed = isinstance(now, QPushButton | QLineEdit | Dropdown) and now.window() is self
        self.focus_ring.show_around(now if ringed and self._keyboard else None)
        self._keyboard = False

    def _running(self) -> int:
        return sum(1 for cast in self.transfers.casts() if not cast.state.finished)

    def _forget_close(self) -> None:
        self._asked_to_close = False

    def _ask_to_close(self, running: int) -> None:
        self._asked_to_close = True
        close = (lambda: self.tr("Close anyway"), self.quit_requested.emit)
        self.banner.show_message(lambda: self._closing_text(running), close, tone="warn")

    def _closing_text(self, running: int) -> Explanation:
        one = self.tr("A cast is still running.")
        many = self.tr("{count} casts are still running.")
        text = one if running == 1 else many.format(count=running)
        return Explanation(text, self.tr("Closing the window ends what it sends."))

    # --- Qt ------------------------------------------------------------------------------------------

    def focusNextPrevChild(self, forward: bool) -> bool:
        self._keyboard = True
        return super().focusNextPrevChild(forward)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._was_painted:
            self._was_painted = True
            QTimer.singleShot(0, self, self.painted.emit)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._set_compact(self.width() < COMPACT_BELOW[0] or self.height() < COMPACT_BELOW[1])
        if self.overlay.isVisible():
            self.overlay.setGeometry(self.rect())

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        paths = local_paths(event.mimeData().urls())
        if not paths:
            return
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.send_panel.drop_area.set_hovered(True)
        one = self.tr("Drop to add {name} to the send list")
        many = self.tr("Drop to add {count} items to the send list")
        name = paths[0].rstrip("/").rsplit("/", 1)[-1]
        self._drag_text = (one if len(paths) == 1 else many).format(name=name, count=len(paths))
        self.overlay.show_text(self._drag_text)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self._end_drag()

    def dropEvent(self, event: QDropEvent) -> None:
        self._end_drag()
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.send_panel.add_paths(local_paths(event.mimeData().urls()))

    def _on_drop_hint(self, hint: str) -> None:
        if self._drag_text:
            self.overlay.show_text(hint or self._drag_text)
            self.send_panel.drop_area.set_hovered(not hint)

    def _end_drag(self) -> None:
        self._drag_text = ""
        self.overlay.hide()
        self.send_panel.drop_area.set_hovered(False)

    def closeEvent(self, event: QCloseEvent) -> None:
        event.ignore()
        running = self._running() if self._link.connected else 0
        if running and not self._asked_to_close:
            self._ask_to_close(running)
            return
        self.quit_requested.emit()


def local_paths(urls: list[QUrl]) -> list[str]:
    """The paths among the URLs that a drag or a clipboard holds."""
    return [url.toLocalFile() for url in urls if url.isLocalFile()]
