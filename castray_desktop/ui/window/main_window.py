"""The main window: makes the parts, connects them with each other and the engine, and has the shortcuts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import Qt, QTimer, Signal
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
    QLineEdit,
    QMainWindow,
    QPushButton,
)

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastState,
    CastSummary,
    ClusterPhase,
    ClusterStatus,
    SendRequest,
)
from castray_desktop.ui.clusters.cluster_selector import ClusterSelector, KnownClusters
from castray_desktop.ui.clusters.join_hint import JoinHintController
from castray_desktop.ui.clusters.membership_dialogs import NodeDialogs
from castray_desktop.ui.clusters.welcome_page import WelcomePage
from castray_desktop.ui.graph.graph_card import GraphCard
from castray_desktop.ui.i18n.failure_text import explain_failure
from castray_desktop.ui.i18n.language import Language, Retranslator
from castray_desktop.ui.model.cluster_text import cluster_name
from castray_desktop.ui.model.desktop_services import copy, sendable_paths
from castray_desktop.ui.model.engine_link import EngineLink, EngineLinkState
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.preferences import Preferences
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.pages.doctor_page import DoctorPage
from castray_desktop.ui.pages.history_page import CastHistoryPage
from castray_desktop.ui.pages.log_page import LogPage
from castray_desktop.ui.pages.schedules_page import SchedulesPage
from castray_desktop.ui.pages.settings_sheet import EngineSettingsModel, SettingsController
from castray_desktop.ui.recipients.group_bar import GroupStore
from castray_desktop.ui.recipients.recipient_picker import RecipientPicker
from castray_desktop.ui.send.send_panel import SendPanel
from castray_desktop.ui.theme.resources import resource
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_actions import CastActions, can_pause
from castray_desktop.ui.transfers.cast_sheets import CastSheets
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.transfers.transfer_table import ShownCast, TransferTable
from castray_desktop.ui.transfers.transfers_card import TransfersCard
from castray_desktop.ui.widgets.banner import Banner, Toast
from castray_desktop.ui.widgets.basic_widgets import KeyboardFocus
from castray_desktop.ui.widgets.fields import Dropdown
from castray_desktop.ui.widgets.sheet import Sheet
from castray_desktop.ui.window.cast_questions import CastQuestion, CloseController, JoinedMachines
from castray_desktop.ui.window.drop_overlay import DropOverlay
from castray_desktop.ui.window.header import Header
from castray_desktop.ui.window.notifications import DesktopNotifications, Notifier, Tray
from castray_desktop.ui.window.status_bar import StatusBar
from castray_desktop.ui.window.window_layout import ScrollableBody, WindowLayout, WindowParts, WindowState


def install_shortcuts(window: MainWindow) -> None:
    """Install the shortcuts of the window."""
    actions, table, card = window.actions_on_casts, window.table, window.transfers_card
    keys: list[tuple[str | QKeySequence.StandardKey, Callable[[], object]]] = [
        ("Ctrl+Return", window.send_panel.send),
        ("Ctrl+Enter", window.send_panel.send),
        ("Ctrl+P", lambda: actions.pause_rows(table.chosen_rows())),
        ("Ctrl+S", lambda: actions.resume_rows(table.chosen_rows())),
        ("Ctrl+Shift+P", actions.pause_all),
        ("Ctrl+Shift+S", actions.resume_all),
        ("Ctrl+R", lambda: actions.retry(table.chosen_names())),
        ("Alt+Up", lambda: actions.move(table.selected_cast(), -1)),
        ("Alt+Down", lambda: actions.move(table.selected_cast(), 1)),
        ("Alt+Return", lambda: window.sheets.show_details(table.selected_cast())),
        ("Ctrl+F", card.focus_filter),
        ("Ctrl+,", window.settings_controller.show),
        ("Ctrl+Tab", partial(card.tabs.step, 1)),
        ("Ctrl+Shift+Tab", partial(card.tabs.step, -1)),
        ("Ctrl+PgDown", partial(card.tabs.step, 1)),
        ("Ctrl+PgUp", partial(card.tabs.step, -1)),
        ("F11", window.body.toggle_enlarged),
        (QKeySequence.StandardKey.Paste, window.paste),
        (QKeySequence.StandardKey.Quit, window.close),
        *((f"Ctrl+{number}", partial(card.show_page, page)) for number, page in enumerate(card.tabs.keys, 1)),
    ]
    for key, run in keys:
        QShortcut(QKeySequence(key), window, run)


MINIMUM = (1024, 700)
HISTORY, SCHEDULES, LOG, DOCTOR = "history", "schedules", "log", "doctor"

# Failures that are over once a cluster is ready.
OF_A_CLUSTER = frozenset(kind for kind in FailureKind if kind.value.startswith(("cluster_", "no_cluster")))


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
        preferences: Preferences,
        groups: GroupStore,
        wanted: str | None = None,
    ) -> None:
        """`wanted` is the cluster to use if the engine has none; else the preferences decide."""
        super().__init__()
        self._theme, self._link, self.preferences = theme, link, preferences
        self._cluster = ClusterStatus()
        self._titled = False
        self._was_painted = False
        self._last_notice: Failure | None = None
        self._shown_failure: Failure | None = None
        self._failed_cast = ""  # whose failure it is
        self.cluster_selector = ClusterSelector(
            link, preferences.settings, wanted, at_start=preferences.at_start, parent=self
        )
        self.nodes = NodeList(self)
        self.selection = RecipientSelection(self)
        self.selection.follow(self.nodes)
        self.transfers = TransferModel(self)
        self.known = KnownClusters(link, self)
        self.header = Header(theme, language, self.known)
        self.banner = Banner(theme, "bad")
        self.send_panel = SendPanel(theme, link, self.nodes, self.selection)
        self.welcome_page = WelcomePage(theme, self.known)
        self.graph = GraphCard(theme, self.nodes, self.selection, under_way_on=self.transfers.under_way_on)
        self.recipients = RecipientPicker(theme, self.nodes, self.selection, groups)
        self.actions_on_casts = CastActions(link, self.transfers, self.selection, self)
        self.table = TransferTable(theme, self.transfers, self.nodes, self.actions_on_casts)
        self.transfers_card = TransfersCard(theme, self.transfers, self.table, self.actions_on_casts)
        self._add_pages()
        self.shown_cast = ShownCast(self.transfers, self.table, self)
        self.sheets = CastSheets(theme, link, self.transfers, self)
        self.status = StatusBar(theme)
        self.tray = Tray(self)
        self.toast = Toast(theme, self, above=self.banner)
        self.notifier = Notifier(
            preferences,
            self.toast,
            DesktopNotifications(self.tray, self),
            self.nodes,
            self.actions_on_casts.folders,
            self,
        )
        joined = JoinedMachines(link, self.nodes, preferences, lambda: self._cluster.target)
        self.close_question = CloseController(
            self.banner, self.tray, preferences, self._running, joined, self
        )
        self.cast_question = CastQuestion(
            self.banner,
            self.cluster_selector,
            self._running_here,
            lambda: self._cluster.target,
            joined,
            self,
        )
        self.join_hint = JoinHintController(link, self.nodes, self)
        self.node_dialogs = NodeDialogs(theme, link, self.nodes, self)
        self.engine_settings = EngineSettingsModel(link, self)
        self.settings_controller = SettingsController(
            theme, language, self.engine_settings, preferences, self
        )
        self.overlay = DropOverlay(theme, self.send_panel.drop_area, self)
        self.keyboard_focus = KeyboardFocus(theme, self, (QPushButton, QLineEdit, Dropdown))
        parts = WindowParts(
            self.header,
            self.send_panel,
            self.welcome_page,
            self.graph,
            self.recipients,
            self.transfers_card,
            self.status,
            self.banner,
        )
        self.body = WindowLayout(theme, parts)
        self._state = WindowState(preferences.settings, self, self.body)
        self.setMinimumSize(*MINIMUM)
        self.resize(1440, 900)
        self.setWindowIcon(QIcon(str(resource("castray-256.png"))))
        self.setCentralWidget(ScrollableBody(self.body))
        self.setAcceptDrops(True)
        self._wire_parts()
        self._wire_engine()
        install_shortcuts(self)
        self._state.restore()
        self._apply_preferences()
        self._show_status()
        Retranslator(self, self._show_title)

    def _add_pages(self) -> None:
        theme, link = self._theme, self._link
        self.history_page = CastHistoryPage(theme, link, self.actions_on_casts)
        self.schedules_page = SchedulesPage(theme, link, self.send_panel.request)
        self.log_page = LogPage(theme, link, self.nodes, lambda: self._cluster)
        self.doctor_page = DoctorPage(theme, link)
        self.transfers_card.add_page(HISTORY, lambda: self.tr("History"), self.history_page)
        self.transfers_card.add_page(SCHEDULES, lambda: self.tr("Schedules"), self.schedules_page)
        self.transfers_card.add_page(LOG, lambda: self.tr("Log"), self.log_page)
        self.transfers_card.add_page(DOCTOR, lambda: self.tr("Doctor"), self.doctor_page)

    def add_files(self, paths: list[str], recipients: frozenset[str] = frozenset()) -> None:
        """Put absolute paths on the send list; `recipients`, if there are any, become the selection."""
        if recipients:
            self.selection.set_selected(recipients)
        self.send_panel.add_paths(paths)

    def shut_down(self) -> None:
        """Close what is open beside the window, and save its state."""
        self.notifier.close()
        self.tray.close()
        self.close_sheets()
        self._state.save()

    def close_sheets(self) -> None:
        """Close all sheets."""
        for sheet in self.findChildren(Sheet):
            sheet.close()

    def show_failure(self, failure: Failure) -> None:
        """Show a failure in the banner; a cancelled cast is not a failure."""
        if failure.kind is FailureKind.CANCELLED:
            return
        self._shown_failure, self._failed_cast = failure, ""
        self.banner.show_failure(failure)

    def _show_closed_folder(self, folder: str) -> None:
        """Say that no file manager has answered, and where the folder is."""

        def words() -> Explanation:
            text = self.tr("No file manager answered. The folder is {folder}.")
            return Explanation(text.format(folder=folder), "")

        self.banner.show_message(words, (lambda: self.tr("Copy path"), partial(copy, folder)), tone="warn")

    def _wire_parts(self) -> None:
        actions, selector, welcome = self.actions_on_casts, self.cluster_selector, self.welcome_page
        menu = self.header.menu
        menu.use_requested.connect(self.cast_question.use)
        menu.attach_requested.connect(self._show_attach)
        menu.leave_requested.connect(self.cast_question.leave)
        menu.share_requested.connect(self.cast_question.share)
        menu.add_node_requested.connect(self.node_dialogs.ask_name)
        self.header.settings_requested.connect(self.settings_controller.show)
        self.header.limit_requested.connect(self.engine_settings.set_limit)
        self.engine_settings.changed.connect(self._on_settings)
        self.settings_controller.columns_reset.connect(self.table.columns.reset)
        selector.shared.connect(self.node_dialogs.show_share)
        welcome.local.demo_nodes.changed.connect(lambda count: self.engine_settings.change(demo_nodes=count))
        welcome.start_requested.connect(self.cast_question.use)
        welcome.share_requested.connect(self.cast_question.share)
        welcome.prepare_requested.connect(selector.prepare)
        welcome.join_requested.connect(selector.join)
        welcome.back_requested.connect(self._show_status)
        welcome.cancel_requested.connect(selector.leave)
        self.close_question.quit_requested.connect(self.quit_requested)
        self.close_question.hidden.connect(self.hide)
        self.notifier.window_wanted.connect(self.bring_to_front)
        self.tray.open_requested.connect(self.bring_to_front)
        self.tray.pause_requested.connect(actions.pause_all)
        self.tray.resume_requested.connect(actions.resume_all)
        self.tray.quit_requested.connect(self.quit_requested)
        self.preferences.changed.connect(self._apply_preferences)
        self.send_panel.send_requested.connect(self._send)
        self.graph.drops.drag_entered.connect(self.overlay.begin)
        self.graph.drops.drag_left.connect(self.overlay.end)
        self.graph.drops.files_dropped.connect(self.add_files)
        self.graph.drops.drop_hint.connect(self.overlay.show_hint)
        self.graph.inbox_requested.connect(actions.folders.open)
        self.recipients.list.menu_requested.connect(self.graph.show_menu)
        self.recipients.list.facts_requested.connect(self.graph.side_card.show)
        self.join_hint.needed.connect(self.recipients.join_hint.show_command)
        self.graph.browse_requested.connect(self._browse_for)
        self.graph.receiving_changed.connect(actions.set_receiving)
        self.graph.add_node_requested.connect(self.node_dialogs.ask_name)
        self.graph.remove_node_requested.connect(self.node_dialogs.remove)
        self.table.cast_selected.connect(self._show_cast)
        self.shown_cast.changed.connect(self._show_cast)
        self.transfers_card.enlarge_button.clicked.connect(self.body.toggle_enlarged)
        actions.details_wanted.connect(self.sheets.show_details)
        actions.verify_wanted.connect(self.sheets.verify)
        actions.accepted.connect(self.shown_cast.expect)
        for folders in (actions.folders, self.settings_controller.folders):
            folders.refused.connect(self._show_closed_folder)
        self.schedules_page.ran.connect(self.shown_cast.expect)
        self.history_page.details_wanted.connect(self.sheets.show_result)
        for part in (self.settings_controller, selector, self.recipients.groups, self.node_dialogs, actions):
            part.failed.connect(self.show_failure)

    def _wire_engine(self) -> None:
        link = self._link
        link.connection_changed.connect(self._on_connection)
        link.connection_failed.connect(self.show_failure)
        link.welcome.connect(self._on_welcome)
        link.cluster_changed.connect(self._on_cluster)
        link.nodes_changed.connect(self.nodes.apply)
        self.nodes.changed.connect(self._find_this_computer)
        self.nodes.changed.connect(self.close_question.refresh)
        link.cast_changed.connect(self.shown_cast.apply_summary)
        link.cast_changed.connect(self._on_cast)
        link.deliveries_changed.connect(self.shown_cast.apply_deliveries)
        link.cast_finished.connect(self._on_result)
        link.casts_removed.connect(self.transfers.remove)
        link.throughput.connect(self.header.show_rates)
        link.throughput.connect(self.transfers_card.add_throughput)

    # --- what the engine reports -------------------------------------------------------------------

    def _on_connection(self, connection: EngineLinkState) -> None:
        if connection is EngineLinkState.CONNECTED:
            self.banner.hide()  # the rest is said once the complete state is there
        else:
            self.header.show_rates(None)
            self._show_status()

    def _on_welcome(self, welcome: messages.Welcome) -> None:
        """Apply the snapshot in several turns, since doing it at once would block the window."""
        self._link.ask(messages.Watch(None), messages.Done)
        self._link.in_turns(
            partial(self.nodes.replace, welcome.nodes),
            partial(self.transfers.load, welcome.casts, welcome.deliveries),
            partial(self.shown_cast.select_newest, welcome.casts),
            lambda: self.graph.prepare(self.body.middle.size()),
            partial(self._on_cluster, welcome.cluster),
        )

    def _find_this_computer(self) -> None:
        here = next((node.name for node in self.nodes.nodes() if node.this_computer), "")
        if here:
            self.transfers.set_here(here)

    def _on_cluster(self, cluster: ClusterStatus) -> None:
        notice = cluster.notice if cluster.phase is ClusterPhase.READY else None
        if notice is not None and notice != self._last_notice:
            self._last_notice = notice
            self.banner.show_message(lambda: explain_failure(notice), tone="warn")
        switched, self._cluster = cluster.target != self._cluster.target, cluster
        self.table.set_cluster(cluster.target)
        self.join_hint.set_cluster(cluster)
        self.node_dialogs.set_cluster(cluster)
        if cluster.phase is ClusterPhase.READY:
            self._hide_cluster_failure()
        if switched:
            self.header.show_rates(None)  # the engine reports the traffic of the cluster in use only
            self._show_cast(self.table.selected_cast())
        self._show_status()

    def _hide_cluster_failure(self) -> None:
        """Hide a failure of the cluster once the cluster is ready."""
        shown = self._shown_failure
        if shown is not None and shown.kind in OF_A_CLUSTER:
            self._hide_failure()

    def _hide_failure(self) -> None:
        shown, self._shown_failure = self._shown_failure, None
        if shown is not None and self.banner.text() == explain_failure(shown).text:
            self.banner.hide()

    def _on_cast(self, summary: messages.CastSummary) -> None:
        """Hide the failure of a cast that is tried again."""
        if summary.cast == self._failed_cast and not summary.state.finished:
            self._failed_cast = ""
            self._hide_failure()

    def _on_result(self, result: messages.CastResult) -> None:
        self.shown_cast.apply_summary(result.summary)
        self.shown_cast.apply_deliveries(result.summary.cast, result.deliveries)
        self.close_question.refresh()
        summary = result.summary
        failure = summary.failure
        stopped = failure is not None and failure.kind is FailureKind.CLUSTER_STOPPED
        if stopped and self.cluster_selector.was_left(summary.cluster.target or self._cluster.target):
            return  # the user has been asked, and has said so
        self.notifier.notify(result)
        if failure is not None and summary.state is CastState.FAILED:  # else the rows say it
            self.show_failure(failure)
            self._failed_cast = summary.cast

    # --- what the user asks for --------------------------------------------------------------------

    def bring_to_front(self) -> None:
        """Show the window, above the others."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()

    def _on_settings(self, settings: messages.EngineSettings) -> None:
        self.header.show_limit(settings.limit)
        self.nodes.limit = settings.limit
        self.welcome_page.local.demo_nodes.show_value(settings.demo_nodes)

    def _apply_preferences(self) -> None:
        self.graph.view.reduce_motion(self.preferences.still)
        self.send_panel.set_usual_conflict(self.preferences.conflict)

    def _show_attach(self) -> None:
        self.body.middle.setCurrentWidget(self.welcome_page)
        self.welcome_page.focus_address()

    def _send(self, request: SendRequest) -> None:
        def accepted(reply: messages.Accepted) -> None:
            self.send_panel.accepted(request)
            self.shown_cast.expect(reply.cast)

        self._link.ask(messages.Send(request), messages.Accepted, accepted, self.send_panel.refused)

    def _browse_for(self, recipients: frozenset[str]) -> None:
        if recipients:
            self.selection.set_selected(recipients)
        self.send_panel.browse_files()

    def paste(self) -> None:
        """Put the files of the clipboard on the send list."""
        self.add_files(sendable_paths(QGuiApplication.clipboard().mimeData()))

    # --- showing -------------------------------------------------------------------------------------

    def _show_cast(self, cast: str) -> None:
        summary = self.transfers.summary(cast)
        self.sheets.refresh(cast)
        if summary is not None and self._is_here(summary):
            others = self.transfers.deliveries_beside(summary)
            self.nodes.watch(summary, self.transfers.deliveries(cast), others)
        else:  # its nodes are not those of the graph
            self.nodes.watch(None)
        self.status.show_cast(summary, self.nodes.slowest, self.nodes.listening)

    def _show_status(self) -> None:
        cluster, connection = self._cluster, self._link.connection
        self.header.set_status(cluster, connection)
        self.send_panel.set_status(cluster, connection)
        self.status.set_status(cluster, connection)
        self.welcome_page.set_status(cluster, connection is EngineLinkState.CONNECTED)
        there = cluster.phase is ClusterPhase.READY or (
            cluster.phase is ClusterPhase.RECONNECTING and bool(self.nodes.nodes())
        )
        self.graph.nodes_editable = cluster.phase is ClusterPhase.READY and cluster.target == "local"
        self.body.middle.setCurrentWidget(self.graph if there else self.welcome_page)
        self._titled = there
        self._show_title()

    def _show_title(self) -> None:
        name = cluster_name(self._cluster, self._link.connection)
        self.setWindowTitle(f"{name} — CastRay" if self._titled else "CastRay")  # as Qt ends every title

    def _running(self) -> tuple[CastSummary, ...]:
        """Casts that would stop with the engine."""
        if not self._link.connected:
            return ()
        return tuple(filter(can_pause, self.transfers.casts()))

    def _running_here(self) -> tuple[CastSummary, ...]:
        """The running casts on the current cluster."""
        return tuple(cast for cast in self._running() if self._is_here(cast))

    def _is_here(self, cast: CastSummary) -> bool:
        return cast.cluster.target in ("", self._cluster.target)

    # --- Qt ------------------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if paths := sendable_paths(event.mimeData()):
            self.dragMoveEvent(event)
            self.overlay.begin(paths)

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.overlay.end()

    def dropEvent(self, event: QDropEvent) -> None:
        self.overlay.end()
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        self.add_files(sendable_paths(event.mimeData()))

    def focusNextPrevChild(self, forward: bool) -> bool:
        return self.keyboard_focus.step(partial(super().focusNextPrevChild, forward))

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if not self._was_painted:
            self._was_painted = True
            QTimer.singleShot(0, self, self.painted.emit)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.body.fit(self.width(), self.height())
        if self.overlay.isVisible():
            self.overlay.setGeometry(self.rect())

    def closeEvent(self, event: QCloseEvent) -> None:
        event.ignore()
        self.close_question.close()
