"""Colours: the roles of the design, their values in light, in dark and in high contrast, and which are on."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from PySide6.QtCore import QObject, QSettings, Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication

BRAND_START = "#667EEA"
BRAND_END = "#764BA2"
BUTTON_START = "#5568D6"  # white on BRAND_START is only 3.7:1
BUTTON_END = BRAND_END
SOURCE_START = "#5F76E4"
SOURCE_END = BRAND_END
ON_GRADIENT = "#FFFFFF"

SETTING, CONTRAST_SETTING = "theme", "contrast"


class Contrast(enum.StrEnum):
    """How much colours differ."""

    SYSTEM = "system"  # as the desktop asks for
    NORMAL = "normal"
    HIGH = "high"


@dataclass(frozen=True)
class Palette:
    """One colour for each role, as #RRGGBB."""

    name: str
    window: str
    card: str
    inset: str
    hover: str
    selected: str
    line: str
    line_strong: str
    control: str
    text: str
    text_2: str
    text_3: str
    decoration: str
    accent: str
    on_accent: str
    accent_soft: str
    accent_line: str
    ok: str
    ok_fill: str
    ok_soft: str
    warn: str
    warn_fill: str
    warn_soft: str
    warn_line: str
    bad: str
    bad_fill: str
    bad_soft: str
    offline: str
    track: str
    zone: str
    zone_line: str
    canvas_dot: str
    grid: str
    tip: str
    path_start: str
    path_end: str
    series: tuple[str, ...]

    @property
    def field(self) -> str:
        """Fill of buttons and fields: the card's in light, the inset's in dark."""
        return self.inset if self.name == DARK.name else self.card


LIGHT = Palette(
    name="light",
    window="#F2F4F9",
    card="#FFFFFF",
    inset="#F6F7FB",
    hover="#EDEFF7",
    selected="#ECEFFD",
    line="#E2E5EF",
    line_strong="#CDD2E0",
    control="#858CA3",
    text="#1A1E2E",
    text_2="#525A73",
    text_3="#626A82",
    decoration="#9AA1B5",
    accent="#4F62D2",
    on_accent="#FFFFFF",
    accent_soft="#ECEFFD",
    accent_line="#C5CDF7",
    ok="#12784F",
    ok_fill="#1A8F60",
    ok_soft="#E4F4EB",
    warn="#8A5700",
    warn_fill="#C47A00",
    warn_soft="#FCF1DC",
    warn_line="#EBCD94",
    bad="#C42F3C",
    bad_fill="#D23B48",
    bad_soft="#FCEBEC",
    offline="#7F869C",
    track="#E3E6F0",
    zone="#F6F7FC",
    zone_line="#DFE3F1",
    canvas_dot="#E9ECF4",
    grid="#ECEEF5",
    tip="#FFFFFF",
    path_start="#667EEA",
    path_end="#764BA2",
    series=("#0B7F80", "#2A74C4", "#66751A", "#A9541C", "#B03682", "#7A5230", "#4B6478", "#8A3FC0"),
)

DARK = Palette(
    name="dark",
    window="#11131B",
    card="#191C28",
    inset="#141721",
    hover="#222637",
    selected="#242A48",
    line="#272B3B",
    line_strong="#3A4058",
    control="#717896",
    text="#E9EBF5",
    text_2="#ABB2C9",
    text_3="#929AB4",
    decoration="#5E657D",
    accent="#97A5FF",
    on_accent="#14172A",
    accent_soft="#242A48",
    accent_line="#44508F",
    ok="#4FC896",
    ok_fill="#3FBF8A",
    ok_soft="#16302A",
    warn="#F0B450",
    warn_fill="#E8A634",
    warn_soft="#33290F",
    warn_line="#5C4A1E",
    bad="#FF8A91",
    bad_fill="#F0656F",
    bad_soft="#3A1D25",
    offline="#7C849E",
    track="#2B3043",
    zone="#1D2130",
    zone_line="#2D3349",
    canvas_dot="#222636",
    grid="#232738",
    tip="#222637",
    path_start="#7C91FF",
    path_end="#A57BDC",
    series=("#3EC4C0", "#6FB1F5", "#B5C24C", "#EE9B5B", "#EC80C2", "#C9A27E", "#9FB6C8", "#C59BFF"),
)


HIGH_LIGHT = Palette(
    name="light in high contrast",
    window="#FFFFFF",
    card="#FFFFFF",
    inset="#FFFFFF",
    hover="#E8E8E8",
    selected="#DDE3FF",
    line="#5A5A5A",
    line_strong="#000000",
    control="#000000",
    text="#000000",
    text_2="#000000",
    text_3="#1E1E1E",
    decoration="#3C3C3C",
    accent="#1F2F9E",
    on_accent="#FFFFFF",
    accent_soft="#E6EAFF",
    accent_line="#1F2F9E",
    ok="#0A4A2E",
    ok_fill="#0B5535",
    ok_soft="#FFFFFF",
    warn="#5A3600",
    warn_fill="#6B4200",
    warn_soft="#FFFFFF",
    warn_line="#5A3600",
    bad="#8A0E1A",
    bad_fill="#96101D",
    bad_soft="#FFFFFF",
    offline="#3C3F4A",
    track="#C4C4C4",
    zone="#FFFFFF",
    zone_line="#5A5A5A",
    canvas_dot="#FFFFFF",
    grid="#B0B0B0",
    tip="#FFFFFF",
    path_start="#1F2F9E",
    path_end="#4B1F80",
    series=("#00494A", "#123F78", "#3B450A", "#6B3208", "#7A1C58", "#523519", "#2E3E4C", "#5A2390"),
)

HIGH_DARK = Palette(
    name="dark in high contrast",
    window="#000000",
    card="#000000",
    inset="#000000",
    hover="#262626",
    selected="#1B2352",
    line="#A8A8A8",
    line_strong="#FFFFFF",
    control="#FFFFFF",
    text="#FFFFFF",
    text_2="#FFFFFF",
    text_3="#E4E4E4",
    decoration="#C8C8C8",
    accent="#BFC9FF",
    on_accent="#000000",
    accent_soft="#141A3C",
    accent_line="#BFC9FF",
    ok="#7CF0BF",
    ok_fill="#6FE6B3",
    ok_soft="#000000",
    warn="#FFD27A",
    warn_fill="#FFC95F",
    warn_soft="#000000",
    warn_line="#FFD27A",
    bad="#FFB3B8",
    bad_fill="#FF9AA1",
    bad_soft="#000000",
    offline="#C4C9D6",
    track="#4A4A4A",
    zone="#000000",
    zone_line="#A8A8A8",
    canvas_dot="#000000",
    grid="#4A4A4A",
    tip="#000000",
    path_start="#BFC9FF",
    path_end="#DCC2FF",
    series=("#5FE8E3", "#9CCBFF", "#D6E36B", "#FFB982", "#FFA6D8", "#E3C39F", "#C3D6E6", "#DCBEFF"),
)


class Theme(QObject):
    """Whether the window is light or dark and of high contrast, and the colours that follow.

    Follows the system until `set_dark` is called, and its wish for contrast until `set_contrast` is; those
    choices are kept in `settings`. Signals: `changed` after the colours have changed.
    """

    changed = Signal()

    def __init__(self, settings: QSettings | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        chosen = settings.value(SETTING, "") if settings is not None else ""
        self._chosen = chosen in (LIGHT.name, DARK.name)
        self._dark = chosen == DARK.name if self._chosen else system_is_dark()
        kept = str(settings.value(CONTRAST_SETTING, "")) if settings is not None else ""
        self._contrast = Contrast(kept) if kept in set(Contrast) else Contrast.SYSTEM
        self._high = self._wants_high()
        hints = QGuiApplication.styleHints()
        hints.colorSchemeChanged.connect(self._follow_system)
        hints.accessibility().contrastPreferenceChanged.connect(self._follow_contrast)

    @property
    def dark(self) -> bool:
        return self._dark

    @property
    def contrast(self) -> Contrast:
        """What was chosen."""
        return self._contrast

    @property
    def palette(self) -> Palette:
        if self._high:
            return HIGH_DARK if self._dark else HIGH_LIGHT
        return DARK if self._dark else LIGHT

    def color(self, role: str) -> QColor:
        """The colour of a role of `Palette`."""
        return QColor(getattr(self.palette, role))

    def set_dark(self, dark: bool) -> None:
        """Choose, against the system if need be, and remember the choice."""
        self._chosen = True
        if self._settings is not None:
            self._settings.setValue(SETTING, (DARK if dark else LIGHT).name)
        self._change(dark)

    def follow_system(self) -> None:
        """Follow the desktop's light or dark mode, and forget the choice."""
        self._chosen = False
        if self._settings is not None:
            self._settings.remove(SETTING)
        self._follow_system()

    @property
    def follows_system(self) -> bool:
        """Whether the desktop decides between light and dark."""
        return not self._chosen

    def set_contrast(self, contrast: Contrast) -> None:
        """Choose how much colours differ, and remember the choice."""
        self._contrast = contrast
        if self._settings is not None:
            self._settings.setValue(CONTRAST_SETTING, contrast.value)
        self._follow_contrast()

    def _follow_contrast(self) -> None:
        if self._wants_high() is not self._high:
            self._high = not self._high
            self.changed.emit()

    def _wants_high(self) -> bool:
        return self._contrast is Contrast.HIGH or (
            self._contrast is Contrast.SYSTEM and system_wants_contrast()
        )

    @property
    def choice(self) -> str:
        """What was chosen, "light" or "dark"; empty while the system is followed."""
        return (DARK if self._dark else LIGHT).name if self._chosen else ""

    def choose(self, choice: str) -> None:
        """Light, dark, or for an empty one what the system says; and remember it."""
        if choice:
            self.set_dark(choice == DARK.name)
        else:
            self.follow_system()

    def _follow_system(self) -> None:
        if not self._chosen:
            self._change(system_is_dark())

    def _change(self, dark: bool) -> None:
        if dark != self._dark:
            self._dark = dark
            self.changed.emit()


def system_is_dark() -> bool:
    """Whether the desktop asks for dark windows; False where it doesn't say."""
    return QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark


def system_wants_contrast() -> bool:
    """Whether the desktop asks for high contrast; False where it doesn't say."""
    hints = QGuiApplication.styleHints()  # what it gives is gone when it is
    return hints.accessibility().contrastPreference() == Qt.ContrastPreference.HighContrast


def mix(below: str, above: str, share: float) -> QColor:
    """`above` laid over `below` with the opacity `share`, as an opaque colour."""
    first, second = QColor(below), QColor(above)
    return QColor.fromRgbF(
        first.redF() + (second.redF() - first.redF()) * share,
        first.greenF() + (second.greenF() - first.greenF()) * share,
        first.blueF() + (second.blueF() - first.blueF()) * share,
    )
