"""The bottom card: the transfer table beside the throughput plot, or one of them where it is narrow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from PySide6.QtCore import QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSplitter, QVBoxLayout, QWidget

from castray_desktop.core.messages import Throughput
from castray_desktop.ui.fonts import font
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.transfer_model import TransferModel
from castray_desktop.ui.transfer_table import TransferTable
from castray_desktop.ui.widgets import Card, Rule, button, paint_round, say
from castray_desktop.ui.words import Text, Words

TABS_HEIGHT = 40
BACKLOG = 1200  # samples kept for a plot that isn't there yet: five minutes
SHARES = (974, 432)


class TransfersCard(Card):
    """Table and plot.

    Signals: `cancel_requested(str)`, `cast_selected(str)`, `clear_requested()`.
    """

    cancel_requested = Signal(str)
    cast_selected = Signal(str)
    clear_requested = Signal()

    def __init__(self, theme: Theme, model: TransferModel, table: TransferTable) -> None:
        super().__init__(theme)
        self._theme = theme
        self._model = model
        self.table = table
        self.plot: QWidget | None = None
        self._add_to_plot: Callable[[Throughput], None] | None = None
        self._backlog: deque[Throughput] = deque(maxlen=BACKLOG)
        self._compact = False
        self.transfers_tab = Tab(theme, lambda: self.tr("Transfers"))
        self.plot_tab = Tab(theme, lambda: self.tr("Throughput"))
        self.clear_button = button(theme, "", "list-x", kind="flat")
        self._plot_place = QWidget()
        self._plot_place.setMinimumWidth(320)
        self._split = DividedSplitter(theme)
        self._build()
        self._wire()
        self._show_count()
        Words(self, self._say)

    def _say(self) -> None:
        text = self.tr("Clear finished")
        self.clear_button.setText("" if self._compact else text)
        self.clear_button.setToolTip(text)
        self.clear_button.setAccessibleName(text)

    def put_plot(self, plot: QWidget, add: Callable[[Throughput], None]) -> None:
        """The plot is there: show it with what it has missed."""
        self.plot, self._add_to_plot = plot, add
        layout = self._plot_place.layout()
        assert layout is not None
        layout.addWidget(plot)
        for throughput in self._backlog:
            add(throughput)
        self._backlog.clear()

    def add_throughput(self, throughput: Throughput) -> None:
        """One more sample for the plot."""
        if self._add_to_plot is not None:
            self._add_to_plot(throughput)
        else:
            self._backlog.append(throughput)

    def set_compact(self, compact: bool) -> None:
        """Table and plot share the place, one tab each."""
        self._compact = compact
        self.plot_tab.setVisible(compact)
        self._say()
        self._show_tab()

    def _build(self) -> None:
        tabs = QHBoxLayout()
        tabs.setContentsMargins(16, 0, 10, 0)
        tabs.setSpacing(24)
        tabs.addWidget(self.transfers_tab)
        tabs.addWidget(self.plot_tab)
        tabs.addStretch()
        tabs.addWidget(self.clear_button)
        holder = QVBoxLayout(self._plot_place)
        holder.setContentsMargins(0, 0, 0, 0)
        self._split.addWidget(self.table)
        self._split.addWidget(self._plot_place)
        self._split.setStretchFactor(0, SHARES[0])
        self._split.setStretchFactor(1, SHARES[1])
        self._split.setSizes(list(SHARES))
        self.table.setMinimumWidth(400)
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 0, 1, 8)
        column.setSpacing(0)
        column.addLayout(tabs)
        column.addWidget(Rule(self._theme))
        column.addWidget(self._split, 1)
        self.plot_tab.hide()
        self.transfers_tab.setChecked(True)

    def _wire(self) -> None:
        self.table.cancel_requested.connect(self.cancel_requested)
        self.table.cast_selected.connect(self.cast_selected)
        self.table.clear_finished_requested.connect(self.clear_requested)
        self.clear_button.clicked.connect(self.clear_requested)
        self.transfers_tab.clicked.connect(lambda: self._choose(self.transfers_tab))
        self.plot_tab.clicked.connect(lambda: self._choose(self.plot_tab))
        self._model.counts_changed.connect(self._show_count)

    def _choose(self, tab: Tab) -> None:
        for each in (self.transfers_tab, self.plot_tab):
            each.setChecked(each is tab)
        self._show_tab()

    def _show_tab(self) -> None:
        plot_alone = self._compact and self.plot_tab.isChecked()
        self.table.setVisible(not plot_alone)
        self._plot_place.setVisible(not self._compact or plot_alone)
        if not self._compact:
            self.transfers_tab.setChecked(True)
            self.plot_tab.setChecked(False)

    def _show_count(self) -> None:
        casts = self._model.casts()
        self.transfers_tab.set_count(len(casts))
        self.clear_button.setVisible(any(cast.state.finished for cast in casts))


class Tab(QPushButton):
    """A title that can be chosen, with a number beside it and a line below while it is chosen."""

    def __init__(self, theme: Theme, text: Text) -> None:
        super().__init__()
        self._theme = theme
        self._count = 0
        self.setCheckable(True)
        self.setFixedHeight(TABS_HEIGHT)
        self.setFont(font(13, 600))
        say(self, self.setText, text)
        self.setAutoDefault(False)
        theme.changed.connect(self.update)

    def set_count(self, count: int) -> None:
        """Zero shows no number."""
        if count != self._count:
            self._count = count
            self.updateGeometry()
            self.update()

    def _badge_width(self) -> int:
        if not self._count:
            return 0
        return max(18, QFontMetrics(font(11, 600)).horizontalAdvance(f"{self._count:,}") + 11)

    def sizeHint(self) -> QSize:
        badge = self._badge_width()
        width = QFontMetrics(self.font()).horizontalAdvance(self.text()) + 1
        return QSize(width + (8 + badge if badge else 0), TABS_HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        strong = self.isChecked() or self.underMouse()
        painter.setFont(self.font())
        painter.setPen(self._theme.color("text" if strong else "text_2"))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignVCenter, self.text())
        if badge := self._badge_width():
            pill = QRectF(self.width() - badge, (self.height() - 18) / 2, badge, 18)
            paint_round(painter, pill, 9, self._theme.color("accent_soft"), None)
            painter.setFont(font(11, 600, tabular=True))
            painter.setPen(self._theme.color("accent"))
            painter.drawText(pill, Qt.AlignmentFlag.AlignCenter, f"{self._count:,}")
        if self.isChecked():
            painter.fillRect(QRect(0, self.height() - 2, self.width(), 2), self._theme.color("accent"))


class DividedSplitter(QSplitter):
    """A splitter whose handle is a line of one pixel."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self._theme = theme
        self.setHandleWidth(1)
        self.setChildrenCollapsible(False)
        theme.changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        self.setStyleSheet(f"QSplitter::handle {{ background: {self._theme.palette.line}; }}")
