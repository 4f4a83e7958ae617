"""The language of the window, and its translations."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, QObject, QSettings, QTranslator

from castray_desktop.ui.theme.resources import resource

SETTING = "language"
SYSTEM = ""
ENGLISH = "en"
CHINESE = "zh_CN"
CHOICES = (SYSTEM, ENGLISH, CHINESE)
SPOKEN = {"en": ENGLISH, "zh": CHINESE}


class Language(QObject):
    """The window's language: the system's, until `choose` is called; that choice is kept in `settings`.

    `start` before the first widget is made. A change reaches every widget as Qt's `LanguageChange` event.
    """

    def __init__(self, settings: QSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        kept = settings.value(SETTING, SYSTEM)
        self._choice = kept if kept in CHOICES else SYSTEM
        self._spoken = ENGLISH
        self._translators: list[QTranslator] = []

    @property
    def choice(self) -> str:
        """One of `CHOICES`."""
        return self._choice

    @property
    def spoken(self) -> str:
        """What is spoken now: `ENGLISH` or `CHINESE`."""
        return self._spoken

    def start(self) -> None:
        """Speak the language that was chosen, or the system's."""
        self._speak(self._choice or system_language(QLocale.system().uiLanguages()))

    def choose(self, choice: str) -> None:
        """Speak this one of `CHOICES` from now on, and remember it."""
        self._choice = choice
        self._settings.setValue(SETTING, choice)
        self.start()

    def stop(self) -> None:
        """Leave the application in English, as it was."""
        self._speak(ENGLISH)

    def _speak(self, language: str) -> None:
        if language == self._spoken:
            return
        self._spoken = language
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
    """The first of the user's languages that the window speaks, most wanted first; else English.

    They are written like "zh-Hans-CN" or "en-GB".
    """
    for name in wanted:
        found = SPOKEN.get(name.replace("_", "-").split("-")[0].casefold())
        if found is not None:
            return found
    return ENGLISH
