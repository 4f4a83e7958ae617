"""The strip on top: who we are, which cluster, how fast, light or dark."""

from __future__ import annotations

from collections import deque
from functools import partial

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QActionGroup,
    QColor,
    QFontMetrics,
    QLinearGradient,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from castray_desktop.core.messages import ClusterPhase, ClusterStatus, Throughput
from castray_desktop.ui.cluster_words import cluster_facts, cluster_glyph, cluster_name
from castray_desktop.ui.connection import Connection
from castray_desktop.ui.fonts import font
from castray_desktop.ui.glyphs import paint_glyph
from castray_desktop.ui.icons import icon
from castray_desktop.ui.language import CHINESE, CHOICES, ENGLISH, SYSTEM, Language
from castray_desktop.ui.resources import resource
from castray_desktop.ui.theme import BRAND_END, BRAND_START, Theme
from castray_desktop.ui.units import format_rate
from castray_desktop.ui.widgets import (
    BUTTON_RADIUS,
    IconTint,
    Rule,
    icon_button,
    label,
    paint_icon,
    paint_round,
    say,
    set_tone,
)
from castray_desktop.ui.words import Words

HEIGHT = 56
SPARK_POINTS = 72


class Header(QWidget):
    """The header.

    Signals: `start_requested()` for the local cluster, `attach_requested()`, `leave_requested()`,
    `add_node_requested()`.
    """

    start_requested = Signal()
    attach_requested = Signal()
    leave_requested = Signal()
    add_node_requested = Signal()

    def __init__(self, theme: Theme, language: Language, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme, self._language = theme, language
        self._upload_rate: float | None = None
        self.setFixedHeight(HEIGHT)
        self.chip = ClusterChip(theme)
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill_menu)
        self.chip.setMenu(self._menu)
        self.sparkline = Sparkline(theme)
        self.total = label("", 15, 600, tabular=True)
        self.upload = label("", 11, 400, "2", tabular=True)
        self.theme_button = icon_button(theme, "moon", "", side=32, size=18)
        self.language_button = icon_button(theme, "languages", "", side=32, size=18)
        self.language_menu = QMenu(self)
        self.language_menu.aboutToShow.connect(self._fill_language_menu)
        self.language_button.setMenu(self.language_menu)
        self._theme_tint = self.theme_button.findChild(IconTint)
        self.theme_button.clicked.connect(self._toggle_theme)
        self._build()
        theme.changed.connect(self._show_theme)
        self.show_rates(None)
        Words(self, self._say)

    def _build(self) -> None:
        rates = QVBoxLayout()
        rates.setSpacing(0)
        rates.addStretch()
        rates.addWidget(self.total)
        rates.addWidget(self.upload)
        rates.addStretch()
        self.total.setMinimumWidth(112)
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 3, 16, 1)
        row.setSpacing(0)
        row.addWidget(AppMark())
        row.addSpacing(12)
        row.addWidget(label("CastRay", 15, 700))
        row.addSpacing(24)
        row.addWidget(self.chip)
        row.addStretch()
        row.addWidget(self.sparkline)
        row.addSpacing(12)
        row.addLayout(rates)
        row.addSpacing(12)
        row.addWidget(Rule(self._theme, upright=True, length=24))
        row.addSpacing(12)
        row.addWidget(self.language_button)
        row.addSpacing(4)
        row.addWidget(self.theme_button)

    def _say(self) -> None:
        # In both languages: whoever wants the other one may not read this one.
        name = self.tr("Language") + (" / 语言" if self._language.spoken == ENGLISH else " / Language")
        self.language_button.setToolTip(name)
        self.language_button.setAccessibleName(name)
        self._show_theme()
        self._show_upload()

    def set_status(self, cluster: ClusterStatus, connection: Connection) -> None:
        """What the chip says."""
        self.chip.set_status(cluster, connection)

    def set_compact(self, compact: bool) -> None:
        """Less beside the name where the window is small."""
        self.sparkline.setVisible(not compact)
        self.chip.set_compact(compact)

    def show_rates(self, throughput: Throughput | None) -> None:
        """The traffic now; None where nothing moves."""
        total = throughput.total if throughput is not None else 0.0
        upload = throughput.upload if throughput is not None else 0.0
        idle = total < 1 and upload < 1
        self.total.setText(format_rate(total))
        set_tone(self.total, "2" if idle else "1")
        self._upload_rate = None if idle else upload
        self._show_upload()
        self.sparkline.add(total)

    def _show_upload(self) -> None:
        rate = self._upload_rate
        here = self.tr("↑ {rate} from here")
        self.upload.setText(self.tr("Idle") if rate is None else here.format(rate=format_rate(rate)))

    def _fill_menu(self) -> None:
        menu = self._menu
        menu.clear()
        color = self._theme.palette.text_2
        phase = self.chip.cluster.phase
        local = self.chip.cluster.target == "local"
        if phase in (ClusterPhase.NONE, ClusterPhase.FAILED):
            menu.addAction(icon("play", color), self.tr("Start local cluster"), self.start_requested.emit)
            menu.addAction(icon("link", color), self.tr("Attach to a cluster…"), self.attach_requested.emit)
        elif phase in (ClusterPhase.STARTING, ClusterPhase.PREPARING, ClusterPhase.PLACING):
            menu.addAction(icon("x", color), self.tr("Cancel"), self.leave_requested.emit)
        elif local:
            if phase is ClusterPhase.READY:
                menu.addAction(icon("plus", color), self.tr("Add node…"), self.add_node_requested.emit)
            menu.addAction(icon("square", color), self.tr("Stop local cluster"), self.leave_requested.emit)
        else:
            menu.addAction(icon("unplug", color), self.tr("Detach"), self.leave_requested.emit)

    def choose_language(self, choice: str) -> None:
        """Speak one of `language.CHOICES` from now on."""
        self._language.choose(choice)

    def _fill_language_menu(self) -> None:
        menu = self.language_menu
        menu.clear()
        group = QActionGroup(menu)
        names = {SYSTEM: self.tr("Same as the system"), ENGLISH: "English", CHINESE: "简体中文"}
        for choice in CHOICES:
            action = menu.addAction(names[choice], partial(self.choose_language, choice))
            action.setCheckable(True)
            action.setChecked(choice == self._language.choice)
            group.addAction(action)

    def _toggle_theme(self) -> None:
        self._theme.set_dark(not self._theme.dark)

    def _show_theme(self) -> None:
        name = self.tr("Light colours") if self._theme.dark else self.tr("Dark colours")
        self.theme_button.setToolTip(name)
        self.theme_button.setAccessibleName(name)
        if isinstance(self._theme_tint, IconTint):
            self._theme_tint.set_name("sun" if self._theme.dark else "moon")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._theme.color("card"))
        painter.fillRect(0, self.height() - 1, self.width(), 1, self._theme.color("line"))
        gradient = QLinearGradient(0, 0, self.width(), 0)
        gradient.setColorAt(0, QColor(BRAND_START))
        gradient.setColorAt(1, QColor(BRAND_END))
        painter.fillRect(QRectF(0, 0, self.width(), 3), gradient)


class AppMark(QWidget):
    """The application's sign."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(32, 32)
        self._sign = QSvgRenderer(str(resource("castray.svg")), self)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._sign.render(painter, QRectF(self.rect()))


class ClusterChip(QPushButton):
    """The cluster in one line: state, name, address, facts; opens the cluster's menu."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._compact = False
        self.cluster = ClusterStatus()
        self.connection = Connection.CONNECTING
        self.setFixedHeight(36)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        theme.changed.connect(self.update)
        Words(self, self._describe)

    def set_status(self, cluster: ClusterStatus, connection: Connection) -> None:
        self.cluster = cluster
        self.connection = connection
        self._describe()

    def set_compact(self, compact: bool) -> None:
        self._compact = compact
        self.updateGeometry()
        self.update()

    def texts(self) -> tuple[str, str, str]:
        """Name, address and facts, as shown."""
        address = self.cluster.address if self.cluster.phase is ClusterPhase.READY else ""
        facts = cluster_facts(self.cluster, self.connection, short=self._compact)
        return cluster_name(self.cluster, self.connection), "" if self._compact else address, facts

    def _describe(self) -> None:
        name = cluster_name(self.cluster, self.connection)
        facts = cluster_facts(self.cluster, self.connection, short=False)
        words = [word for word in (name, self.cluster.address, facts) if word]
        self.setAccessibleName(self.tr("Cluster: {state}").format(state=", ".join(words)))
        self.setToolTip("\n".join(words))
        self.updateGeometry()
        self.update()

    def _width(self) -> int:
        name, address, facts = self.texts()
        width = 12 + 14 + 8 + QFontMetrics(font(13, 600)).horizontalAdvance(name)
        if address:
            width += 8 + QFontMetrics(font(12)).horizontalAdvance(address)
        if facts:
            width += 25 + QFontMetrics(font(12, 400, tabular=True)).horizontalAdvance(facts)
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
        painter.setFont(font(size, weight, tabular=True))
        painter.setPen(QColor(color))
        width = painter.fontMetrics().horizontalAdvance(text)
        painter.drawText(QRect(x, 0, width + 4, self.height()), Qt.AlignmentFlag.AlignVCenter, text)
        return x + width


class Sparkline(QWidget):
    """The total rate of the last minute or so, without numbers."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._values: deque[float] = deque([0.0] * SPARK_POINTS, SPARK_POINTS)
        self.setFixedSize(72, 24)
        say(self, self.setAccessibleName, lambda: self.tr("Total rate of the last moments"))
        theme.changed.connect(self.update)

    def add(self, value: float) -> None:
        self._values.append(value)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        top = max(self._values)
        if top < 1:
            painter.fillRect(QRectF(0, 20, 72, 1.5), self._theme.color("line_strong"))
            return
        scale = 18 / (top * 1.08)
        points = [QPointF(i * 72 / (SPARK_POINTS - 1), 21 - v * scale) for i, v in enumerate(self._values)]
        area = self._theme.color("accent")
        area.setAlphaF(0.10)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(area)
        painter.drawPolygon(QPolygonF([QPointF(0, 24), *points, QPointF(72, 24)]))
        painter.setPen(QPen(self._theme.color("accent"), 1.5))
        painter.drawPolyline(QPolygonF(points))
