"""The page without a cluster: what the relay does, and ways to get a cluster."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint, QPointF, QRect, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QLinearGradient,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QVBoxLayout, QWidget

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import LOCAL_TARGET, ClusterPhase, ClusterStatus
from castray_desktop.core.protocol.nodes.driver_protocol import OWN_TARGETS, SHARED_TARGET
from castray_desktop.ui.clusters.cluster_cards import MOST_ROWS, AttachCard, LocalCard
from castray_desktop.ui.clusters.cluster_selector import KnownClusters
from castray_desktop.ui.i18n.failure_text import explain_failure
from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.theme.theme import BRAND_END, BRAND_START, ON_GRADIENT, SOURCE_START, Theme, mix
from castray_desktop.ui.widgets.banner import Banner, Edge
from castray_desktop.ui.widgets.basic_widgets import Card, button, label, lay_in, paint_icon


class RelayPicture(QWidget):
    """One source, three copies, each from the one before."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.setFixedSize(265, 65)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._source(painter)
        for number in range(3):
            self._hop(painter, 57 + number * 68, number)
            self._node(painter, 101 + number * 68, number)

    def _source(self, painter: QPainter) -> None:
        gradient = QLinearGradient(6, 6, 58, 58)
        gradient.setColorAt(0, QColor(SOURCE_START))
        gradient.setColorAt(1, QColor(BRAND_END))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawEllipse(QPointF(27, 32), 26, 26)
        paint_icon(painter, QRect(15, 20, 24, 24), "monitor-up", ON_GRADIENT, 24)

    def _color(self, number: float) -> QColor:
        start, end = (
            (self._theme.palette.path_start, self._theme.palette.path_end)
            if self._theme.dark
            else (BRAND_START, BRAND_END)
        )
        return mix(start, end, number / 3)

    def _hop(self, painter: QPainter, x: float, number: int) -> None:
        color = self._color(number + 0.3)
        painter.setPen(QPen(color, 3.5, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawLine(QPointF(x, 32), QPointF(x + 10, 32))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        painter.drawPolygon(QPolygonF([QPointF(x + 9, 26), QPointF(x + 20, 32), QPointF(x + 9, 38)]))

    def _node(self, painter: QPainter, x: float, number: int) -> None:
        painter.setPen(QPen(self._color(number + 0.7), 2))
        painter.setBrush(self._theme.color("card"))
        painter.drawEllipse(QRectF(x - 20, 13, 38, 38))
        pen = QPen(self._theme.color("ok_fill"), 2.6, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        painter.drawPolyline(QPolygonF([QPointF(x - 8, 32), QPointF(x - 3, 37.5), QPointF(x + 7, 26.5)]))


NARROW_WIDTH = 640

MOST_LEFT_OUT = 5

ON_THEIR_WAY = (
    ClusterPhase.STARTING,
    ClusterPhase.PREPARING,
    ClusterPhase.PLACING,
    ClusterPhase.STOPPING,
    ClusterPhase.RECONNECTING,
)


class WelcomePage(Card):
    """The page to choose a cluster on.

    Signals: `start_requested(str)` with the target ("local", or an address), `share_requested()` for a local
    cluster that others can join, `cancel_requested()`, `back_requested()` to the cluster that is in use;
    `prepare_requested(str)` for a driver with another Ray, `join_requested(str)` to become a node.
    """

    start_requested = Signal(str)
    share_requested = Signal()
    prepare_requested = Signal(str)
    join_requested = Signal(str)
    cancel_requested = Signal()
    back_requested = Signal()

    def __init__(self, theme: Theme, known: KnownClusters) -> None:
        super().__init__(theme)
        self._theme = theme
        self._status = ClusterStatus()
        self._fitting = False
        self._pictured = True
        self.illustration = RelayPicture(theme)
        self._title = label("", 20, 600)
        self._sentence = label("", 13, 400, "2")
        self._sentence.setWordWrap(True)
        self._sentence.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.banner = Banner(theme, "bad")
        self.local = LocalCard(theme)
        self.attach = AttachCard(theme, known)
        self.back_button = button(theme, lambda: self.tr("Back to the nodes"), "chevron-left", kind="flat")
        self.back_button.clicked.connect(self.back_requested)
        self._build()
        self.local.start_button.clicked.connect(self._start_local)
        self.banner.gone.connect(self._fit)
        known.changed.connect(
            lambda: QTimer.singleShot(0, self, self._fit)
        )  # once the new rows have their size
        self.attach.chosen.connect(self.start_requested)
        for progress in (self.local.progress, self.attach.progress):
            progress.cancel_requested.connect(self.cancel_requested)
        Retranslator(self, self._retranslate)

    def set_status(self, cluster: ClusterStatus, connected: bool) -> None:
        """Show the state of the cluster; `connected` says whether the engine can be asked for one."""
        self._status = cluster
        moving = cluster.phase in ON_THEIR_WAY
        self.back_button.setVisible(cluster.phase is ClusterPhase.READY)
        local = moving and cluster.target in OWN_TARGETS
        attaching = moving and cluster.target not in OWN_TARGETS
        self.local.show_state(cluster if local else None, connected and not moving)
        self.attach.show_state(cluster if attaching else None, connected and not moving)
        self._retranslate()
        self._show_failure(cluster)

    def _retranslate(self) -> None:
        cluster = self._status
        if cluster.phase not in ON_THEIR_WAY or cluster.phase is ClusterPhase.STOPPING:
            title = self.tr("Choose a cluster to send to")
        elif cluster.target == SHARED_TARGET:
            title = self.tr("Your shared cluster is starting")
        elif cluster.target in OWN_TARGETS:
            title = self.tr("Your local cluster is starting")
        else:
            title = self.tr("Connecting to {target}").format(target=cluster.target)
        self._title.setText(title)
        self._sentence.setText(
            self.tr(
                "Your computer uploads once, every node passes the data on, and every copy is"
                " verified by hash."
            )
        )

    def focus_address(self) -> None:
        """Focus the field for an address."""
        self.attach.address.setFocus(Qt.FocusReason.OtherFocusReason)

    def _start_local(self) -> None:
        if self.local.share.isChecked():
            self.share_requested.emit()
        else:
            self.start_requested.emit(LOCAL_TARGET)

    def _show_failure(self, cluster: ClusterStatus) -> None:
        failure, notice = cluster.failure, cluster.notice
        if cluster.phase is ClusterPhase.FAILED and failure is not None:
            self.banner.show_message(lambda: explain_failure(failure), *self._ways_out(cluster, failure))
        elif cluster.phase is ClusterPhase.STARTING and notice is not None:
            self.banner.show_message(lambda: explain_failure(notice), tone="warn")
        else:
            self.banner.hide()
        self._fit()
        QTimer.singleShot(0, self, self._fit)  # once the cards have the size of their new contents

    def _ways_out(self, cluster: ClusterStatus, failure: Failure) -> list[tuple[Text, Callable[[], None]]]:
        """The actions that this page offers."""
        target = cluster.target
        actions: list[tuple[Text, Callable[[], None]]] = []
        if failure.kind is FailureKind.RAY_DIFFERS:
            actions.append((lambda: self.tr("Prepare a driver"), lambda: self.prepare_requested.emit(target)))
        elif failure.kind in (FailureKind.NOT_A_NODE, FailureKind.NODE_OF_ANOTHER):
            actions.append((lambda: self.tr("Join as a node"), lambda: self.join_requested.emit(target)))
        return [
            *actions,
            (lambda: self.tr("Try again"), lambda: self.start_requested.emit(target or LOCAL_TARGET)),
        ]

    def _build(self) -> None:
        column = lay_in(QVBoxLayout(self), spacing=0, margins=(16, 12, 16, 12))
        center = Qt.AlignmentFlag.AlignHCenter
        column.addWidget(self.back_button, 0, Qt.AlignmentFlag.AlignLeft)
        column.addStretch(3)
        self._head = QWidget()
        kept = self._head.sizePolicy()
        kept.setRetainSizeWhenHidden(True)  # a message takes its place, and the cards stay where they are
        self._head.setSizePolicy(kept)
        head = lay_in(QVBoxLayout(self._head), spacing=0, margins=(0, 0, 0, 0))
        head.addWidget(self.illustration, 0, center)
        self._picture_gap = QWidget()
        self._picture_gap.setFixedHeight(14)
        head.addWidget(self._picture_gap)
        head.addWidget(self._title, 0, center)
        head.addSpacing(4)
        head.addWidget(self._sentence)
        column.addWidget(self._head)
        column.addSpacing(16)
        self._cards = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._cards.setSpacing(16)
        self._cards.addWidget(self.local, 304)
        self._cards.addWidget(self.attach, 368)
        self._holder = QWidget()
        self._holder.setMaximumWidth(688)
        self._holder.setLayout(self._cards)
        self._cards.setContentsMargins(0, 0, 0, 0)
        inner = QHBoxLayout()
        inner.addStretch(1)
        inner.addWidget(self._holder, 1000)
        inner.addStretch(1)
        column.addLayout(inner)
        column.addStretch(4)
        self.banner.float_over(self, self._room_for_messages, Edge.BOTTOM)

    def _room_for_messages(self) -> QRect:
        """Above the title if a message fits there, else above the cards."""
        cards = self._holder.geometry()
        return QRect(cards.left(), 8, cards.width(), max(0, self._message_floor() - 16))

    def _message_floor(self) -> int:
        """Where the room for messages ends: at the title, or at the cards if they need its place."""
        cards = self._holder.geometry()
        title = self._title.mapTo(self, QPoint()).y() if self._pictured else 0
        return title if title - 16 >= self.banner.needed_height(cards.width()) else cards.top()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        QTimer.singleShot(0, self, self._fit)  # parts that came while it was hidden have their size by then

    def _fit(self) -> None:
        """Leave out what there is no room for, the least important first."""
        layout = self.layout()
        if self._fitting or layout is None:
            return
        self._fitting = True
        for left_out in range(MOST_LEFT_OUT + 1):
            self._leave_out(left_out)
            for part in (self.local, self.attach, self._head, self._holder):  # else Qt tells it later
                part.updateGeometry()
            least = layout.totalMinimumSize().height()
            if max(least, layout.totalHeightForWidth(self.width())) <= self.height():
                break
        layout.activate()
        message = not self.banner.isHidden()
        self.illustration.setVisible(self._pictured and not message)
        self._head.setVisible(not message or self._message_floor() < self._holder.y())
        self.banner.place()
        self._fitting = False

    def _retain_picture(self, retained: bool) -> None:
        """Whether the picture has its place in the layout, also while a message is there."""
        policy = self.illustration.sizePolicy()
        policy.setRetainSizeWhenHidden(retained)
        self.illustration.setSizePolicy(policy)
        self.illustration.setVisible(retained)

    def _leave_out(self, count: int) -> None:
        """Hide the first `count` of: picture, points of the cards, sentence, clusters but one, that one."""
        narrow = self.width() < NARROW_WIDTH
        self._sentence.setVisible(count < 3)
        self.attach.set_most_rows(0 if count > 4 else 1 if narrow or count > 3 else MOST_ROWS)
        direction = QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight
        self._cards.setDirection(direction)
        self._cards.setSpacing(8 if narrow else 16)
        self._pictured = not narrow and not count
        self._retain_picture(self._pictured)
        self._picture_gap.setVisible(self._pictured)
        for card in (self.local, self.attach):
            # Both are tight or none is, so that their titles are in line.
            card.set_short(narrow, pointless=count > 1, tight=bool(self.attach.rows))
