"""The log of engine, driver and agents: filtered by level, searched, copied without what is secret."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Callable, Iterable

from PySide6.QtCore import QCoreApplication, QObject, QTimer, qVersion
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QWidget

import castray_desktop
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterStatus, LogLine
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.model.desktop_services import copy
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.banner import Banner, lay_out
from castray_desktop.ui.widgets.basic_widgets import bind_text, button, label
from castray_desktop.ui.widgets.fields import ChoiceField, search_field
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.widgets.text_table import NO_PARENT, Index, TableCell, TextTable, TextTableModel

MOST_LINES = 5000
SHOW_MS = 150
LEVELS = ("debug", "info", "warning", "error", "critical")
CHOICES = ("info", "warning", "error")
COPIED_LINES = 500
WATCHED = "info"


translate = QCoreApplication.translate


def level_word(level: str) -> str:
    """The name of a level, for users."""
    words = {
        "debug": translate("Log", "Detail"),
        "info": translate("Log", "Info"),
        "warning": translate("Log", "Warning"),
        "error": translate("Log", "Error"),
        "critical": translate("Log", "Error"),
    }
    return words.get(level, level)


class LogModel(TextTableModel):
    """The last lines, those that fit shown; the newest last."""

    def __init__(self, parent: QObject | None = None) -> None:
        headings = (
            lambda: translate("Log", "Time"),
            lambda: translate("Log", "Level"),
            lambda: translate("Log", "From"),
            lambda: translate("Log", "Message"),
        )
        super().__init__(headings, parent=parent)
        self.kept: deque[LogLine] = deque(maxlen=MOST_LINES)
        self.shown: list[LogLine] = []  # those that pass the filter
        self._level = 1
        self._words: list[str] = []

    def load(self, lines: Iterable[LogLine]) -> None:
        """Replace all lines."""
        self.kept = deque(lines, MOST_LINES)
        self._fit()

    def add(self, lines: list[LogLine]) -> None:
        """Append new lines."""
        self.kept.extend(lines)
        fresh = [line for line in lines if self._passes(line)]
        if not fresh:
            return
        first = len(self.shown)
        self.beginInsertRows(NO_PARENT, first, first + len(fresh) - 1)
        self.shown.extend(fresh)
        self.endInsertRows()
        over = len(self.shown) - MOST_LINES
        if over > 0:
            self.beginRemoveRows(NO_PARENT, 0, over - 1)
            del self.shown[:over]
            self.endRemoveRows()

    def set_filter(self, level: str, text: str) -> None:
        """Show lines from this level on that hold every word."""
        self._level = LEVELS.index(level)
        self._words = text.casefold().split()
        self._fit()

    def _fit(self) -> None:
        self.beginResetModel()
        self.shown = [line for line in self.kept if self._passes(line)]
        self.endResetModel()

    def _passes(self, line: LogLine) -> bool:
        level = LEVELS.index(line.level) if line.level in LEVELS else 1
        if level < self._level:
            return False
        text = f"{line.origin} {line.text}".casefold()
        return all(word in text for word in self._words)

    def rowCount(self, parent: Index = NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self.shown)

    def key(self, row: int) -> object:
        return self.shown[row]

    def cell(self, row: int, column: int) -> TableCell | None:
        line = self.shown[row]
        match column:
            case 0:
                return TableCell(line_time(line.at), "text_2")
            case 1:
                tone = {"warning": "warn", "error": "bad", "critical": "bad"}.get(line.level, "text_2")
                glyph = {"warning": GlyphState.LAGGING, "error": GlyphState.FAILED}.get(line.level)
                return TableCell(level_word(line.level), tone, glyph)
            case 2:
                return TableCell(line.origin, "text_2")
        return TableCell(line.text, tip=line.text[:2000])


def line_time(at: float) -> str:
    """The local time to the millisecond, with the date where it is another day."""
    then, now = time.localtime(at), time.localtime()
    day = "" if then[:3] == now[:3] else time.strftime("%m-%d ", then)
    return f"{day}{time.strftime('%H:%M:%S', then)}.{int(at % 1 * 1000):03}"


class LogPage(QWidget):
    """See the module. The engine is watched only while the page is seen."""

    def __init__(
        self, theme: Theme, link: EngineLink, nodes: NodeList, cluster: Callable[[], ClusterStatus]
    ) -> None:
        super().__init__()
        self._link, self._nodes, self._cluster = link, nodes, cluster
        self._waiting: list[LogLine] = []
        self._watching = False
        self._engine_version = ""
        self.model = LogModel(self)
        self.table = TextTable(
            theme,
            self.model,
            lambda: self.tr("Log"),
            (118, 96, 130, 400),
            3,
            self._empty_words,
        )
        self.search = search_field(lambda: self.tr("Search text"), lambda: self.tr("Search the log"))
        self.level = ChoiceField(
            theme,
            lambda: self.tr("Level"),
            CHOICES,
            lambda: (self.tr("Everything"), self.tr("Warnings"), self.tr("Errors")),
        )
        bind_text(self.level, self.level.setAccessibleDescription, lambda: self.tr("Level"))
        self.copy_button = button(theme, lambda: self.tr("Copy lines"), "copy", kind="flat")
        self.diagnostics_button = button(
            theme, lambda: self.tr("Copy diagnostics"), "clipboard-paste", kind="flat"
        )
        self.count = label("", 12, 400, "2", tabular=True)
        self.banner = Banner(theme, "bad")
        self._build()
        self._flush = QTimer(self, singleShot=True, interval=SHOW_MS)
        self._flush.timeout.connect(self._take_waiting)
        self._wire()
        Retranslator(self, self._show_count)

    def _build(self) -> None:
        self.level.setFixedSize(150, 28)
        bind_text(
            self.diagnostics_button,
            self.diagnostics_button.setToolTip,
            lambda: self.tr("Versions, cluster, nodes and the last lines, without tokens and keys"),
        )
        lay_out(
            self,
            (self.search, self.level, self.count),
            (self.copy_button, self.diagnostics_button),
            self.banner,
            self.table,
        )

    def _wire(self) -> None:
        self.search.textChanged.connect(self._filter)
        self.level.currentIndexChanged.connect(self._filter)
        self.copy_button.clicked.connect(lambda: copy("\n".join(map(as_text, self.model.shown))))
        self.diagnostics_button.clicked.connect(lambda: copy(self.diagnostics()))
        self._link.log_line.connect(self._on_line)
        self._link.welcome.connect(self._on_welcome)

    # --- lines -----------------------------------------------------------------------------

    def _on_welcome(self, welcome: messages.Welcome) -> None:
        self._engine_version = welcome.version
        self._watching = False
        if self.isVisible():
            self._watch()

    def _watch(self) -> None:
        if self._watching or not self._link.connected:
            return
        self._watching = True

        def loaded(reply: messages.LogLines) -> None:
            self.banner.hide()
            self.model.load(reply.lines)
            self._show_count()
            self.table.scrollToBottom()

        self._link.ask(messages.WatchLog(WATCHED), messages.Done, None, self.banner.show_failure)
        self._link.ask(messages.GetLog(), messages.LogLines, loaded, self.banner.show_failure)

    def _on_line(self, line: LogLine) -> None:
        self._waiting.append(line)
        if not self._flush.isActive():
            self._flush.start()

    def _take_waiting(self) -> None:
        bar = self.table.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        lines, self._waiting = self._waiting[-MOST_LINES:], []
        self.model.add(lines)
        self._show_count()
        if at_end:
            self.table.scrollToBottom()

    def _filter(self) -> None:
        self.model.set_filter(self.level.value(), self.search.text())
        self._show_count()
        self.table.scrollToBottom()

    def _show_count(self) -> None:
        count = self.model.rowCount()
        one, many = self.tr("{count} line"), self.tr("{count} lines")
        self.count.setText((one if count == 1 else many).format(count=f"{count:,}"))

    def _empty_words(self) -> tuple[str, str]:
        if self.model.kept:
            return self.tr("Nothing found"), self.tr("No log lines match.")
        return self.tr("Nothing logged yet"), self.tr("Messages from the engine and the agents appear here.")

    # --- copying ---------------------------------------------------------------------------

    def diagnostics(self) -> str:
        """What somebody who helps needs to know. The engine has taken secrets out of its lines."""
        cluster = self._cluster()
        nodes = self._nodes.nodes()
        lines = [
            f"CastRay Desktop {castray_desktop.__version__}, engine {self._engine_version}",
            f"Python {platform.python_version()}, Qt {qVersion()}, {platform.platform()}",
            f"cluster: {cluster.phase.value}, Ray {cluster.ray_version or '-'},"
            f" Python {cluster.python_version or '-'}, nodes {cluster.nodes_ready}/{cluster.nodes_total}",
            *(
                f"node {node.name}: {node.state.value}, {node.address}, {node.cpus:g} CPU,"
                f" {node.disk_free:,} bytes free"
                for node in nodes[:100]
            ),
            *([f"and {len(nodes) - 100} more nodes"] if len(nodes) > 100 else []),
            "",
            *map(as_text, list(self.model.kept)[-COPIED_LINES:]),
        ]
        return "\n".join(lines) + "\n"

    # --- Qt --------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._watch()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        if self._watching and self._link.connected:
            self._watching = False
            self._link.ask(messages.WatchLog(""), messages.Done)


def as_text(line: LogLine) -> str:
    """A line as in a log file, in UTC."""
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(line.at))
    return f"{at}.{int(line.at % 1 * 1000):03}Z {line.level.upper()} {line.origin} {line.text}"
