"""The window: puts the parts in their places, takes what the engine reports to them, and asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSettings, Qt, QTimer, QUrl, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDragMoveEvent,
    QDropEvent,
    QGuiApplication,
    QIcon,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QLineEdit,
    QMainWindow,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.core import messages
from castray_desktop.core.failure import Failure
from castray_desktop.core.messages import CastState, CastSummary, ClusterPhase, ClusterStatus, SendRequest
from castray_desktop.ui.banner import Banner
from castray_desktop.ui.cast_actions import CastActions
from castray_desktop.ui.closing import CloseQuestion
from castray_desktop.ui.cluster_choice import ClusterChoice
from castray_desktop.ui.cluster_words import cluster_name, explain_failure
from castray_desktop.ui.connection import Connection
from castray_desktop.ui.drop_overlay import DropOverlay
from castray_desktop.ui.fields import Dropdown
from castray_desktop.ui.focus_ring import FocusRing
from castray_desktop.ui.groups import GroupStore
from castray_desktop.ui.header import Header
from castray_desktop.ui.known_clusters import KnownClusters
from castray_desktop.ui.language import Language
from castray_desktop.ui.node_dialogs import NodeDialogs
from castray_desktop.ui.node_graph import NodeGraph
from castray_desktop.ui.nodes import NodeList
from castray_desktop.ui.notifier import Notifier
from castray_desktop.ui.pages import Pages
from castray_desktop.ui.preferences import Preferences
from castray_desktop.ui.recipient_picker import RecipientPicker
from castray_desktop.ui.resources import resource
from castray_desktop.ui.selection import RecipientSelection
from castray_desktop.ui.send_panel import SendPanel
from castray_desktop.ui.settings_sheet import SettingsSheet
from castray_desktop.ui.share_sheet import ShareSheet
from castray_desktop.ui.sheets import Sheets
from castray_desktop.ui.shortcuts import install_keys
from castray_desktop.ui.splitter import GapSplitter
from castray_desktop.ui.status_bar import StatusBar
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.toast import Toast
from castray_desktop.ui.transfer_model import TransferModel
from castray_desktop.ui.transfer_table import TransferTable
from castray_desktop.ui.transfers_card import TransfersCard
from castray_desktop.ui.tray import Tray
from castray_desktop.ui.welcome_page import WelcomePage
from castray_desktop.ui.window_memory import WindowMemory
from castray_desktop.ui.words import Words

if TYPE_CHECKING:
    from castray_desktop.ui.engine_link import EngineLink

MINIMUM = (1024, 700)
COMPACT_BELOW = (1200, 800)
GAP, COMPACT_GAP = 16, 12


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
        *,
        groups: GroupStore | None = None,
        home: str = "",
    ) -> None:
        """`groups` is where they are kept, by default with this window; the settings show `home`."""
        super().__init__()
        self._theme, self._language, self._link, self._choice = theme, language, link, choice
        self._settings, self._home = settings, home
        self.preferences = Preferences(settings, self)
        self._cluster = ClusterStatus()
        self._titled = False
        self._enlarged = False
        self._was_painted = False
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
        self.known = KnownClusters(link, self)
        self.header = Header(theme, language, self.known)
        self.banner = Banner(theme, "bad")
        self.send_panel = SendPanel(theme, link, self.nodes, self.selection)
        self.welcome_page = WelcomePage(theme, self.known)
        self.graph = NodeGraph(theme, self.nodes, self.selection)
        self.recipients = RecipientPicker(theme, self.nodes, self.selection, groups=groups)
        self.actions_on_casts = CastActions(link, self.transfers, self.selection, self)
        self.table = TransferTable(theme, self.transfers, self.nodes, self.actions_on_casts)
        self.transfers_card = TransfersCard(theme, self.transfers, self.table, self.actions_on_casts)
        self.pages = Pages(
            theme, link, self.actions_on_casts, self.nodes, lambda: self._cluster, self.send_panel.request
        )
        self.pages.put_into(self.transfers_card)
        self.sheets = Sheets(theme, link, self.transfers, self)
        self.status = StatusBar(theme)
        self.tray = Tray(self)
        self.toast = Toast(theme, self)
        self.notifier = Notifier(self.preferences, self.toast, self.tray, self.nodes, self)
        self.close_question = CloseQuestion(self.banner, self.tray, self.preferences, self._running, self)
        self.node_dialogs = NodeDialogs(link, self.nodes, self)
        self.settings_sheet: SettingsSheet | None = None
        self.share_sheet: ShareSheet | None = None
        self.overlay = DropOverlay(theme, self)
        self.focus_ring = FocusRing(theme, self)
        self._build()
        self._memory = WindowMemory(settings, self._rows, self._columns)
        self._wire_parts()
        self._wire_engine()
        install_keys(self)
        self._follow_focus()
        self._memory.restore(self)
        self._apply_preferences()
        self._show_status()
        Words(self, self._say_title)

    def add_files(self, paths: list[str]) -> None:
        """Put absolute paths on the send list."""
        self.send_panel.add_paths(paths)

    def close_sheets(self) -> None:
        """Close what stands beside the window."""
        self.sheets.close()
        panel = self.send_panel
        for sheet in (
            self.settings_sheet,
            self.share_sheet,
            self.pages.schedules.editor,
            panel.options_sheet,
            panel.preflight_sheet,
            panel.browser,
        ):
            if sheet is not None:
                sheet.close()

    def show_failure(self, failure: Failure) -> None:
        """Say what went wrong, above everything else."""
        self.banner.show_message(lambda: explain_failure(failure))

    def save_state(self) -> None:
        """Remember where the window was and how it was divided."""
        self._memory.save(self, divided=not self._compact)

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
        menu = self.header.menu
        menu.use_requested.connect(self._choice.use)
        menu.attach_requested.connect(self._show_attach)
        menu.leave_requested.connect(self._choice.leave)
        menu.share_requested.connect(self._choice.share)
        menu.add_node_requested.connect(self.node_dialogs.ask_name)
        self.header.settings_requested.connect(self.show_settings)
        self.header.limit_requested.connect(self._set_limit)
        self._choice.shared.connect(self._show_share)
        self.welcome_page.start_requested.connect(self._choice.use)
        self.welcome_page.share_requested.connect(self._choice.share)
        self.welcome_page.prepare_requested.connect(self._choice.prepare)
        self.welcome_page.join_requested.connect(self._choice.join)
        self.welcome_page.back_requested.connect(self._show_status)
        self.welcome_page.cancel_requested.connect(self._choice.leave)
        self._choice.failed.connect(self.show_failure)
        self.close_question.quit_requested.connect(self.quit_requested)
        self.close_question.hidden.connect(self.hide)
        self.tray.open_requested.connect(self.bring_to_front)
        self.tray.pause_requested.connect(self.actions_on_casts.pause_all)
        self.tray.resume_requested.connect(self.actions_on_casts.resume_all)
        self.tray.quit_requested.connect(self.quit_requested)
        self.preferences.changed.connect(self._apply_preferences)
        self.recipients.groups.failed.connect(self.show_failure)
        self.node_dialogs.failed.connect(self.show_failure)
        self.send_panel.send_requested.connect(self._send)
        self.graph.files_dropped.connect(self._take_files)
        self.graph.drop_hint.connect(self._on_drop_hint)
        self.graph.send_requested.connect(self.send_panel.send)
        self.graph.browse_requested.connect(self._browse_for)
        self.graph.add_node_requested.connect(self.node_dialogs.ask_name)
        self.graph.remove_node_requested.connect(self.node_dialogs.remove)
        self.transfers_card.cast_selected.connect(self._show_cast)
        self.transfers_card.enlarged.connect(lambda _: self.toggle_enlarged())
        self.transfers_card.page_changed.connect(self.pages.activate)
        self.actions_on_casts.details_wanted.connect(self.sheets.show_details)
        self.actions_on_casts.verify_wanted.connect(self.sheets.verify)
        self.pages.schedules.ran.connect(self._expect)
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
        link.settings_changed.connect(self._on_settings)
        link.throughput.connect(self.header.show_rates)
        link.throughput.connect(self.transfers_card.add_throughput)

    def _follow_focus(self) -> None:
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
        self._ask_settings()
        if self.preferences.keep_engine:
            self._keep_engine(True)
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
        self.close_question.casts_changed()
        self.notifier.tell(result)
        if result.summary.failure is not None:
            self.show_failure(result.summary.failure)

    # --- what the user asks for --------------------------------------------------------------------

    def bring_to_front(self) -> None:
        """Show the window, above the others."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()

    def show_settings(self) -> None:
        """Open the settings beside the window."""
        if self.settings_sheet is None:
            self.settings_sheet = sheet = SettingsSheet(
                self._theme, self._language, self._link, self.preferences, self._home, self
            )
            sheet.columns_reset.connect(self.table.columns.reset)
            sheet.keep_changed.connect(self._keep_engine)
        self.settings_sheet.refresh()
        self.settings_sheet.show()
        self.settings_sheet.raise_()

    def _show_share(self, info: messages.ShareInfo) -> None:
        if self.share_sheet is None:
            self.share_sheet = ShareSheet(self._theme, self)
        self.share_sheet.show_info(info)

    def _keep_engine(self, keep: bool) -> None:
        self._link.ask(messages.KeepEngine(keep), messages.Done, None, self.show_failure)

    def _set_limit(self, limit: int) -> None:
        self._link.ask(messages.SetLimit(limit), messages.Done, self._ask_settings, self.show_failure)

    def _ask_settings(self, _: object = None) -> None:
        def got(reply: messages.SettingsChanged) -> None:
            self._on_settings(reply.settings)

        self._link.ask(messages.GetSettings(), messages.SettingsChanged, got)

    def _on_settings(self, settings: messages.EngineSettings) -> None:
        self.header.show_limit(settings.limit)
        self.nodes.set_limit(settings.limit)

    def _apply_preferences(self) -> None:
        self.graph.reduce_motion = self.preferences.still
        self.send_panel.set_usual_conflict(self.preferences.conflict)

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

    def paste(self) -> None:
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

    def toggle_enlarged(self) -> None:
        """The bottom card over the whole window, or at its place again."""
        self._enlarged = not self._enlarged
        self._columns.setVisible(not self._enlarged)
        self.transfers_card.set_enlarged(self._enlarged)

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
            self._memory.restore_division()

    def _on_focus(self, before: QWidget | None, now: QWidget | None) -> None:
        ringed = isinstance(now, QPushButton | QLineEdit | Dropdown) and now.window() is self
        self.focus_ring.show_around(now if ringed and self._keyboard else None)
        self._keyboard = False

    def _running(self) -> int:
        """Casts that would stop with the engine."""
        if not self._link.connected:
            return 0
        casts = self.transfers.casts()
        return sum(not cast.state.finished and cast.state is not CastState.PAUSED for cast in casts)

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
        self.close_question.close()


def local_paths(urls: list[QUrl]) -> list[str]:
    """The paths among the URLs that a drag or a clipboard holds."""
    return [url.toLocalFile() for url in urls if url.isLocalFile()]
