"""The fields that set the options of a cast, in the send panel, in its options sheet and in a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from string import Formatter

from PySide6.QtCore import QCoreApplication, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPaintEvent
from PySide6.QtWidgets import QInputDialog, QLineEdit, QWidget

from castray_desktop.core.content.quantities import parse_rate
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol.messages import NodeState, OnConflict
from castray_desktop.ui.i18n.number_format import format_rate
from castray_desktop.ui.i18n.retranslator import Retranslator
from castray_desktop.ui.model.cluster_text import explain_failure
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import bind_text, paint_icon, paint_round
from castray_desktop.ui.widgets.fields import RADIUS, CheckBox, Dropdown, TextField

translate = QCoreApplication.translate

CHOICES = (OnConflict.SKIP, OnConflict.RENAME, OnConflict.OVERWRITE)


class ConflictField(Dropdown):
    """What happens to a file that exists at a recipient: one of `CHOICES`."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, lambda: self.tr("If a file exists"))
        for choice in CHOICES:
            self.addItem("", choice.value)
        Retranslator(self, self._retranslate)

    def conflict(self) -> OnConflict:
        """The chosen policy."""
        return OnConflict(self.currentData())

    def choose(self, conflict: OnConflict) -> None:
        """Choose this policy."""
        self.setCurrentIndex(CHOICES.index(conflict))

    def _retranslate(self) -> None:
        words = (self.tr("Skip identical"), self.tr("Keep both"), self.tr("Overwrite"))
        for number, text in enumerate(words):
            self.setItemText(number, text)


class ExcludeField(TextField):
    """Patterns of what is not sent, separated by commas."""

    def __init__(self) -> None:
        super().__init__(lambda: translate("SendOptions", "Leave out"))
        bind_text(
            self,
            self.setPlaceholderText,
            lambda: translate("SendOptions", "Patterns with commas between, such as *.tmp, .git"),
        )

    def patterns(self) -> tuple[str, ...]:
        """The patterns that are typed in."""
        return split_list(self.text())

    def set_patterns(self, patterns: Sequence[str]) -> None:
        """Show these patterns."""
        self.setText(", ".join(patterns))


class RemoveExtraBox(CheckBox):
    """Whether files that the source no longer has are removed at the recipients."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(
            theme,
            lambda: translate("SendOptions", "Remove at the recipients what a sent folder no longer has"),
        )


def split_list(text: str) -> tuple[str, ...]:
    """The parts of a list that is separated by commas, Chinese ones too."""
    return tuple(part.strip() for part in text.replace("，", ",").split(",") if part.strip())


def destination_problem(text: str) -> str:
    """What is wrong with it, in a few words; empty when nothing is. Empty means the inboxes."""
    text = text.strip()
    if not text:
        return ""
    if not text.startswith("/"):
        return translate("Destination", "Save to needs a full path, such as /data")
    try:
        fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
    except ValueError:
        fields = [""]
    if any(field != "node" for field in fields):
        return translate("Destination", "Only {node} may stand in braces")
    return ""


COMMON = (1_000_000, 10_000_000, 50_000_000, 100_000_000, 500_000_000)

OTHER = -1


class LimitField(Dropdown):
    """Chooses how many bytes per second may cross each hop.

    Signal: `limit_changed()`.
    """

    limit_changed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, lambda: self.tr("Speed limit"))
        self._limit = 0
        self.addItem("", 0)
        for limit in COMMON:
            self.addItem(format_rate(limit), limit)
        self.addItem("", OTHER)
        self.activated.connect(self._chosen)
        Retranslator(self, self._retranslate)

    def _retranslate(self) -> None:
        self.setToolTip(self.tr("The most that crosses each hop of the relay, for this cast"))
        self.setItemText(0, self.tr("None"))
        self.setItemText(self.count() - 1, self.tr("Other…"))

    def limit(self) -> int:
        """Bytes per second; 0 is no limit."""
        return self._limit

    def set_limit(self, limit: int) -> None:
        """Choose this one, putting it on the list if it is not there."""
        index = self.findData(limit)
        if index < 0:
            index = self.count() - 1
            self.insertItem(index, format_rate(limit), limit)
        self.setCurrentIndex(index)
        if limit != self._limit:
            self._limit = limit
            self.limit_changed.emit()

    def _chosen(self, index: int) -> None:
        value = int(self.itemData(index))
        if value != OTHER:
            self.set_limit(value)
            return
        self.set_limit(self._limit)  # until another one has been typed
        ask_for_limit(self, self.set_limit)


def ask_for_limit(owner: QWidget, take: Callable[[int], None], typed: str = "", problem: str = "") -> None:
    """Ask for a rate without holding up the window; again, with the reason, for what is none."""

    def done(text: str) -> None:
        try:
            limit = parse_rate(text)
        except CastRayError as error:
            explanation = explain_failure(error.failure)
            ask_for_limit(owner, take, text, f"{explanation.happened} {explanation.remedy}")
        else:
            take(limit)

    dialog = QInputDialog(owner.window())
    dialog.setWindowTitle(translate("LimitField", "Speed limit"))
    hint = translate("LimitField", "At most, for example 25MB/s or 200Mbit/s:")
    dialog.setLabelText(problem or hint)
    dialog.setTextEchoMode(QLineEdit.EchoMode.Normal)
    dialog.setTextValue(typed)
    dialog.setOkButtonText(translate("LimitField", "Set"))
    dialog.setCancelButtonText(translate("LimitField", "Cancel"))
    dialog.textValueSelected.connect(done)
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()


class SourceField(Dropdown):
    """This computer, or another node that is online; the choice goes to the selection."""

    def __init__(self, theme: Theme, nodes: NodeList, selection: RecipientSelection) -> None:
        super().__init__(theme, lambda: self.tr("From"))
        self._nodes, self._selection = nodes, selection
        self._names: list[str] = []
        self._filling = False
        self.activated.connect(self._chosen)
        Retranslator(self, self._fill)

    def refresh(self) -> None:
        """Update the list after nodes or source have changed."""
        names = self._choices()
        if names != self._names:
            self._fill()
        elif self._selection.source in names:
            self.setCurrentIndex(names.index(self._selection.source))
        self._describe()

    def _choices(self) -> list[str]:
        """This computer first; offline nodes only while they are the source."""
        source = self._selection.source
        nodes = [
            node for node in self._nodes.nodes() if node.state is NodeState.ONLINE or node.name == source
        ]
        return [node.name for node in sorted(nodes, key=lambda node: not node.this_computer)]

    def _fill(self) -> None:
        self._names = self._choices()
        self.clear()
        for name in self._names:
            node = self._nodes.get(name)
            here = node is not None and node.this_computer
            self.addItem(self.tr("This computer ({name})").format(name=name) if here else name)
        if self._selection.source in self._names:
            self.setCurrentIndex(self._names.index(self._selection.source))
        self._describe()

    def _chosen(self, index: int) -> None:
        if 0 <= index < len(self._names) and self._names[index] != self._selection.source:
            self._selection.source = self._names[index]

    def texts(self) -> tuple[str, str]:
        """What is shown: the name, and beside it the node behind it."""
        name = self._selection.source
        node = self._nodes.get(name) if name else None
        if node is None or node.this_computer:
            return self.tr("This computer"), name
        return name, node.address

    def _describe(self) -> None:
        text, detail = self.texts()
        self.setAccessibleName(f"{self.tr('From')}: {text} {detail}".strip())
        self.setToolTip(f"{text} · {detail}" if detail else text)
        self.setEnabled(len(self._names) > 1)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self._theme.palette
        fill = palette.hover if self.underMouse() and self.isEnabled() else palette.field
        paint_round(painter, QRectF(self.rect()), RADIUS, QColor(fill), QColor(palette.line_strong))
        paint_icon(painter, QRect(10, 0, 16, self.height()), "monitor", palette.text_2, 16)
        text, detail = self.texts()
        room = self.width() - 34 - 32
        painter.setFont(font(13))
        painter.setPen(QColor(palette.text))
        shown = QFontMetrics(font(13)).elidedText(text, Qt.TextElideMode.ElideRight, room)
        painter.drawText(QRect(34, 0, room, self.height()), Qt.AlignmentFlag.AlignVCenter, shown)
        used = painter.fontMetrics().horizontalAdvance(shown) + 8
        painter.setFont(font(12))
        painter.setPen(QColor(palette.text_2))
        rest = max(0, room - used)
        if painter.fontMetrics().horizontalAdvance(detail) <= rest:  # else the tool tip has it
            painter.drawText(QRect(34 + used, 0, rest, self.height()), Qt.AlignmentFlag.AlignVCenter, detail)
        if self.isEnabled():
            chevron = QRect(self.width() - 26, 0, 16, self.height())
            paint_icon(painter, chevron, "chevron-down", palette.text_2, 16)
