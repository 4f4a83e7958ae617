"""What stands in the middle while there is no cluster: choose one, watch it start, read why it failed."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QLinearGradient,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from castray_desktop.core.messages import ClusterPhase, ClusterStatus
from castray_desktop.ui.banner import Banner
from castray_desktop.ui.cluster_words import explain_failure
from castray_desktop.ui.fonts import font
from castray_desktop.ui.start_progress import StartProgress
from castray_desktop.ui.theme import BRAND_END, BRAND_START, ON_GRADIENT, SOURCE_START, Theme, mix
from castray_desktop.ui.widgets import (
    Card,
    ElidedLabel,
    IconLabel,
    PrimaryButton,
    button,
    label,
    paint_icon,
    say,
)
from castray_desktop.ui.words import Text, Words

LOCAL = "local"
NARROW_WIDTH = 640
LOW_HEIGHT = 440
ON_THEIR_WAY = (
    ClusterPhase.STARTING,
    ClusterPhase.PREPARING,
    ClusterPhase.PLACING,
    ClusterPhase.STOPPING,
    ClusterPhase.RECONNECTING,
)


class WelcomePage(Card):
    """The page to choose a cluster on.

    Signals: `start_requested(str)` with the target ("local", or an address), `cancel_requested()`.
    """

    start_requested = Signal(str)
    cancel_requested = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme)
        self._theme = theme
        self._status = ClusterStatus()
        self._shape: tuple[bool, bool, bool] | None = None
        self.illustration = RelayPicture(theme)
        self._title = label("", 20, 600)
        self._sentence = label("", 13, 400, "2")
        self._sentence.setWordWrap(True)
        self._sentence.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.banner = Banner(theme, "bad")
        self.local = LocalCard(theme)
        self.attach = AttachCard(theme)
        self._build()
        self.local.start_button.clicked.connect(self._start_local)
        self.banner.dismissed.connect(self._fit)
        self.attach.chosen.connect(self.start_requested)
        for progress in (self.local.progress, self.attach.progress):
            progress.cancel_requested.connect(self.cancel_requested)
        Words(self, self._say)

    def set_status(self, cluster: ClusterStatus, connected: bool) -> None:
        """Where the cluster stands; `connected` says whether the engine can be asked for one."""
        self._status = cluster
        moving = cluster.phase in ON_THEIR_WAY
        local = moving and cluster.target == LOCAL
        attaching = moving and cluster.target != LOCAL
        self.local.show_state(cluster if local else None, connected and not moving)
        self.attach.show_state(cluster if attaching else None, connected and not moving)
        self._say()
        self._show_failure(cluster)

    def _say(self) -> None:
        cluster = self._status
        if cluster.phase not in ON_THEIR_WAY:
            title = self.tr("Choose a cluster to send to")
        elif cluster.target == LOCAL:
            title = self.tr("Your local cluster is on its way")
        else:
            title = self.tr("On the way to {target}").format(target=cluster.target)
        self._title.setText(title)
        self._sentence.setText(
            self.tr("Your computer uploads once, every node passes it on, every copy is checked by hash.")
        )

    def focus_address(self) -> None:
        """Put the cursor where an address is typed."""
        self.attach.address.setFocus(Qt.FocusReason.OtherFocusReason)

    def _start_local(self) -> None:
        self.start_requested.emit(LOCAL)

    def _show_failure(self, cluster: ClusterStatus) -> None:
        failure = cluster.failure
        if cluster.phase is not ClusterPhase.FAILED or failure is None:
            self.banner.hide()
        else:
            self.banner.show_message(
                lambda: explain_failure(failure),
                (lambda: self.tr("Try again"), lambda: self.start_requested.emit(cluster.target or LOCAL)),
            )
        self._fit()

    def _build(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 12, 16, 12)
        column.setSpacing(0)
        center = Qt.AlignmentFlag.AlignHCenter
        column.addStretch(3)
        column.addWidget(self.illustration, 0, center)
        self._picture_gap = QWidget()
        self._picture_gap.setFixedHeight(14)
        column.addWidget(self._picture_gap)
        column.addWidget(self._title, 0, center)
        column.addSpacing(4)
        column.addWidget(self._sentence)
        column.addSpacing(16)
        self._cards = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._cards.setSpacing(16)
        self._cards.addWidget(self.local, 304)
        self._cards.addWidget(self.attach, 368)
        inner = QHBoxLayout()
        inner.addStretch(1)
        holder = QWidget()
        holder.setMaximumWidth(688)
        lower = QVBoxLayout(holder)
        lower.setContentsMargins(0, 0, 0, 0)
        lower.setSpacing(16)
        lower.addWidget(self.banner)
        lower.addLayout(self._cards)
        inner.addWidget(holder, 1000)
        inner.addStretch(1)
        column.addLayout(inner)
        column.addStretch(4)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Leave out what there is no room for."""
        narrow = self.width() < NARROW_WIDTH
        telling = not self.banner.isHidden()
        low = self.height() < LOW_HEIGHT or telling
        if (narrow, low, telling) == self._shape:
            return
        self._shape = (narrow, low, telling)
        for words in (self._title, self._sentence):
            words.setVisible(not (narrow and telling))
        direction = QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight
        self._cards.setDirection(direction)
        self._cards.setSpacing(8 if narrow else 16)
        self.illustration.setVisible(not narrow and not low)
        self._picture_gap.setVisible(not narrow and not low)
        for card in (self.local, self.attach):
            card.set_short(narrow)


class ChoiceCard(Card):
    """A way to come by a cluster: tile, title, line, body, foot."""

    def __init__(self, theme: Theme, icon_name: str, title: Text, line: Text, points: Sequence[Text]) -> None:
        super().__init__(theme, radius=12, border="line_strong")
        self._theme = theme
        self.progress = StartProgress(theme)
        self._points = QWidget()
        self._build(icon_name, title, line, points)

    def _build(self, icon_name: str, title: Text, line: Text, points: Sequence[Text]) -> None:
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(IconLabel(self._theme, icon_name, "accent", 20, side=40, tile="accent_soft"))
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addWidget(label(title, 14, 600))
        words.addWidget(ElidedLabel(line, 12, 400, "2"))
        head.addLayout(words, 1)
        rows = QVBoxLayout(self._points)
        rows.setContentsMargins(0, 2, 0, 0)
        rows.setSpacing(10)
        for point in points:
            rows.addLayout(self._point(point))
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(15, 15, 15, 15)
        self.column.setSpacing(14)
        self.column.addLayout(head)
        self.column.addWidget(self._points)
        self.column.addStretch()

    def _point(self, text: Text) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(IconLabel(self._theme, "check", "ok_fill", 14, side=16), 0, Qt.AlignmentFlag.AlignTop)
        words = label(text, 12, 400, "2")
        words.setWordWrap(True)
        row.addWidget(words, 1)
        return row

    def set_short(self, short: bool) -> None:
        """Head and foot only."""
        self._points.setVisible(not short)
        self.column.setSpacing(10 if short else 14)
        edge = 11 if short else 15
        self.column.setContentsMargins(15, edge, 15, edge)


class LocalCard(ChoiceCard):
    """Start Ray here."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(
            theme,
            "laptop",
            lambda: self.tr("Start a local cluster"),
            lambda: self.tr("On this computer, in a few seconds"),
            (
                lambda: self.tr("Nothing else is needed to try every feature"),
                lambda: self.tr("This computer and three demo nodes, each with an inbox of its own"),
                lambda: self.tr("Listens on this computer only, ends with the window"),
            ),
        )
        self.start_button = PrimaryButton(theme, lambda: self.tr("Start local cluster"), "play")
        self.column.addWidget(self.start_button)
        self.column.addWidget(self.progress)
        self.progress.hide()

    def show_state(self, moving: ClusterStatus | None, enabled: bool) -> None:
        """`moving`: this cluster is on its way."""
        self.start_button.setVisible(moving is None)
        self.progress.setVisible(moving is not None)
        if moving is not None:
            self.progress.set_status(moving)
        self.start_button.setEnabled(enabled)


class AttachCard(ChoiceCard):
    """Join a Ray cluster that runs. Signals: `chosen(str)` with the address."""

    chosen = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__(
            theme,
            "network",
            lambda: self.tr("Attach to a cluster"),
            lambda: self.tr("Ray already runs, here or elsewhere"),
            (
                lambda: self.tr("Every machine of the cluster becomes a node"),
                lambda: self.tr("Bytes go straight from machine to machine, never through Ray's memory"),
                lambda: self.tr("What runs on the cluster is left alone"),
            ),
        )
        self.address = QLineEdit()
        self.attach_button = button(theme, lambda: self.tr("Attach"), height=32)
        self._foot = QWidget()
        self._build_foot()
        self.column.addWidget(self._foot)
        self.column.addWidget(self.progress)
        self.progress.hide()
        self._enabled = False
        self.address.textChanged.connect(self._refresh)
        self.address.returnPressed.connect(self._choose)
        self.attach_button.clicked.connect(self._choose)
        self._refresh()

    def show_state(self, moving: ClusterStatus | None, enabled: bool) -> None:
        """`moving`: that cluster is being attached."""
        self._foot.setVisible(moving is None)
        self.progress.setVisible(moving is not None)
        if moving is not None:
            self.progress.set_status(moving)
        self._enabled = enabled
        self._refresh()

    def _build_foot(self) -> None:
        self.address.setFixedHeight(32)
        self.address.setFont(font(13))
        self.address.setPlaceholderText("host:6379")
        say(self.address, self.address.setAccessibleName, lambda: self.tr("Address of the cluster"))
        row = QHBoxLayout(self._foot)
        row.setContentsMargins(0, 4, 0, 4)
        row.setSpacing(8)
        row.addWidget(self.address, 1)
        row.addWidget(self.attach_button)

    def _refresh(self) -> None:
        self.address.setEnabled(self._enabled)
        self.attach_button.setEnabled(self._enabled and bool(self.address.text().strip()))

    def _choose(self) -> None:
        if self.attach_button.isEnabled():
            self.chosen.emit(self.address.text().strip())


class RelayPicture(QWidget):
    """One source, three copies, each from the one before."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.setFixedSize(265, 65)
        theme.changed.connect(self.update)

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
