"""The main window: makes the parts, connects them with each other and the engine, and has the shortcuts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from PySide6.QtCore import QSettings, Qt, QTimer, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QGuiApplication,
    QIcon,
    QKeySequence,
    QPaintEvent,
    QResizeEvent,
    QShortcut,
)
from PySide6.QtWidgets import (
    QApplication,
    QLineEdit,
    QPushButton,
    QWidget,
)

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastState,
    CastSummary,
    ClusterPhase,
    ClusterStatus,
    SendRequest,
)
from castray_desktop.ui.clusters.cluster_selector import ClusterSelector
from castray_desktop.ui.clusters.known_clusters import KnownClusters
from castray_desktop.ui.clusters.membership_dialogs import NodeDialogs
from castray_desktop.ui.clusters.welcome_page import WelcomePage
from castray_desktop.ui.graph.graph_card import GraphCard
from castray_desktop.ui.i18n.language import Language
from castray_desktop.ui.i18n.retranslator import Retranslator
from castray_desktop.ui.model.cluster_text import cluster_name, explain_failure
from castray_desktop.ui.model.desktop_services import local_paths
from castray_desktop.ui.model.engine_link import EngineLink, EngineLinkState
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.preferences import Preferences
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.pages.settings_sheet import SettingsController
from castray_desktop.ui.pages.tab_pages import TabPages
from castray_desktop.ui.recipients.group_bar import GroupStore
from castray_desktop.ui.recipients.recipient_picker import RecipientPicker
from castray_desktop.ui.send.send_panel import SendPanel
from castray_desktop.ui.theme.resources import resource
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_actions import CastActions
from castray_desktop.ui.transfers.cast_sheets import CastSheets
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.transfers.transfer_table import TransferTable
from castray_desktop.ui.transfers.transfers_card import TransfersCard
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.widgets.fields import Dropdown
from castray_desktop.ui.widgets.focus_ring import FocusRing
from castray_desktop.ui.widgets.toast import Toast
from castray_desktop.ui.window.cast_questions import CastQuestion, CloseController
from castray_desktop.ui.window.drop_window import DropOverlay, DropWindow
from castray_desktop.ui.window.header import Header
from castray_desktop.ui.window.notifications import DesktopNotifications, Notifier, Tray
from castray_desktop.ui.window.shown_cast import ShownCast
from castray_desktop.ui.window.status_bar import StatusBar
from castray_desktop.ui.window.window_layout import ScrollableBody, WindowLayout, WindowParts, WindowState

Run = Callable[[], object]


def window_shortcuts(window: MainWindow) -> list[tuple[str, Run]]:
    """Each key sequence with its action."""
    actions, table, card = window.actions_on_casts, window.table, window.transfers_card
    keys: list[tuple[str, Run]] = [
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
    ]
    keys += [(f"Ctrl+{number}", partial(card.show_page, page)) for number, page in enumerate(card.pages(), 1)]
    return keys


def install_shortcuts(window: MainWindow) -> None:
    """Install the shortcuts of the window."""
    for key, run in window_shortcuts(window):
        QShortcut(QKeySequence(key), window, run)
    QShortcut(QKeySequence(QKeySequence.StandardKey.Paste), window, window.paste)
    QShortcut(QKeySequence(QKeySequence.StandardKey.Quit), window, window.close)


MINIMUM = (1024, 700)

# Failures that are over once a cluster is ready.
OF_A_CLUSTER = frozenset(kind for kind in FailureKind if kind.value.startswith(("cluster_", "no_cluster")))


class MainWindow(DropWindow):
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
        choice: ClusterSelector,
        *,
        groups: GroupStore | None = None,
        home: str = "",
    ) -> None:
        """`groups` is where they are kept, by default with this window; the settings show `home`."""
        super().__init__()
        self._theme, self._link, self._choice = theme, link, choice
        self._settings = settings
        self.preferences = Preferences(settings, self)
        self._cluster = ClusterStatus()
        self._titled = False
        self._was_painted = False
        self._keyboard = False
        self._noticed: Failure | None = None
        self._said: Failure | None = None
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
        self.recipients = RecipientPicker(theme, self.nodes, self.selection, groups=groups)
        self.actions_on_casts = CastActions(link, self.transfers, self.selection, self)
        self.table = TransferTable(theme, self.transfers, self.nodes, self.actions_on_casts)
        self.transfers_card = TransfersCard(theme, self.transfers, self.table, self.actions_on_casts)
        self.pages = TabPages(
            theme, link, self.actions_on_casts, self.nodes, lambda: self._cluster, self.send_panel.request
        )
        self.pages.put_into(self.transfers_card)
        self.shown_cast = ShownCast(self.transfers, self.table, self)
        self.sheets = CastSheets(theme, link, self.transfers, self)
        self.status = StatusBar(theme)
        self.tray = Tray(self)
        self.toast = Toast(theme, self, above=self.banner)
        self.notifier = Notifier(
            self.preferences, self.toast, DesktopNotifications(self.tray, self), self.nodes, self
        )
        self.close_question = CloseController(self.banner, self.tray, self.preferences, self._running, self)
        self.cast_question = CastQuestion(
            self.banner, choice, self._running_here, lambda: self._cluster.target, self
        )
        self.node_dialogs = NodeDialogs(link, self.nodes, self)
        self.settings_controller = SettingsController(theme, language, link, self.preferences, home, self)
        self.overlay = DropOverlay(theme, self)
        self.focus_ring = FocusRing(theme, self)
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
        self.memory = WindowState(settings, self, self.body)
        self.setMinimumSize(*MINIMUM)
        self.resize(1440, 900)
        self.setWindowIcon(QIcon(str(resource("castray-256.png"))))
        self.setCentralWidget(ScrollableBody(self.body))
        self._wire_parts()
        self._wire_engine()
        install_shortcuts(self)
        self._follow_focus()
        self.memory.restore()
        self._apply_preferences()
        self._show_status()
        Retranslator(self, self._say_title)

    def add_files(self, paths: list[str], recipients: frozenset[str] = frozenset()) -> None:
        if recipients:
            self.selection.set_selected(recipients)
        self.send_panel.add_paths(paths)

    def close_sheets(self) -> None:
        """Close all sheets."""
        self.sheets.close()
        self.settings_controller.close()
        self.send_panel.sheets.close()
        if self.pages.schedules.editor is not None:
            self.pages.schedules.editor.close()

    def show_failure(self, failure: Failure) -> None:
        """Show a failure in the banner; a cancelled cast is not a failure."""
        if failure.kind is FailureKind.CANCELLED:
            return
        self._said = failure
        self.banner.show_message(lambda: explain_failure(failure))

    def save_state(self) -> None:
        """Remember where the window was and how it was divided."""
        self.memory.save()

    def _wire_parts(self) -> None:
        menu = self.header.menu
        menu.use_requested.connect(self.cast_question.use)
        menu.attach_requested.connect(self._show_attach)
        menu.leave_requested.connect(self.cast_question.leave)
        menu.share_requested.connect(self.cast_question.share)
        menu.add_node_requested.connect(self.node_dialogs.ask_name)
        settings_controller = self.settings_controller
        self.header.settings_requested.connect(settings_controller.show)
        self.header.limit_requested.connect(settings_controller.set_limit)
        settings_controller.engine.changed.connect(self._on_settings)
        self.welcome_page.local.demo_nodes.changed.connect(settings_controller.set_demo_nodes)
        settings_controller.columns_reset.connect(self.table.columns.reset)
        self._choice.shared.connect(settings_controller.show_share)
        self.welcome_page.start_requested.connect(self.cast_question.use)
        self.welcome_page.share_requested.connect(self.cast_question.share)
        self.welcome_page.prepare_requested.connect(self._choice.prepare)
        self.welcome_page.join_requested.connect(self._choice.join)
        self.welcome_page.back_requested.connect(self._show_status)
        self.welcome_page.cancel_requested.connect(self._choice.leave)
        self.close_question.quit_requested.connect(self.quit_requested)
        self.close_question.hidden.connect(self.hide)
        self.tray.open_requested.connect(self.bring_to_front)
        self.notifier.window_wanted.connect(self.bring_to_front)
        self.tray.pause_requested.connect(self.actions_on_casts.pause_all)
        self.tray.resume_requested.connect(self.actions_on_casts.resume_all)
        self.tray.quit_requested.connect(self.quit_requested)
        self.preferences.changed.connect(self._apply_preferences)
        self.send_panel.send_requested.connect(self._send)
        self.graph.drag_entered.connect(self.begin_drag)
        self.graph.drag_left.connect(self.end_drag)
        self.graph.files_dropped.connect(self.add_files)
        self.graph.drop_hint.connect(self.show_drop_hint)
        self.graph.send_requested.connect(self.send_panel.send)
        self.graph.browse_requested.connect(self._browse_for)
        self.graph.receiving_changed.connect(self.actions_on_casts.set_receiving)
        self.graph.add_node_requested.connect(self.node_dialogs.ask_name)
        self.graph.remove_node_requested.connect(self.node_dialogs.remove)
        self.transfers_card.cast_selected.connect(self._show_cast)
        self.shown_cast.changed.connect(self._show_cast)
        self.transfers_card.enlarged.connect(lambda _: self.body.toggle_enlarged())
        self.transfers_card.page_changed.connect(self.pages.activate)
        self.actions_on_casts.details_wanted.connect(self.sheets.show_details)
        self.actions_on_casts.verify_wanted.connect(self.sheets.verify)
        self.pages.schedules.ran.connect(self.shown_cast.expect)
        self.pages.history.details_wanted.connect(self.sheets.show_result)
        self.actions_on_casts.accepted.connect(self.shown_cast.expect)
        askers = (
            settings_controller,
            self._choice,
            self.recipients.groups,
            self.node_dialogs,
            self.actions_on_casts,
        )
        for asker in askers:
            asker.failed.connect(self.show_failure)

    def _wire_engine(self) -> None:
        link = self._link
        link.connection_changed.connect(self._on_connection)
        link.connection_failed.connect(self.show_failure)
        link.welcome.connect(self._on_welcome)
        link.cluster_changed.connect(self._on_cluster)
        link.nodes_changed.connect(self.nodes.apply)
        self.nodes.changed.connect(self._find_this_computer)
        link.cast_changed.connect(self.shown_cast.apply_summary)
        link.deliveries_changed.connect(self.shown_cast.apply_deliveries)
        link.cast_finished.connect(self._on_result)
        link.casts_removed.connect(self.transfers.remove)
        link.throughput.connect(self.header.show_rates)
        link.throughput.connect(self.transfers_card.add_throughput)

    def _follow_focus(self) -> None:
        application = QGuiApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._on_focus)

    # --- what the engine reports -------------------------------------------------------------------

    def _on_connection(self, connection: EngineLinkState) -> None:
        if connection is EngineLinkState.CONNECTED:
            self.banner.hide()  # the rest is said once the whole picture is there
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
        if notice is not None and notice != self._noticed:
            self._noticed = notice
            self.banner.show_message(lambda: explain_failure(notice), tone="warn")
        self._cluster = cluster
        self.table.set_cluster(cluster.target)
        if cluster.phase is ClusterPhase.READY:
            self._forget_trouble()
        self._show_status()

    def _forget_trouble(self) -> None:
        """Hide a failure of the cluster once the cluster is ready."""
        said, self._said = self._said, None
        if said is None or said.kind not in OF_A_CLUSTER:
            return
        if self.banner.text() == explain_failure(said).text:
            self.banner.hide()

    def _on_result(self, result: messages.CastResult) -> None:
        self.shown_cast.apply_summary(result.summary)
        self.shown_cast.apply_deliveries(result.summary.cast, result.deliveries)
        self.close_question.casts_changed()
        summary = result.summary
        failure = summary.failure
        stopped = failure is not None and failure.kind is FailureKind.CLUSTER_STOPPED
        if stopped and self._choice.was_left(summary.cluster.target or self._cluster.target):
            return  # the user has been asked, and has said so
        self.notifier.notify(result)
        if failure is not None and summary.state is not CastState.CANCELLED:
            self.show_failure(failure)

    # --- what the user asks for --------------------------------------------------------------------

    def bring_to_front(self) -> None:
        """Show the window, above the others."""
        self.setWindowState(self.windowState() & ~Qt.WindowState.WindowMinimized)
        self.show()
        self.raise_()
        self.activateWindow()

    def _on_settings(self, settings: messages.EngineSettings) -> None:
        self.header.show_limit(settings.limit)
        self.nodes.set_limit(settings.limit)
        self.welcome_page.local.demo_nodes.show_value(settings.demo_nodes)

    def _apply_preferences(self) -> None:
        self.graph.reduce_motion = self.preferences.still
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
        self.add_files(local_paths(QGuiApplication.clipboard().mimeData().urls()))

    # --- showing -------------------------------------------------------------------------------------

    def _show_cast(self, cast: str) -> None:
        summary = self.transfers.summary(cast)
        self.sheets.refresh(cast)
        here = summary is not None and self._is_here(summary)  # else its nodes are not those of the graph
        self.graph.show_cast(summary if here else None, self.transfers.deliveries(cast) if here else ())
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
        self.graph.set_nodes_editable(cluster.phase is ClusterPhase.READY and cluster.target == "local")
        self.body.middle.setCurrentWidget(self.graph if there else self.welcome_page)
        self._titled = there
        self._say_title()

    def _say_title(self) -> None:
        name = cluster_name(self._cluster, self._link.connection)
        self.setWindowTitle(f"{name} — CastRay" if self._titled else "CastRay")  # as Qt ends every title

    def _on_focus(self, before: QWidget | None, now: QWidget | None) -> None:
        ringed = isinstance(now, QPushButton | QLineEdit | Dropdown) and now.window() is self
        self.focus_ring.show_around(now if ringed and self._keyboard else None)
        self._keyboard = False

    def _running(self) -> tuple[CastSummary, ...]:
        """Casts that would stop with the engine."""
        if not self._link.connected:
            return ()
        casts = self.transfers.casts()
        return tuple(cast for cast in casts if not cast.state.finished and cast.state is not CastState.PAUSED)

    def _running_here(self) -> tuple[CastSummary, ...]:
        """The running casts on the current cluster."""
        return tuple(cast for cast in self._running() if self._is_here(cast))

    def _is_here(self, cast: CastSummary) -> bool:
        return cast.cluster.target in ("", self._cluster.target)

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
        self.body.fit(self.width(), self.height())
        if self.overlay.isVisible():
            self.overlay.setGeometry(self.rect())

    def closeEvent(self, event: QCloseEvent) -> None:
        event.ignore()
        self.close_question.close()
