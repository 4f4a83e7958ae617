"""The bottom card: transfers beside their throughput, and behind tabs the pages about all else.

The transfer table and the plot share the first page; where it is narrow, or on its own tab, the plot has all
of it. Other pages are put in with `add_page`. The card may be enlarged over the whole window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.core.protocol.messages import Throughput
from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_actions import CastActions, can_pause, can_resume, can_retry
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.transfers.transfer_table import TransferTable
from castray_desktop.ui.widgets.basic_widgets import (
    Card,
    Rule,
    button,
    icon_button,
    lay_in,
    set_icon,
    set_name,
)
from castray_desktop.ui.widgets.fields import search_field
from castray_desktop.ui.widgets.tabs import RING_ROOM, Tabs

COUNT_MS = 300
BACKLOG = 1200  # samples kept for a plot that isn't there yet: five minutes
SHARES = (974, 432)
TRANSFERS, THROUGHPUT = "transfers", "throughput"


class TransfersCard(Card):
    """Table, plot and the other pages."""

    def __init__(
        self, theme: Theme, model: TransferModel, table: TransferTable, actions: CastActions
    ) -> None:
        super().__init__(theme)
        self._theme, self._model = theme, model
        self.table = table
        self._add_to_plot: Callable[[Throughput], None] | None = None
        self._backlog: deque[Throughput] = deque(maxlen=BACKLOG)
        self._compact = False
        self.page = TRANSFERS
        self.tabs = Tabs(theme)
        self._pages: dict[str, QWidget] = {}
        self._tools: dict[str, QWidget] = {}  # the widget at the right of the tabs, by page
        self._plot_place = QWidget()
        self._plot_place.setMinimumWidth(320)
        self._split = QSplitter()
        self._split.setProperty("kind", "line")
        self._split.setHandleWidth(1)
        self._split.setChildrenCollapsible(False)
        self._stack = QStackedWidget()
        self.tools = TransferTools(theme, model, actions)
        self.enlarge_button = icon_button(theme, "maximize", "")
        self.enlarge_button.setCheckable(True)
        self._build()
        self._wire()
        self._show_count()
        Retranslator(self, self._retranslate)

    # --- pages -----------------------------------------------------------------------------

    def add_page(self, key: str, title: Text, page: QWidget, tools: QWidget | None = None) -> None:
        """Add a page behind a tab; `tools` are shown beside the tabs while it is current."""
        self.tabs.add(key, title)
        self._pages[key] = page
        self._stack.addWidget(page)
        if tools is not None:
            self._tools[key] = tools
            self._tool_row.addWidget(tools)
            tools.hide()

    def show_page(self, key: str) -> None:
        """Show the page of that key; an unknown one shows the transfers."""
        self.page = key if key in self.tabs.keys else TRANSFERS
        self._show_tab()

    def set_enlarged(self, enlarged: bool) -> None:
        """Whether the card fills the window now."""
        self.enlarge_button.setChecked(enlarged)
        self._retranslate()

    def focus_filter(self) -> None:
        """Focus the search field of the current page."""
        page = self._pages.get(self.page)
        field = page.findChild(QLineEdit, "search") if page is not None else None
        if field is not None:
            field.setFocus(Qt.FocusReason.ShortcutFocusReason)
            field.selectAll()
            return
        if self.page != TRANSFERS:
            self.show_page(TRANSFERS)
        self.tools.focus_filter()

    # --- plot ------------------------------------------------------------------------------

    def put_plot(self, plot: QWidget, add: Callable[[Throughput], None]) -> None:
        """Show the plot, with the samples that came before it."""
        self._add_to_plot = add
        lay_in(QVBoxLayout(self._plot_place), plot, margins=(0, 0, 0, 0))
        for throughput in self._backlog:
            add(throughput)
        self._backlog.clear()

    def add_throughput(self, throughput: Throughput) -> None:
        """One more sample for the plot."""
        if self._add_to_plot is not None:
            self._add_to_plot(throughput)
        else:
            self._backlog.append(throughput)

    # --- building --------------------------------------------------------------------------

    def set_compact(self, compact: bool) -> None:
        """Table and plot share the place, one tab each; buttons are icons."""
        self._compact = compact
        self.tools.set_compact(compact)
        self.tabs.set_gap(16 if compact else 24)
        self._retranslate()
        self._show_tab()

    def _build(self) -> None:
        self._tool_row = lay_in(QHBoxLayout(), self.tools)
        parts = (self.tabs, None, self._tool_row, self.enlarge_button)
        tabs = lay_in(QHBoxLayout(), *parts, margins=(16 - RING_ROOM, 0, 10, 0))
        self.tabs.add(TRANSFERS, lambda: self.tr("Transfers"))
        self.tabs.add(THROUGHPUT, lambda: self.tr("Throughput"))
        self._tools[TRANSFERS] = self.tools
        self._split.addWidget(self.table)
        self._split.addWidget(self._plot_place)
        self._split.setStretchFactor(0, SHARES[0])
        self._split.setStretchFactor(1, SHARES[1])
        self._split.setSizes(list(SHARES))
        self.table.setMinimumWidth(400)
        self._stack.addWidget(self._split)
        lay_in(QVBoxLayout(self), tabs, Rule(self._theme), (self._stack, 1), spacing=0, margins=(1, 0, 1, 8))

    def _wire(self) -> None:
        self.tabs.chosen.connect(self.show_page)
        self._model.counts_changed.connect(self._count_soon)
        self._counting = QTimer(self, singleShot=True, interval=COUNT_MS)
        self._counting.timeout.connect(self._count_late)
        self._count_again = False

    def _retranslate(self) -> None:
        large = self.enlarge_button.isChecked()
        text = self.tr("Show nodes and recipients") if large else self.tr("Fill window")
        set_name(self.enlarge_button, text, " (F11)")

    def _show_tab(self) -> None:
        self.tabs.choose(self.page)
        for key, tools in self._tools.items():
            tools.setVisible(key == self.page)
        self._stack.setCurrentWidget(self._pages.get(self.page, self._split))
        plot_alone = self.page == THROUGHPUT
        self.table.setVisible(not plot_alone)
        self._plot_place.setVisible(plot_alone or not self._compact)

    def _count_soon(self) -> None:
        """Update the buttons at most every few hundred milliseconds: checking 10,000 casts takes time."""
        if self._counting.isActive():
            self._count_again = True
            return
        self._show_count()
        self._counting.start()

    def _count_late(self) -> None:
        if self._count_again:
            self._count_again = False
            self._count_soon()

    def _show_count(self) -> None:
        self.tabs.set_count(TRANSFERS, len(self._model.casts()))
        self.tools.refresh()


class TransferTools(QWidget):
    """Beside the tabs: the filter, and what can be done with all transfers."""

    def __init__(self, theme: Theme, model: TransferModel, actions: CastActions) -> None:
        super().__init__()
        self._model, self._actions = model, actions
        self._compact = False
        self.filter = search_field(
            lambda: self.tr("Name, node or state"), lambda: self.tr("Filter transfers")
        )
        self.filter.setFixedWidth(180)
        self.filter.hide()
        in_filter = Qt.ShortcutContext.WidgetShortcut  # which Qt for Python ignores if a slot is passed, too
        escape = QShortcut(QKeySequence(Qt.Key.Key_Escape), self.filter, context=in_filter)
        escape.activated.connect(self._drop_filter)
        self.filter_button = icon_button(theme, "funnel", lambda: self.tr("Filter (Ctrl+F)"))
        self.pause_button = button(theme, "", "pause", kind="flat")
        self.retry_button = button(theme, "", "rotate-cw", kind="flat")
        self.clear_button = button(theme, "", "list-x", kind="flat")
        buttons = (self.filter_button, self.pause_button, self.retry_button, self.clear_button)
        lay_in(QHBoxLayout(self), self.filter, *buttons, spacing=4, margins=(0, 0, 0, 0))
        self.filter_button.clicked.connect(self.focus_filter)
        self.filter.textChanged.connect(model.set_filter)
        self.pause_button.clicked.connect(self._pause_or_resume)
        self.retry_button.clicked.connect(actions.retry_all)
        self.clear_button.clicked.connect(actions.clear_finished)
        Retranslator(self, self.refresh)

    def set_compact(self, compact: bool) -> None:
        """Show the buttons as icons without text."""
        self._compact = compact
        self.filter.setFixedWidth(140 if compact else 180)
        self.refresh()

    def focus_filter(self) -> None:
        """Show the filter with the cursor in it."""
        self.filter.show()
        self.filter.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.filter.selectAll()

    def refresh(self) -> None:
        """Show what can be done now."""
        running = paused = failed = False
        for cast in self._model.casts():
            running = running or can_pause(cast)
            paused = paused or can_resume(cast)
            failed = failed or can_retry(cast)
        set_icon(self.pause_button, "pause" if running else "play")
        pause = self.tr("Pause all") if running else self.tr("Resume all")
        keys = " (Ctrl+Shift+P)" if running else " (Ctrl+Shift+S)"
        self._retranslate(self.pause_button, pause, keys, running or paused)
        self._retranslate(self.retry_button, self.tr("Retry failed"), " (Ctrl+R)", failed)
        clear = self._actions.clear_text()
        self._retranslate(self.clear_button, clear, "", bool(clear))

    def _retranslate(self, widget: QPushButton, text: str, keys: str, shown: bool) -> None:
        shown_text = "" if self._compact else text
        if widget.text() != shown_text:
            widget.setText(shown_text)
        if widget.accessibleName() != text:
            set_name(widget, text, keys)
        if widget.isHidden() == shown:
            widget.setVisible(shown)

    def _pause_or_resume(self) -> None:
        if self._actions.any(can_pause):
            self._actions.pause_all()
        else:
            self._actions.resume_all()

    def _drop_filter(self) -> None:
        """Show everything again."""
        self.filter.clear()
        self.filter.hide()
