"""Statistics of all casts: since the engine started and overall, in total and by node."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import NodeStatistics, Statistics
from castray_desktop.ui.i18n.failure_text import failure_text
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.i18n.number_format import (
    DASH,
    format_bytes,
    format_count,
    format_duration,
    format_rate,
)
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import label, lay_in
from castray_desktop.ui.widgets.text_table import TableCell, TextTable, TextTableModel

translate = QCoreApplication.translate


def facts(numbers: Statistics) -> list[tuple[str, str]]:
    """The totals over all nodes, by name."""
    return [
        (translate("Statistics", "Casts"), format_count(numbers.casts)),
        (translate("Statistics", "Delivered completely"), format_count(numbers.completed)),
        (translate("Statistics", "Partly failed"), format_count(numbers.partly_failed)),
        (translate("Statistics", "Failed"), format_count(numbers.failed)),
        (translate("Statistics", "Cancelled"), format_count(numbers.cancelled)),
        (translate("Statistics", "Deliveries"), format_count(numbers.delivered)),
        (translate("Statistics", "Failed deliveries"), format_count(numbers.failed_deliveries)),
        (translate("Statistics", "Delivered bytes"), format_bytes(numbers.bytes)),
        (translate("Statistics", "Uploaded bytes"), format_bytes(numbers.uploaded)),
        (translate("Statistics", "Time of all casts"), format_duration(numbers.seconds)),
        (translate("Statistics", "Mean speed"), _rate(numbers.mean_rate)),
        (translate("Statistics", "Peak speed"), _rate(numbers.peak_rate)),
    ]


def node_rows(nodes: Sequence[NodeStatistics]) -> list[tuple[object, list[TableCell]]]:
    """A row for each node."""
    return [
        (
            node.node,
            [
                TableCell(node.node),
                TableCell(format_count(node.delivered), "text_2"),
                TableCell(format_count(node.failed), "bad" if node.failed else "text_2"),
                TableCell(format_bytes(node.bytes), "text_2"),
                TableCell(_rate(node.mean_rate), "text_2"),
                TableCell(_rate(node.peak_rate), "text_2"),
            ],
        )
        for node in nodes
    ]


def _rate(rate: float) -> str:
    return format_rate(rate) if rate >= 1 else DASH


class StatisticsView(QWidget):
    """Numbers at the left, nodes at the right; asked for when it is seen."""

    def __init__(self, theme: Theme, link: EngineLink) -> None:
        super().__init__()
        self._link = link
        self.report: messages.StatisticsReport | None = None
        self._problem: Failure | None = None
        self._hint = label("", 12, 400, "2")
        self._numbers = QGridLayout()
        self._numbers.setVerticalSpacing(3)
        self._numbers.setHorizontalSpacing(18)
        headings = (
            lambda: translate("Statistics", "Node"),
            lambda: translate("Statistics", "Deliveries"),
            lambda: translate("Statistics", "Failed"),
            lambda: translate("Statistics", "Bytes"),
            lambda: translate("Statistics", "Mean speed"),
            lambda: translate("Statistics", "Peak speed"),
        )
        self.nodes = TextTableModel(headings, frozenset({1, 2, 3, 4, 5}), self)
        self.table = TextTable(
            theme,
            self.nodes,
            lambda: translate("Statistics", "Statistics of the nodes"),
            (160, 90, 70, 90, 96, 96),
            0,
            lambda: (
                translate("Statistics", "No deliveries yet"),
                translate("Statistics", "Totals for each node appear here."),
            ),
        )
        left = QWidget()
        lay_in(QVBoxLayout(left), self._numbers, self._hint, None, margins=(16, 10, 16, 8))
        scroll = QScrollArea()
        scroll.setWidget(left)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        split = QSplitter()
        split.setChildrenCollapsible(False)
        split.addWidget(scroll)
        split.addWidget(self.table)
        split.setSizes([420, 560])
        lay_in(QHBoxLayout(self), split, margins=(0, 0, 0, 0))
        Retranslator(self, self._show)

    def refresh(self) -> None:
        """Request current numbers."""

        def done(report: messages.StatisticsReport) -> None:
            self.report, self._problem = report, None
            self._show()

        def failed(failure: Failure) -> None:
            self._problem = failure
            self._show()

        self._link.ask(messages.GetStatistics(), messages.StatisticsReport, done, failed)

    def _show(self) -> None:
        while (item := self._numbers.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self._hint.setText(failure_text(self._problem) if self._problem is not None else "")
        self._hint.setVisible(self._problem is not None)
        if self.report is None:
            return
        self._put(
            0,
            "",
            translate("Statistics", "Since the engine started"),
            translate("Statistics", "All time"),
            weight=600,
        )
        pairs = zip(facts(self.report.engine), facts(self.report.ever), strict=True)
        for row, ((name, since), (_, ever)) in enumerate(pairs, 1):
            self._put(row, name, since, ever)
        self._numbers.setColumnStretch(3, 1)
        self.nodes.set_rows(node_rows(self.report.ever.nodes))

    def _put(self, row: int, name: str, since: str, ever: str, *, weight: int = 400) -> None:
        for place, text in enumerate((name, since, ever)):
            cell: QLabel = label(
                text,
                12,
                weight if place == 0 or weight > 400 else 500,
                "2" if place == 0 else "1",
                tabular=True,
            )
            cell.setMinimumHeight(18)
            self._numbers.addWidget(cell, row, place)
