"""Texts that follow the window's language.

Qt sends a `LanguageChange` event to every widget and every child of one when a translator is installed or
removed. A `Retranslator` is such a child: it sets its owner's texts again.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject

Text = Callable[[], str]
"""Returns a text in the current language."""


class Retranslator(QObject):
    """Calls `retranslate` now and after each change of language; lives as long as its owner."""

    def __init__(self, owner: QObject, retranslate: Callable[[], None]) -> None:
        super().__init__(owner)
        self._retranslate = retranslate
        retranslate()

    def event(self, event: QEvent) -> bool:
        if event.type() is QEvent.Type.LanguageChange:
            self._retranslate()
        return super().event(event)
