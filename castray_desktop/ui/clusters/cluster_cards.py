"""The cards of the welcome page: start a local cluster, attach to one, and the progress of either."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QHideEvent, QLinearGradient, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from castray_desktop.core.protocol.messages import (
    MOST_DEMO_NODES,
    ClusterPhase,
    ClusterStatus,
    EngineSettings,
    KnownCluster,
)
from castray_desktop.core.protocol.nodes.driver_protocol import SHARED_TARGET
from castray_desktop.ui.clusters.cluster_selector import KnownClusters, cluster_line
from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.model.cluster_text import step, target_name
from castray_desktop.ui.theme.theme import BUTTON_END, BUTTON_START, Theme
from castray_desktop.ui.widgets.basic_widgets import (
    Card,
    ElidedLabel,
    GlyphLabel,
    IconLabel,
    PrimaryButton,
    bind_text,
    button,
    icon_button,
    label,
    lay_in,
)
from castray_desktop.ui.widgets.fields import CheckBox, Stepper, TextField
from castray_desktop.ui.widgets.status_glyphs import GlyphState

TICK_MS = 40

STARTING_SHARE = 0.6  # of the bar, for bringing Ray up; the rest is for placing the nodes


class StartProgress(QWidget):
    """Takes the place of the button that started it. Signals: `cancel_requested()`."""

    cancel_requested = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._status = ClusterStatus()
        self._step = ElidedLabel("", 12, 500, "1")
        self._bar = StartBar(theme)
        self.cancel_button = button(theme, lambda: self.tr("Cancel"))
        self.cancel_button.clicked.connect(self.cancel_requested)
        words = lay_in(QVBoxLayout(), None, self._step, self._bar, None, spacing=6)
        lay_in(QHBoxLayout(self), (words, 1), self.cancel_button, spacing=12, margins=(0, 0, 0, 0))
        self.setFixedHeight(40)
        Retranslator(self, self._retranslate)

    def set_status(self, cluster: ClusterStatus) -> None:
        """Show the step that the cluster is at."""
        self._status = cluster
        self._retranslate()
        self.cancel_button.setEnabled(cluster.phase is not ClusterPhase.STOPPING)
        if cluster.phase is ClusterPhase.PLACING and cluster.nodes_total:
            share = cluster.nodes_ready / cluster.nodes_total
            self._bar.set_aim(STARTING_SHARE + (1 - STARTING_SHARE) * share)
        elif cluster.phase is ClusterPhase.PLACING:
            self._bar.set_aim(STARTING_SHARE)
        else:
            self._bar.restart()

    def _retranslate(self) -> None:
        self._step.set_full_text(step(self._status))


class StartBar(QWidget):
    """Moves towards the estimated progress and never back: Ray does not report its progress."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._shown = 0.0
        self._aim = 0.0
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self._tick)
        self.setFixedHeight(4)

    def restart(self) -> None:
        """Ray is being started (again)."""
        self._aim = STARTING_SHARE * 0.95

    def set_aim(self, share: float) -> None:
        self._aim = max(share, self._aim)
        self._shown = max(self._shown, min(share, STARTING_SHARE) * 0.98)
        self.update()

    def _tick(self) -> None:
        self._shown += (self._aim - self._shown) * 0.014
        self.update()

    def showEvent(self, event: QShowEvent) -> None:
        self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        self._timer.stop()
        self._shown = 0.0

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(self._theme.color("track"))
        painter.setBrush(self._theme.color("track"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 1.5, 1.5)
        width = max(4.0, self.width() * self._shown)
        gradient = QLinearGradient(0, 0, self.width(), 0)
        gradient.setColorAt(0, QColor(BUTTON_START))
        gradient.setColorAt(1, QColor(BUTTON_END))
        painter.fillRect(QRectF(0, 0, width, self.height()), gradient)


MOST_ROWS = 4


class ChoiceCard(Card):
    """A card for one way to get a cluster: tile, title, line, body, foot."""

    def __init__(self, theme: Theme, icon_name: str, title: Text, line: Text, points: Sequence[Text]) -> None:
        super().__init__(theme, radius=12, border="line_strong")
        self._theme = theme
        self.progress = StartProgress(theme)
        self._points = QWidget()
        self._build(icon_name, title, line, points)

    def _build(self, icon_name: str, title: Text, line: Text, points: Sequence[Text]) -> None:
        tile = IconLabel(self._theme, icon_name, "accent", 20, side=40, tile="accent_soft")
        words = lay_in(QVBoxLayout(), label(title, 14, 600), ElidedLabel(line, 12, 400, "2"), spacing=1)
        self.head = lay_in(QHBoxLayout(), tile, (words, 1), spacing=12)
        self._point_labels = [label(point, 12, 400, "2") for point in points]
        rows = [self._point(words) for words in self._point_labels]
        lay_in(QVBoxLayout(self._points), *rows, spacing=10, margins=(0, 2, 0, 0))
        self.column = lay_in(
            QVBoxLayout(self), self.head, self._points, None, spacing=14, margins=(15, 15, 15, 15)
        )

    def _point(self, words: QLabel) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(IconLabel(self._theme, "check", "ok_fill", 14, side=16), 0, Qt.AlignmentFlag.AlignTop)
        words.setWordWrap(True)
        row.addWidget(words, 1)
        return row

    def show_state(self, moving: ClusterStatus | None, enabled: bool) -> None:
        """Show how far a cluster is that is `moving`; `enabled`: whether one can be chosen."""
        self.progress.setVisible(moving is not None)
        if moving is not None:
            self.progress.set_status(moving)

    def set_short(self, short: bool, *, pointless: bool = False, tight: bool = False) -> None:
        """Show only head and foot; `pointless`: without the points in between; `tight`: closer together."""
        self._points.setVisible(not short and not pointless)
        self.column.setSpacing(10 if short or tight else 14)
        edge = 11 if short or tight else 15
        self.column.setContentsMargins(15, edge, 15, edge)


class LocalCard(ChoiceCard):
    """Start Ray here."""

    _shared = False  # whether other machines can join the one that starts, or would start

    def __init__(self, theme: Theme) -> None:
        super().__init__(
            theme,
            "laptop",
            lambda: self.tr("Start a local cluster"),
            lambda: self.tr("On this computer, in a few seconds"),
            (
                lambda: self.tr("Try every feature without any other setup"),
                lambda: self.tr("This computer and demo nodes on it, each with an inbox of its own"),
                self._reach,
            ),
        )
        self.share = CheckBox(theme, lambda: self.tr("Let other machines join"), 12)
        self.demo_nodes = Stepper(
            theme,
            lambda: self.tr("Demo nodes"),
            fewer=lambda: self.tr("Fewer demo nodes"),
            more=lambda: self.tr("More demo nodes"),
            most=MOST_DEMO_NODES,
        )
        self.demo_nodes.show_value(EngineSettings().demo_nodes)
        self._moving: ClusterStatus | None = None
        self._short = False
        self.share.toggled.connect(self._show_reach)
        self._choices = QWidget()
        name = label(lambda: self.tr("Demo nodes"), 12, 500, "2")
        row = lay_in(QHBoxLayout(), name, None, self.demo_nodes)
        lay_in(QVBoxLayout(self._choices), row, self.share, spacing=10, margins=(0, 0, 0, 0))
        self.column.addWidget(self._choices)
        self.start_button = PrimaryButton(theme, lambda: self.tr("Start local cluster"), "play")
        self.column.addWidget(self.start_button)
        self.column.addWidget(self.progress)
        self.progress.hide()

    def show_state(self, moving: ClusterStatus | None, enabled: bool) -> None:
        super().show_state(moving, enabled)
        self.start_button.setVisible(moving is None)
        self._moving = moving
        self._show_reach()
        self._show_choices()
        self.start_button.setEnabled(enabled)

    def _reach(self) -> str:
        if self._shared:
            return self.tr("Other machines can join; stops with the window")
        return self.tr("Listens on this computer only; stops with the window")

    def _show_reach(self) -> None:
        moving = self._moving
        self._shared = self.share.isChecked() if moving is None else moving.target == SHARED_TARGET
        self._point_labels[-1].setText(self._reach())

    def set_short(self, short: bool, *, pointless: bool = False, tight: bool = False) -> None:
        super().set_short(short, pointless=pointless, tight=tight)
        self._short = short
        self._show_choices()

    def _show_choices(self) -> None:
        """Hide the number of demo nodes where there is little room: it is in the settings, too."""
        self._choices.setVisible(self._moving is None and not self._short)


class ClusterRow(QWidget):
    """A cluster that was found or used before. Signals, with its target: `chosen(str)`, `forgotten(str)`."""

    chosen = Signal(str)
    forgotten = Signal(str)

    def __init__(self, theme: Theme, cluster: KnownCluster) -> None:
        super().__init__()
        state = GlyphState.ONLINE if cluster.running or cluster.in_use else GlyphState.OFFLINE
        self.cluster = cluster
        self.button = button(theme, lambda: self.tr("Attach"))
        name = ElidedLabel(lambda: target_name(cluster.target), 13, 600)
        line = ElidedLabel(lambda: cluster_line(cluster), 12, 400, "2")
        if not cluster_line(cluster):
            line.hide()  # the name is in the middle then
        words = lay_in(QVBoxLayout(), name, line, spacing=0)
        layout = lay_in(
            QHBoxLayout(self), GlyphLabel(theme, state), (words, 1), spacing=8, margins=(0, 4, 0, 4)
        )
        if not cluster.running and not cluster.in_use:
            forget = icon_button(theme, "x", lambda: self.tr("Remove this cluster"), side=24, size=14)
            forget.clicked.connect(lambda: self.forgotten.emit(cluster.target))
            layout.addWidget(forget)
        layout.addWidget(self.button)
        self.button.clicked.connect(lambda: self.chosen.emit(cluster.target))
        bind_text(
            self.button,
            self.button.setAccessibleName,
            lambda: self.tr("Attach to {target}").format(target=target_name(cluster.target)),
        )


class AttachCard(ChoiceCard):
    """Join a Ray cluster that runs. Signals: `chosen(str)` with the address."""

    chosen = Signal(str)

    def __init__(self, theme: Theme, known: KnownClusters) -> None:
        super().__init__(
            theme,
            "network",
            lambda: self.tr("Attach to a cluster"),
            lambda: self.tr("One that runs here or elsewhere"),
            (
                lambda: self.tr("Every machine of the cluster becomes a node"),
                lambda: self.tr("Data goes straight from machine to machine wherever firewalls allow it"),
                lambda: self.tr("Jobs running on the cluster are not affected"),
            ),
        )
        self._known = known
        self._short = self._pointless = False
        self._most_rows = MOST_ROWS
        self.rows: list[ClusterRow] = []
        self._found = QWidget()
        self._list = lay_in(QVBoxLayout(self._found), spacing=0)
        self.refresh_button = icon_button(theme, "refresh-cw", lambda: self.tr("Search again"), side=28)
        self.refresh_button.clicked.connect(known.refresh)
        self.head.addWidget(self.refresh_button)
        self.column.insertWidget(2, self._found)
        self.address = TextField(lambda: self.tr("Address of the cluster"))
        self.address.setPlaceholderText("host:6379, ray://host:10001")
        self.attach_button = button(theme, lambda: self.tr("Attach"), height=32)
        self._foot = QWidget()
        parts = ((self.address, 1), self.attach_button)
        lay_in(QHBoxLayout(self._foot), *parts, spacing=8, margins=(0, 4, 0, 4))
        self.column.addWidget(self._foot)
        self.column.addWidget(self.progress)
        self.progress.hide()
        self._enabled = False
        self.address.textChanged.connect(self._refresh)
        self.address.returnPressed.connect(self._choose)
        self.attach_button.clicked.connect(self._choose)
        known.changed.connect(self._show_known)
        self._show_known()
        self._refresh()

    def show_state(self, moving: ClusterStatus | None, enabled: bool) -> None:
        super().show_state(moving, enabled)
        self._foot.setVisible(moving is None)
        self._enabled = enabled
        self._refresh()

    def set_short(self, short: bool, *, pointless: bool = False, tight: bool = False) -> None:
        self._short, self._pointless = short, pointless
        super().set_short(short or bool(self.rows), pointless=pointless, tight=tight)

    def set_most_rows(self, count: int) -> None:
        """Show at most this many of the clusters that were found; the header's menu lists all that run."""
        self._most_rows = count
        for number, row in enumerate(self.rows):
            row.setVisible(number < count)
        self._found.setVisible(bool(self.rows) and count > 0)
        self._found.updateGeometry()

    def _show_known(self) -> None:
        """Show the clusters that were found instead of the points."""
        for old in self.rows:
            old.hide()
            old.deleteLater()
        self.rows = []
        for cluster in self._known.others()[:MOST_ROWS]:
            row = ClusterRow(self._theme, cluster)
            row.chosen.connect(self.chosen)
            row.forgotten.connect(self._known.forget)
            self.rows.append(row)
            self._list.addWidget(row)
        self.set_short(self._short, pointless=self._pointless)
        self.set_most_rows(self._most_rows)
        self._refresh()

    def _refresh(self) -> None:
        self.address.setEnabled(self._enabled)
        self.attach_button.setEnabled(self._enabled and bool(self.address.text().strip()))
        for row in self.rows:
            row.button.setEnabled(self._enabled)

    def _choose(self) -> None:
        if self.attach_button.isEnabled():
            self.chosen.emit(self.address.text().strip())
