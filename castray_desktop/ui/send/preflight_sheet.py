"""The preflight in the window: when it is requested, its verdict, and the sheet with what it found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import PreflightProblem, PreflightReport, Removal
from castray_desktop.ui.i18n.failure_text import explain_failure, failure_text, reason_text
from castray_desktop.ui.i18n.number_format import format_bytes
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import ElidedLabel, GlyphLabel, button, label, lay_in, set_tone
from castray_desktop.ui.widgets.sheet import Sheet
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.widgets.tabs import Tabs
from castray_desktop.ui.widgets.text_table import TableCell, TextTable, TextTableModel

if TYPE_CHECKING:
    from castray_desktop.ui.model.engine_link import EngineLink

translate = QCoreApplication.translate

QUIET_MS = 300


class PreflightCheck(QObject):
    """The newest answer about the newest request.

    Signals: `changed()` when `report` or `failure` did. Both are None while nothing is known.
    """

    changed = Signal()

    def __init__(self, link: EngineLink, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._link = link
        self._request: messages.SendRequest | None = None
        self._timer = QTimer(self, singleShot=True, interval=QUIET_MS)
        self._timer.timeout.connect(self._ask)
        self.report: messages.PreflightReport | None = None
        self.failure: Failure | None = None

    def set_request(self, request: messages.SendRequest | None) -> None:
        """What would be sent now; None when nothing could be. Asked once it has been quiet."""
        if request == self._request:
            return
        self._request = request
        self._set(None, None)
        if request is None:
            self._timer.stop()
        else:
            self._timer.start()

    @property
    def waiting(self) -> bool:
        """Whether it is still quiet for too short a time to ask."""
        return self._timer.isActive()

    @property
    def server_busy(self) -> bool:
        """Whether nothing could be checked, since the server of the files lets wait."""
        return self.failure is not None and self.failure.kind is FailureKind.SERVER_BUSY

    def ask_again(self) -> None:
        """Forget the answer: nodes or files may have changed."""
        request, self._request = self._request, None
        self.set_request(request)

    def _ask(self) -> None:
        request = self._request
        if request is None or not self._link.connected:
            return

        def done(report: messages.PreflightReport) -> None:
            if request == self._request:
                self._set(report, report.failure)

        def failed(failure: Failure) -> None:
            if request == self._request:
                self._set(None, failure)

        self._link.ask(messages.Preflight(request), messages.PreflightReport, done, failed)

    def _set(self, report: messages.PreflightReport | None, failure: Failure | None) -> None:
        if (report, failure) != (self.report, self.failure):
            self.report, self.failure = report, failure
            self.changed.emit()


Verdict = tuple[GlyphState | None, str, str, str]
"""Glyph, line, tone and details."""


def verdict(check: PreflightCheck, waiting: int) -> Verdict:
    """What the preflight has shown; `waiting` recipients are offline and get it later."""
    if check.failure is not None:
        words = explain_failure(check.failure)
        if check.server_busy:
            text = translate("SendPanel", "Server busy · the cast waits for it")
            return GlyphState.LAGGING, text, "warn", words.text
        return GlyphState.LAGGING, words.happened, "warn", words.text
    report = check.report
    if report is None:
        return None, translate("SendPanel", "Checking the recipients…"), "2", ""
    if report.problems:
        details = "\n".join(failure_text(problem.failure) for problem in report.problems)
        first = report.problems[0]
        text = translate("SendPanel", "{reason} · {node}")
        line = text.format(reason=reason_text(first.failure), node=first.node)
        return GlyphState.LAGGING, line, "warn", details
    warned = caution(report)
    if warned is not None:
        named = [failure_text(item.failure) for item in report.left_out] or report.broken_names
        return GlyphState.LAGGING, warned.happened, "warn", "\n".join((warned.text, *named))
    return _good(report, waiting)


def caution(report: messages.PreflightReport) -> Explanation | None:
    """What would not arrive as the user may think, though every recipient can take the parcel."""
    if report.left_out_count:
        first = explain_failure(report.left_out[0].failure)
        if report.left_out_count == 1:
            return first
        more = translate("SendPanel", "{problem} (and {count} more)")
        count = f"{report.left_out_count - 1:,}"
        return Explanation(more.format(problem=first.happened, count=count), first.remedy)
    if report.broken_links:
        one = translate("SendPanel", "A link would be broken on the recipients: {name}")
        many = translate("SendPanel", "{count} links would be broken on the recipients, such as {name}")
        text = one if report.broken_links == 1 else many
        name = report.broken_names[0] if report.broken_names else ""
        why = translate("SendPanel", "Their targets don't exist or are not sent.")
        return Explanation(text.format(count=f"{report.broken_links:,}", name=name), why)
    return None


def _good(report: messages.PreflightReport, waiting: int) -> Verdict:
    removed = sum(removal.count for removal in report.removals)
    if removed:
        text = translate("SendPanel", "Removes {count} entries on the recipients")
        return GlyphState.LAGGING, text.format(count=f"{removed:,}"), "warn", ""
    count = max(0, len(report.recipients) - waiting)
    fits = translate("SendPanel", "Fits on all {count}") if count > 1 else translate("SendPanel", "Fits")
    parts = [fits.format(count=count)] if count else []
    if waiting:
        later = translate("SendPanel", "{count} receive it when they are back online")
        parts.append(later.format(count=waiting))
    else:
        once = translate("SendPanel", "uploaded once, {size}")
        parts.append(once.format(size=format_bytes(report.bytes)))
    return GlyphState.VERIFIED if count else GlyphState.QUEUED, " · ".join(parts), "2", ""


def problems_text(problems: Sequence[messages.PreflightProblem]) -> Explanation:
    """The first problem, and how many more there are."""
    first = explain_failure(problems[0].failure)
    if len(problems) == 1:
        return first
    more = translate("SendPanel", "{problem} (and {count} more)")
    return Explanation(more.format(problem=first.happened, count=len(problems) - 1), first.remedy)


HEIGHT, COMPACT_HEIGHT = 38, 26

GAP = 8


class HintLine(QWidget):
    """A glyph and a text, both in the middle of the line."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.glyph = GlyphLabel(theme, GlyphState.VERIFIED)
        self.text = ElidedLabel("", 12, 400, "2")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 4, 0, 0)
        row.setSpacing(GAP)
        row.addStretch(1)
        row.addWidget(self.glyph)
        row.addWidget(self.text, 1000)
        row.addStretch(1)
        self.set_compact(False)

    def set_compact(self, compact: bool) -> None:
        """Lower, where there is little room."""
        self.setFixedHeight(COMPACT_HEIGHT if compact else HEIGHT)

    def show_hint(self, glyph: GlyphState | None, text: str, tone: str, details: str) -> None:
        """Show this; `details`, if any, is the text's tool tip."""
        self.glyph.setVisible(glyph is not None)
        if glyph is not None:
            self.glyph.set_state(glyph)
        set_tone(self.text, tone)
        middle = Qt.AlignmentFlag.AlignCenter if glyph is None else Qt.AlignmentFlag.AlignVCenter
        self.text.setAlignment(middle)
        self.text.set_full_text(text, details)
        # As wide as the text wants, so that it is centred with its glyph; narrower without room.
        self.text.setMaximumWidth(self.text.sizeHint().width())


PROBLEMS, REMOVALS = "problems", "removals"


def problem_rows(problems: Sequence[PreflightProblem]) -> list[tuple[object, list[TableCell]]]:
    """A row for each problem: node, what is wrong, what to do."""
    rows: list[tuple[object, list[TableCell]]] = []
    for problem in problems:
        words = explain_failure(problem.failure)
        cells = [
            TableCell(problem.node, glyph=GlyphState.LAGGING),
            TableCell(reason_text(problem.failure), "warn", tip=words.happened),
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
    """Signals: `go_on(frozenset)` when the user wants to send all the same, without these nodes, which can't
    take it."""

    go_on = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        self._report: PreflightReport | None = None
        super().__init__(theme, lambda: translate("Preflight", "Before sending"), parent, size=(980, 420))
        self._problems = TextTableModel(
            (
                lambda: translate("Preflight", "Node"),
                lambda: translate("Preflight", "Problem"),
                lambda: translate("Preflight", "What to do"),
            ),
            parent=self,
        )
        self._removals = TextTableModel(
            (lambda: translate("Preflight", "Node"), lambda: translate("Preflight", "To be removed")),
            parent=self,
        )
        self.problems = TextTable(
            theme, self._problems, lambda: translate("Preflight", "Problems"), (120, 300, 310), 1
        )
        self.removals = TextTable(
            theme, self._removals, lambda: translate("Preflight", "To be removed"), (140, 560), 1
        )
        self.words = label("", 13, 500)
        self.words.setWordWrap(True)
        self.tabs = Tabs(theme)
        self.tabs.add(PROBLEMS, lambda: translate("Preflight", "Problems"))
        self.tabs.add(REMOVALS, lambda: translate("Preflight", "To be removed"))
        self.tabs.chosen.connect(self._show_table)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.problems)
        self._stack.addWidget(self.removals)
        self.go_on_button = button(theme, "", "send", height=32)
        self.go_on_button.clicked.connect(self._press)
        self.set_body(lay_in(QVBoxLayout(), self.words, self.tabs, (self._stack, 1)))
        self.set_foot(lay_in(QHBoxLayout(), None, self.go_on_button))

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
        self.go_on.emit(self._report.failing if self._report is not None else frozenset())

    def retranslate(self) -> None:
        super().retranslate()
        report = self._report
        if report is None:
            return
        failing = report.failing
        others = len(set(report.recipients) - failing)
        removed = sum(removal.count for removal in report.removals if removal.node not in failing)
        parts = []
        if failing:
            text = translate("Preflight", "{count} of {total} nodes can't receive this.")
            parts.append(text.format(count=len(failing), total=len(set(report.recipients) | failing)))
        if removed:
            text = translate("Preflight", "{count} entries that the source no longer has would be removed.")
            parts.append(text.format(count=f"{removed:,}"))
        self.words.setText(" ".join(parts))
        self._problems.set_rows(problem_rows(report.problems))
        self._removals.set_rows(removal_rows(report.removals))
        self.tabs.setVisible(bool(report.problems and report.removals))  # a single part needs no tab
        one = translate("Preflight", "Send to the other {count}")
        remove = translate("Preflight", "Send and remove")
        self.go_on_button.setText(one.format(count=others) if failing else remove)
        self.go_on_button.setVisible(others > 0)
