"""The language of the window, its translations, and the texts that follow it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from PySide6.QtCore import QCoreApplication, QEvent, QLibraryInfo, QLocale, QObject, QSettings, QTranslator

from castray_desktop.ui.theme.resources import resource

SETTING = "language"
SYSTEM = ""
ENGLISH = "en"
CHINESE = "zh_CN"
CHOICES = (SYSTEM, ENGLISH, CHINESE)
SPOKEN = {"en": ENGLISH, "zh": CHINESE}

Text = Callable[[], str]
"""Returns a text in the current language."""


class Language(QObject):
    """The window's language: the system's until `choose` is called; `settings` keeps the choice.

    `choice` is one of `CHOICES`, `spoken` the current language: `ENGLISH` or `CHINESE`. Call `start` before
    creating widgets. A change reaches every widget as Qt's `LanguageChange` event.
    """

    def __init__(self, settings: QSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        kept = settings.value(SETTING, SYSTEM)
        self.choice: str = kept if kept in CHOICES else SYSTEM
        self.spoken = ENGLISH
        self._translators: list[QTranslator] = []

    def start(self) -> None:
        """Load the chosen language, or the system's."""
        self._load(self.choice or system_language(QLocale.system().uiLanguages()))

    def choose(self, choice: str) -> None:
        """Load one of `CHOICES`, and remember it."""
        self.choice = choice
        self._settings.setValue(SETTING, choice)
        self.start()

    def stop(self) -> None:
        """Unload translations; the application is in English afterwards."""
        self._load(ENGLISH)

    def _load(self, language: str) -> None:
        if language == self.spoken:
            return
        self.spoken = language
        for old in self._translators:
            QCoreApplication.removeTranslator(old)
            old.deleteLater()
        self._translators = []
        if language != ENGLISH:
            self._install(f"qtbase_{language}", QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath))
            self._install(f"castray_{language}", str(resource("i18n")))

    def _install(self, name: str, folder: str) -> None:
        translator = QTranslator(self)
        if translator.load(name, folder):
            QCoreApplication.installTranslator(translator)
            self._translators.append(translator)


def system_language(wanted: Iterable[str]) -> str:
    """The first of the preferred languages ("zh-Hans-CN") that has a translation; else English."""
    for name in wanted:
        found = SPOKEN.get(name.replace("_", "-").split("-")[0].casefold())
        if found is not None:
            return found
    return ENGLISH


class Retranslator(QObject):
    """Calls `retranslate` now and after each change of language; lives as long as its owner.

    Qt sends a `LanguageChange` event to every widget and every child of one when a translator is installed or
    removed. A retranslator is such a child.
    """

    def __init__(self, owner: QObject, retranslate: Callable[[], None]) -> None:
        super().__init__(owner)
        self._retranslate = retranslate
        retranslate()

    def event(self, event: QEvent) -> bool:
        if event.type() is QEvent.Type.LanguageChange:
            self._retranslate()
        return super().event(event)
