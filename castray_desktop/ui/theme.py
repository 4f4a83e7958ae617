"""Colours: the roles of the design, their values in light and dark, and which of the two is on."""

from __future__ import annotations

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

SETTING = "theme"


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
        return self.inset if self.name == "dark" else self.card


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


class Theme(QObject):
    """Whether the window is light or dark, and the colours that follow.

    Follows the system's colour scheme until `set_dark` is called; that choice is kept in `settings`.
    Signals: `changed` after the colours have changed.
    """

    changed = Signal()

    def __init__(self, settings: QSettings | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        chosen = settings.value(SETTING, "") if settings is not None else ""
        self._chosen = chosen in (LIGHT.name, DARK.name)
        self._dark = chosen == DARK.name if self._chosen else system_is_dark()
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._follow_system)

    @property
    def dark(self) -> bool:
        return self._dark

    @property
    def palette(self) -> Palette:
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


def mix(below: str, above: str, share: float) -> QColor:
    """`above` laid over `below` with the opacity `share`, as an opaque colour."""
    first, second = QColor(below), QColor(above)
    return QColor.fromRgbF(
        first.redF() + (second.redF() - first.redF()) * share,
        first.greenF() + (second.greenF() - first.greenF()) * share,
        first.blueF() + (second.blueF() - first.blueF()) * share,
    )
