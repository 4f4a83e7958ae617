"""The speed limit of a cast: a few common ones to choose from, or any that is typed."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtWidgets import QInputDialog, QLineEdit, QWidget

from castray_desktop.core.failure import CastRayError
from castray_desktop.core.quantities import parse_rate
from castray_desktop.ui.clusters.cluster_words import explain_failure
from castray_desktop.ui.controls.fields import Dropdown
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.units import format_rate
from castray_desktop.ui.words import Words

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
        Words(self, self._say)

    def _say(self) -> None:
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

    translate = QCoreApplication.translate
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
