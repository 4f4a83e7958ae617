"""Words that follow the window's language.

Qt sends a `LanguageChange` event to every widget and every child of one when a translation comes or goes.
A `Retranslator` is such a child: it says its owner's words once more.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject

Text = Callable[[], str]
"""A text in the language that is spoken when it is asked for."""


class Retranslator(QObject):
    """Calls `say` now, and again whenever the language has changed; lives as long as its owner."""

    def __init__(self, owner: QObject, say: Callable[[], None]) -> None:
        super().__init__(owner)
        self._say = say
        say()

    def event(self, event: QEvent) -> bool:
        if event.type() is QEvent.Type.LanguageChange:
            self._say()
        return super().event(event)
