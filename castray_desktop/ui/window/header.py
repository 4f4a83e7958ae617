"""The header of the window: cluster, speed, limit, language and theme."""

from __future__ import annotations

from collections import deque
from functools import partial

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QLinearGradient,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QHBoxLayout, QMenu, QVBoxLayout, QWidget

from castray_desktop.core.protocol.messages import ClusterStatus, Throughput
from castray_desktop.ui.clusters.cluster_chip import ClusterChip, ClusterMenu
from castray_desktop.ui.clusters.cluster_selector import KnownClusters
from castray_desktop.ui.i18n.language import CHINESE, CHOICES, ENGLISH, SYSTEM, Language, Retranslator
from castray_desktop.ui.i18n.number_format import format_rate
from castray_desktop.ui.model.engine_link import EngineLinkState
from castray_desktop.ui.send.option_fields import add_limits
from castray_desktop.ui.theme.resources import resource
from castray_desktop.ui.theme.theme import BRAND_END, BRAND_START, Theme
from castray_desktop.ui.widgets.basic_widgets import (
    Rule,
    bind_text,
    icon_button,
    label,
    lay_in,
    set_icon,
    set_name,
    set_tone,
)
from castray_desktop.ui.widgets.popups import add_choice, prepare_menu

HEIGHT = 56
SPARK_POINTS = 72


class Header(QWidget):
    """The header.

    Signals: `limit_requested(int)` for every node over all casts, `settings_requested()`; those about
    clusters come from `menu`.
    """

    limit_requested = Signal(int)
    settings_requested = Signal()

    def __init__(
        self,
        theme: Theme,
        language: Language,
        known: KnownClusters | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._theme, self.language = theme, language
        self._upload_rate: float | None = None
        self.setFixedHeight(HEIGHT)
        self.chip = ClusterChip(theme)
        self.menu = ClusterMenu(theme, self.chip, known, self)
        self.chip.setMenu(self.menu)
        prepare_menu(self.menu, self.chip)
        self.limit = 0
        self.limit_button = icon_button(theme, "gauge", "", side=32, size=18)
        self.limit_menu = QMenu(self)
        self.limit_menu.aboutToShow.connect(self._fill_limit_menu)
        self.limit_button.setMenu(self.limit_menu)
        prepare_menu(self.limit_menu, self.limit_button)
        self.settings_button = icon_button(
            theme, "settings", lambda: self.tr("Settings") + " (Ctrl+,)", side=32, size=18
        )
        self.settings_button.clicked.connect(self.settings_requested)
        self.sparkline = Sparkline(theme)
        self.total = label("", 15, 600, tabular=True)
        self.upload = label("", 11, 400, "2", tabular=True)
        self.theme_button = icon_button(theme, "moon", "", side=32, size=18)
        self.language_button = icon_button(theme, "languages", "", side=32, size=18)
        self.language_menu = QMenu(self)
        self.language_menu.aboutToShow.connect(self._fill_language_menu)
        self.language_button.setMenu(self.language_menu)
        prepare_menu(self.language_menu, self.language_button)
        self.theme_button.clicked.connect(self._toggle_theme)
        self._build()
        theme.changed.connect(self._show_theme)
        self.show_rates(None)
        Retranslator(self, self._retranslate)

    def _build(self) -> None:
        self.total.setMinimumWidth(112)
        lay_in(
            QHBoxLayout(self),
            AppMark(),
            12,
            label("CastRay", 15, 700),
            24,
            self.chip,
            None,
            self.sparkline,
            12,
            lay_in(QVBoxLayout(), None, self.total, self.upload, None, spacing=0),
            self.limit_button,
            8,
            Rule(self._theme, height=24),
            12,
            self.language_button,
            4,
            self.theme_button,
            4,
            self.settings_button,
            spacing=0,
            margins=(16, 3, 16, 1),
        )

    def _retranslate(self) -> None:
        # In both languages, for users who cannot read the current one.
        name = self.tr("Language") + (" / 语言" if self.language.spoken == ENGLISH else " / Language")
        set_name(self.language_button, name)
        self._show_theme()
        self._show_upload()
        self.show_limit(self.limit)

    def set_status(self, cluster: ClusterStatus, connection: EngineLinkState) -> None:
        """What the chip says."""
        self.chip.set_status(cluster, connection)

    def set_compact(self, compact: bool) -> None:
        """Shorten the texts beside the name in a small window."""
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

    def show_limit(self, limit: int) -> None:
        """What every node passes on at most over all casts; 0: no limit."""
        self.limit = limit
        text = self.tr("Total limit: {limit}")
        name = text.format(limit=format_rate(limit) if limit else self.tr("none"))
        set_name(self.limit_button, name)
        set_icon(self.limit_button, "gauge", "accent" if limit else "text_2")

    def _fill_limit_menu(self) -> None:
        self.limit_menu.clear()
        add_limits(self.limit_menu, self.limit, self.limit_requested.emit, self)

    def _fill_language_menu(self) -> None:
        self.language_menu.clear()
        names = {SYSTEM: self.tr("Same as the system"), ENGLISH: "English", CHINESE: "简体中文"}
        for choice in CHOICES:
            chosen = choice == self.language.choice
            choose = partial(self.language.choose, choice)
            add_choice(self.language_menu, names[choice], choose, chosen=chosen)

    def _toggle_theme(self) -> None:
        self._theme.set_dark(not self._theme.dark)

    def _show_theme(self) -> None:
        name = self.tr("Light colours") if self._theme.dark else self.tr("Dark colours")
        set_name(self.theme_button, name)
        set_icon(self.theme_button, "sun" if self._theme.dark else "moon")

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._theme.color("card"))
        painter.fillRect(0, self.height() - 1, self.width(), 1, self._theme.color("line"))
        gradient = QLinearGradient(0, 0, self.width(), 0)
        gradient.setColorAt(0, QColor(BRAND_START))
        gradient.setColorAt(1, QColor(BRAND_END))
        painter.fillRect(QRectF(0, 0, self.width(), 3), gradient)


class AppMark(QWidget):
    """The application's icon."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedSize(32, 32)
        self._sign = QSvgRenderer(str(resource("castray.svg")), self)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._sign.render(painter, QRectF(self.rect()))


class Sparkline(QWidget):
    """The total rate of the last minute or so, without numbers."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._values: deque[float] = deque([0.0] * SPARK_POINTS, SPARK_POINTS)
        self.setFixedSize(72, 24)
        bind_text(self, self.setAccessibleName, lambda: self.tr("Recent total speed"))

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
