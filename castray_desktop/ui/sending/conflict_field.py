"""The field that says what becomes of a file that exists at a recipient."""

from __future__ import annotations

from castray_desktop.core.messages import OnConflict
from castray_desktop.ui.controls.fields import Dropdown
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.words import Words

CHOICES = (OnConflict.SKIP, OnConflict.RENAME, OnConflict.OVERWRITE)


class ConflictField(Dropdown):
    """One of `CHOICES`."""

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, lambda: self.tr("If a file exists"))
        for choice in CHOICES:
            self.addItem("", choice.value)
        Words(self, self._say)

    def conflict(self) -> OnConflict:
        """What is chosen."""
        return OnConflict(self.currentData())

    def choose(self, conflict: OnConflict) -> None:
        """Choose this."""
        self.setCurrentIndex(CHOICES.index(conflict))

    def _say(self) -> None:
        words = (self.tr("Skip identical"), self.tr("Keep both"), self.tr("Overwrite"))
        for number, text in enumerate(words):
            self.setItemText(number, text)
