"""A line that moves while the cluster comes up, with the current step and a way out."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QTimer, Signal
from PySide6.QtGui import QColor, QHideEvent, QLinearGradient, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from castray_desktop.core.messages import ClusterPhase, ClusterStatus
from castray_desktop.ui.clusters.cluster_words import step
from castray_desktop.ui.controls.widgets import ElidedLabel, button
from castray_desktop.ui.theme import BUTTON_END, BUTTON_START, Theme
from castray_desktop.ui.words import Words

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
        words = QVBoxLayout()
        words.setSpacing(6)
        words.addStretch()
        words.addWidget(self._step)
        words.addWidget(self._bar)
        words.addStretch()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(12)
        row.addLayout(words, 1)
        row.addWidget(self.cancel_button)
        self.setFixedHeight(40)
        Words(self, self._say)

    def set_status(self, cluster: ClusterStatus) -> None:
        """Show the step that the cluster is at."""
        self._status = cluster
        self._say()
        self.cancel_button.setEnabled(cluster.phase is not ClusterPhase.STOPPING)
        if cluster.phase is ClusterPhase.PLACING and cluster.nodes_total:
            share = cluster.nodes_ready / cluster.nodes_total
            self._bar.set_aim(STARTING_SHARE + (1 - STARTING_SHARE) * share)
        elif cluster.phase is ClusterPhase.PLACING:
            self._bar.set_aim(STARTING_SHARE)
        else:
            self._bar.restart()

    def _say(self) -> None:
        self._step.set_full_text(step(self._status))

    def step_text(self) -> str:
        return self._step.full_text()


class StartBar(QWidget):
    """Creeps towards what is known and never goes back: Ray doesn't say how far it is."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._shown = 0.0
        self._aim = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)
        self.setFixedHeight(4)
        theme.changed.connect(self.update)

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
