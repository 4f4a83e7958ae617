"""The button that shows the cluster and its state, and its menu."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from castray_desktop.core.protocol.messages import LOCAL_TARGET, ClusterPhase, ClusterStatus
from castray_desktop.core.protocol.nodes.driver_protocol import OWN_TARGETS, SHARED_TARGET
from castray_desktop.ui.clusters.cluster_selector import KnownClusters, cluster_line
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.model.cluster_text import cluster_facts, cluster_glyph, cluster_name, target_name
from castray_desktop.ui.model.engine_link import EngineLinkState
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import BUTTON_RADIUS, paint_icon, paint_round
from castray_desktop.ui.widgets.painting import icon, metrics, paint_text
from castray_desktop.ui.widgets.popups import add_choice
from castray_desktop.ui.widgets.status_glyphs import paint_glyph


class ClusterChip(QPushButton):
    """The cluster in one line: state, name, address, facts; opens the cluster's menu."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._compact = False
        self.cluster = ClusterStatus()
        self.connection = EngineLinkState.CONNECTING
        self.setFixedHeight(36)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        Retranslator(self, self._describe)

    def set_status(self, cluster: ClusterStatus, connection: EngineLinkState) -> None:
        self.cluster = cluster
        self.connection = connection
        self._describe()

    def set_compact(self, compact: bool) -> None:
        self._compact = compact
        self.updateGeometry()
        self.update()

    def texts(self) -> tuple[str, str, str]:
        """Name, address and facts, as shown."""
        name = cluster_name(self.cluster, self.connection)
        facts = cluster_facts(self.cluster, self.connection, short=self._compact)
        shown = (
            self.cluster.phase is ClusterPhase.READY and self.cluster.address != name and not self._compact
        )
        return name, self.cluster.address if shown else "", facts

    def _describe(self) -> None:
        name = cluster_name(self.cluster, self.connection)
        facts = cluster_facts(self.cluster, self.connection, short=False)
        words = [word for word in dict.fromkeys((name, self.cluster.address, facts)) if word]
        self.setAccessibleName(self.tr("Cluster: {state}").format(state=", ".join(words)))
        self.setToolTip("\n".join(words))
        self.updateGeometry()
        self.update()

    def _width(self) -> int:
        name, address, facts = self.texts()
        width = 12 + 14 + 8 + _advance(name, 13, 600)
        if address:
            width += 8 + _advance(address, 12, 400)
        if facts:
            width += 25 + _advance(facts, 12, 400)
        return width + 8 + 16 + 12

    def sizeHint(self) -> QSize:
        return QSize(self._width() + 4, 36)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self._theme.palette
        fill = palette.selected if self.isDown() else palette.hover if self.underMouse() else palette.inset
        paint_round(painter, QRectF(self.rect()), BUTTON_RADIUS, QColor(fill), QColor(palette.line_strong))
        glyph = QRectF(12, 11, 14, 14)
        paint_glyph(painter, glyph, cluster_glyph(self.cluster, self.connection), palette)
        name, address, facts = self.texts()
        x = self._text(painter, 34, name, 13, 600, palette.text)
        if address:
            x = self._text(painter, x + 8, address, 12, 400, palette.text_2)
        if facts:
            painter.fillRect(x + 12, 10, 1, 16, self._theme.color("line_strong"))
            tone = palette.bad if self.cluster.phase is ClusterPhase.FAILED else palette.text_2
            x = self._text(painter, x + 25, facts, 12, 400, tone)
        paint_icon(painter, QRect(x + 8, 0, 16, self.height()), "chevron-down", palette.text_2, 16)

    def _text(self, painter: QPainter, x: int, text: str, size: int, weight: int, color: str) -> int:
        rect = QRectF(x, 0, self.width() - x, self.height())
        return x + round(paint_text(painter, rect, text, color, size, weight, tabular=True))


def _advance(text: str, size: int, weight: int) -> int:
    return round(metrics(size, weight, tabular=True).horizontalAdvance(text))


class ClusterMenu(QMenu):
    """What can be done with clusters now, filled when it opens.

    Signals: `use_requested(str)` with a target, `attach_requested()`, `leave_requested()`,
    `share_requested()`, `add_node_requested()`.
    """

    use_requested = Signal(str)
    attach_requested = Signal()
    leave_requested = Signal()
    share_requested = Signal()
    add_node_requested = Signal()

    def __init__(self, theme: Theme, chip: ClusterChip, known: KnownClusters | None, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme, self._chip, self._known = theme, chip, known
        self.aboutToShow.connect(self._fill)

    def _fill(self) -> None:
        self.clear()
        color = self._theme.palette.text_2
        phase, target = self._chip.cluster.phase, self._chip.cluster.target
        there = phase in (ClusterPhase.READY, ClusterPhase.RECONNECTING)
        free = phase in (ClusterPhase.NONE, ClusterPhase.FAILED)
        self._add_known(target if there else "")
        if phase is ClusterPhase.READY and target in OWN_TARGETS:
            self.addAction(icon("plus", color), self.tr("Add node…"), self.add_node_requested.emit)
        if free or (there and target not in OWN_TARGETS):
            use = partial(self.use_requested.emit, LOCAL_TARGET)
            self.addAction(icon("play", color), self.tr("Start local cluster"), use)
        if free or there:
            self.addAction(icon("link", color), self.tr("Attach to a cluster…"), self.attach_requested.emit)
            self.addAction(
                icon("share-2", color), self.tr("Let other machines join…"), self.share_requested.emit
            )
        if not free:
            self.addSeparator()
            self._add_leaving(phase, target)

    def _add_known(self, current: str) -> None:
        """The clusters that can be switched to at once."""
        clusters = self._known.clusters if self._known is not None else ()
        shown = [each for each in clusters if each.in_use or each.running or each.last_used]
        if not any(each.target != current for each in shown):
            return
        for cluster in shown[:12]:
            text = " · ".join(filter(None, (target_name(cluster.target), cluster_line(cluster))))
            use = partial(self.use_requested.emit, cluster.target)
            add_choice(self, text, use, chosen=cluster.target == current)
        self.addSeparator()

    def _add_leaving(self, phase: ClusterPhase, target: str) -> None:
        color = self._theme.palette.text_2
        if phase in (ClusterPhase.STARTING, ClusterPhase.PREPARING, ClusterPhase.PLACING):
            self.addAction(icon("x", color), self.tr("Cancel"), self.leave_requested.emit)
        elif target in OWN_TARGETS:
            shared = target == SHARED_TARGET
            text = self.tr("Stop shared cluster") if shared else self.tr("Stop local cluster")
            self.addAction(icon("circle-stop", color), text, self.leave_requested.emit)
        else:
            self.addAction(icon("unplug", color), self.tr("Detach"), self.leave_requested.emit)
