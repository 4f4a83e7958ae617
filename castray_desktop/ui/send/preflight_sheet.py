"""The sheet with problems and removals that the preflight found, before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from castray_desktop.core.protocol.messages import PreflightProblem, PreflightReport, Removal
from castray_desktop.ui.model.cluster_text import explain_failure
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import button, label
from castray_desktop.ui.widgets.sheet import Sheet
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.widgets.tabs import Tabs
from castray_desktop.ui.widgets.text_table import TableCell, TextTable, TextTableModel

translate = QCoreApplication.translate

PROBLEMS, REMOVALS = "problems", "removals"


def problem_rows(problems: Sequence[PreflightProblem]) -> list[tuple[object, list[TableCell]]]:
    """A row for each problem: node, what is wrong, what to do."""
    rows: list[tuple[object, list[TableCell]]] = []
    for problem in problems:
        words = explain_failure(problem.failure)
        cells = [
            TableCell(problem.node, glyph=GlyphState.LAGGING),
            TableCell(words.happened, "warn", tip=words.happened),
            TableCell(words.remedy, "text_2", tip=words.remedy),
        ]
        rows.append((problem.node, cells))
    return rows


def removal_rows(removals: Sequence[Removal]) -> list[tuple[object, list[TableCell]]]:
    """A row for each path that would go; of very many the last row says how many more."""
    rows: list[tuple[object, list[TableCell]]] = []
    for removal in removals:
        rows += [
            (removal.node, [TableCell(removal.node), TableCell(path, tip=path)]) for path in removal.paths
        ]
        more = removal.count - len(removal.paths)
        if more > 0:
            text = translate("Preflight", "and {count} more").format(count=f"{more:,}")
            rows.append((removal.node, [TableCell(removal.node), TableCell(text, "text_2")]))
    return rows


class PreflightSheet(Sheet):
    """Signals: `go_on()` when the user wants to send all the same, without the nodes that can't take it."""

    go_on = Signal()

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        self._report: PreflightReport | None = None
        super().__init__(theme, lambda: translate("Preflight", "Before sending"), parent, size=(980, 420))
        self._problems = TextTableModel(
            (
                lambda: translate("Preflight", "Node"),
                lambda: translate("Preflight", "What is wrong"),
                lambda: translate("Preflight", "What to do"),
            ),
            parent=self,
        )
        self._removals = TextTableModel(
            (
                lambda: translate("Preflight", "Node"),
                lambda: translate("Preflight", "What would be removed"),
            ),
            parent=self,
        )
        self.problems = TextTable(
            theme, self._problems, lambda: translate("Preflight", "Problems"), (120, 300, 310), 1
        )
        self.removals = TextTable(
            theme, self._removals, lambda: translate("Preflight", "What would be removed"), (140, 560), 1
        )
        self.words = label("", 13, 500)
        self.words.setWordWrap(True)
        self.tabs = Tabs(theme)
        self.tabs.add(PROBLEMS, lambda: translate("Preflight", "Problems"))
        self.tabs.add(REMOVALS, lambda: translate("Preflight", "What would be removed"))
        self.tabs.chosen.connect(self._show_table)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.problems)
        self._stack.addWidget(self.removals)
        self.go_on_button = button(theme, "", "send", height=32)
        self.go_on_button.clicked.connect(self._press)
        body = QVBoxLayout()
        body.addWidget(self.words)
        body.addWidget(self.tabs)
        body.addWidget(self._stack, 1)
        self.set_body(body)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(self.go_on_button)
        self.set_foot(row)

    def show_report(self, report: PreflightReport) -> None:
        """Show what was found, and ask."""
        self._report = report
        self.retranslate()
        chosen = PROBLEMS if report.problems else REMOVALS
        self.tabs.choose(chosen)
        self._show_table(chosen)
        self.show()
        self.raise_()

    def _show_table(self, key: str) -> None:
        self._stack.setCurrentWidget(self.problems if key == PROBLEMS else self.removals)

    def _press(self) -> None:
        self.close()
        self.go_on.emit()

    def retranslate(self) -> None:
        super().retranslate()
        report = self._report
        if report is None:
            return
        failing = {problem.node for problem in report.problems}
        others = len(set(report.recipients) - failing)
        removed = sum(removal.count for removal in report.removals if removal.node not in failing)
        parts = []
        if failing:
            text = translate("Preflight", "{count} of {total} nodes can't take it.")
            parts.append(text.format(count=len(failing), total=len(set(report.recipients) | failing)))
        if removed:
            text = translate("Preflight", "{count} entries that the source no longer has would be removed.")
            parts.append(text.format(count=f"{removed:,}"))
        self.words.setText(" ".join(parts))
        self._problems.set_rows(problem_rows(report.problems))
        self._removals.set_rows(removal_rows(report.removals))
        self.tabs.setVisible(bool(report.problems and report.removals))  # one alone needs no tab
        one = translate("Preflight", "Send to the other {count}")
        remove = translate("Preflight", "Send and remove")
        self.go_on_button.setText(one.format(count=others) if failing else remove)
        self.go_on_button.setVisible(others > 0)
