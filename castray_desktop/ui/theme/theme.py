"""The window's theme: colour roles, their values in each palette, and the style sheet made from them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from string import Template

from PySide6.QtCore import QObject, QSettings, Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from castray_desktop.ui.theme.fonts import font

BRAND_START = "#667EEA"
BRAND_END = "#764BA2"
BUTTON_START = "#5568D6"  # white on BRAND_START is only 3.7:1
BUTTON_END = BRAND_END
SOURCE_START = "#5F76E4"
SOURCE_END = BRAND_END
ON_GRADIENT = "#FFFFFF"

SETTING, CONTRAST_SETTING = "theme", "contrast"


class Contrast(enum.StrEnum):
    """The contrast of the palette."""

    SYSTEM = "system"  # the desktop's setting
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


# One row for each role: light, dark, light in high contrast, dark in high contrast.
_COLORS = {
    "window": ("#F2F4F9", "#11131B", "#FFFFFF", "#000000"),
    "card": ("#FFFFFF", "#191C28", "#FFFFFF", "#000000"),
    "inset": ("#F6F7FB", "#141721", "#FFFFFF", "#000000"),
    "hover": ("#EDEFF7", "#222637", "#E8E8E8", "#262626"),
    "selected": ("#ECEFFD", "#242A48", "#DDE3FF", "#1B2352"),
    "line": ("#E2E5EF", "#272B3B", "#5A5A5A", "#A8A8A8"),
    "line_strong": ("#CDD2E0", "#3A4058", "#000000", "#FFFFFF"),
    "control": ("#858CA3", "#717896", "#000000", "#FFFFFF"),
    "text": ("#1A1E2E", "#E9EBF5", "#000000", "#FFFFFF"),
    "text_2": ("#525A73", "#ABB2C9", "#000000", "#FFFFFF"),
    "text_3": ("#626A82", "#929AB4", "#1E1E1E", "#E4E4E4"),
    "decoration": ("#9AA1B5", "#5E657D", "#3C3C3C", "#C8C8C8"),
    "accent": ("#4F62D2", "#97A5FF", "#1F2F9E", "#BFC9FF"),
    "on_accent": ("#FFFFFF", "#14172A", "#FFFFFF", "#000000"),
    "accent_soft": ("#ECEFFD", "#242A48", "#E6EAFF", "#141A3C"),
    "accent_line": ("#C5CDF7", "#44508F", "#1F2F9E", "#BFC9FF"),
    "ok": ("#12784F", "#4FC896", "#0A4A2E", "#7CF0BF"),
    "ok_fill": ("#1A8F60", "#3FBF8A", "#0B5535", "#6FE6B3"),
    "ok_soft": ("#E4F4EB", "#16302A", "#FFFFFF", "#000000"),
    "warn": ("#8A5700", "#F0B450", "#5A3600", "#FFD27A"),
    "warn_fill": ("#C47A00", "#E8A634", "#6B4200", "#FFC95F"),
    "warn_soft": ("#FCF1DC", "#33290F", "#FFFFFF", "#000000"),
    "warn_line": ("#EBCD94", "#5C4A1E", "#5A3600", "#FFD27A"),
    "bad": ("#C42F3C", "#FF8A91", "#8A0E1A", "#FFB3B8"),
    "bad_fill": ("#D23B48", "#F0656F", "#96101D", "#FF9AA1"),
    "bad_soft": ("#FCEBEC", "#3A1D25", "#FFFFFF", "#000000"),
    "offline": ("#7F869C", "#7C849E", "#3C3F4A", "#C4C9D6"),
    "track": ("#E3E6F0", "#2B3043", "#C4C4C4", "#4A4A4A"),
    "zone": ("#F6F7FC", "#1D2130", "#FFFFFF", "#000000"),
    "zone_line": ("#DFE3F1", "#2D3349", "#5A5A5A", "#A8A8A8"),
    "canvas_dot": ("#E9ECF4", "#222636", "#FFFFFF", "#000000"),
    "grid": ("#ECEEF5", "#232738", "#B0B0B0", "#4A4A4A"),
    "tip": ("#FFFFFF", "#222637", "#FFFFFF", "#000000"),
    "path_start": ("#667EEA", "#7C91FF", "#1F2F9E", "#BFC9FF"),
    "path_end": ("#764BA2", "#A57BDC", "#4B1F80", "#DCC2FF"),
}
_SERIES = (  # of the plot's lines, in the same order
    ("#0B7F80", "#2A74C4", "#66751A", "#A9541C", "#B03682", "#7A5230", "#4B6478", "#8A3FC0"),
    ("#3EC4C0", "#6FB1F5", "#B5C24C", "#EE9B5B", "#EC80C2", "#C9A27E", "#9FB6C8", "#C59BFF"),
    ("#00494A", "#123F78", "#3B450A", "#6B3208", "#7A1C58", "#523519", "#2E3E4C", "#5A2390"),
    ("#5FE8E3", "#9CCBFF", "#D6E36B", "#FFB982", "#FFA6D8", "#E3C39F", "#C3D6E6", "#DCBEFF"),
)


def _palette(name: str, column: int) -> Palette:
    colors = {role: row[column] for role, row in _COLORS.items()}
    return Palette(name=name, series=_SERIES[column], **colors)


LIGHT = _palette("light", 0)
DARK = _palette("dark", 1)
HIGH_LIGHT = _palette("light in high contrast", 2)
HIGH_DARK = _palette("dark in high contrast", 3)


class Theme(QObject):
    """Selects the palette: light or dark, normal or high contrast.

    Follows the desktop's settings until `choose` or `set_contrast` is called; `settings` keeps the choices.
    Signal: `changed` after the colours have changed.
    """

    changed = Signal()

    def __init__(self, settings: QSettings | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        chosen = settings.value(SETTING, "") if settings is not None else ""
        self.choice = str(chosen) if chosen in (LIGHT.name, DARK.name) else ""  # "": that of the system
        kept = str(settings.value(CONTRAST_SETTING, "")) if settings is not None else ""
        self.contrast = Contrast(kept) if kept in set(Contrast) else Contrast.SYSTEM
        self.dark, self._high = self._wants_dark(), self._wants_high()
        hints = QGuiApplication.styleHints()
        hints.colorSchemeChanged.connect(self._update)
        hints.accessibility().contrastPreferenceChanged.connect(self._update)

    @property
    def palette(self) -> Palette:
        if self._high:
            return HIGH_DARK if self.dark else HIGH_LIGHT
        return DARK if self.dark else LIGHT

    def color(self, role: str) -> QColor:
        """The colour of a role of `Palette`."""
        return QColor(getattr(self.palette, role))

    def choose(self, choice: str) -> None:
        """Choose "light" or "dark", or "" to follow the desktop; the choice is remembered."""
        self.choice = choice
        if self._settings is not None:
            self._settings.setValue(SETTING, choice)
        self._update()

    def set_dark(self, dark: bool) -> None:
        """Choose dark or light; the choice is remembered."""
        self.choose((DARK if dark else LIGHT).name)

    def set_contrast(self, contrast: Contrast) -> None:
        """Choose the contrast; the choice is remembered."""
        self.contrast = contrast
        if self._settings is not None:
            self._settings.setValue(CONTRAST_SETTING, contrast.value)
        self._update()

    def _wants_dark(self) -> bool:
        if self.choice:
            return self.choice == DARK.name
        return QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark

    def _wants_high(self) -> bool:
        if self.contrast is not Contrast.SYSTEM:
            return self.contrast is Contrast.HIGH
        hints = QGuiApplication.styleHints()  # its members live as long as this reference
        return hints.accessibility().contrastPreference() == Qt.ContrastPreference.HighContrast

    def _update(self) -> None:
        wanted = (self._wants_dark(), self._wants_high())
        if wanted != (self.dark, self._high):
            self.dark, self._high = wanted
            self.changed.emit()


def mix(below: str, above: str, share: float) -> QColor:
    """`above` laid over `below` with the opacity `share`, as an opaque colour."""
    first, second = QColor(below), QColor(above)
    return QColor.fromRgbF(
        first.redF() + (second.redF() - first.redF()) * share,
        first.greenF() + (second.greenF() - first.greenF()) * share,
        first.blueF() + (second.blueF() - first.blueF()) * share,
    )


# The style sheet sets no fonts: widgets set their own.
_SHEET = Template(
    """
QWidget { color: $text; }
QMainWindow, QWidget#central { background: $window; }
QLabel { background: transparent; }
QLabel[tone="2"] { color: $text_2; }
QLabel[tone="3"] { color: $text_3; }
QLabel[tone="accent"] { color: $accent; }
QLabel[tone="warn"] { color: $warn; }
QLabel[tone="bad"] { color: $bad; }
QLabel[tone="ok"] { color: $ok; }
QToolTip { background: $tip; color: $text; border: 1px solid $line_strong; padding: 4px 6px; }

QPushButton, QComboBox, QAbstractItemView { outline: none; }
QPushButton { background: $field; border: 1px solid $line_strong; border-radius: 8px; padding: 0 9px; }
QPushButton:hover { background: $hover; }
QPushButton:pressed, QPushButton:checked { background: $selected; }
QPushButton:disabled { background: $hover; color: $text_3; border-color: $line; }
QPushButton[kind="flat"], QPushButton[kind="icon"] {
    background: transparent; border: 1px solid transparent; padding: 0 5px; color: $text_2;
}
QPushButton[kind="icon"] { padding: 0; }
QPushButton[kind="flat"]:hover, QPushButton[kind="icon"]:hover { background: $hover; }
QPushButton[kind="flat"]:pressed, QPushButton[kind="icon"]:pressed { background: $selected; }
QPushButton[kind="icon"]:checked { background: $accent_soft; }
QPushButton[kind="flat"]:disabled { color: $text_3; background: transparent; }
QPushButton[kind="link"] { background: transparent; border: none; padding: 0; color: $accent; }
QPushButton[kind="link"]:hover { text-decoration: underline; }
QPushButton::menu-indicator { image: none; width: 0; }
QPushButton[end] { background: $field; border: 1px solid $line_strong; border-right-width: 0; color: $text_2;
    border-radius: 0; padding: 0 9px; }
QPushButton[end]:hover { background: $hover; }
QPushButton[end]:pressed { background: $selected; }
QPushButton[end]:checked { background: $accent_soft; color: $accent; }
QPushButton[end]:disabled { background: $field; color: $text_3; }
QPushButton[end="first"] { border-top-left-radius: 8px; border-bottom-left-radius: 8px; }
QPushButton[end="last"] { border-top-right-radius: 8px; border-bottom-right-radius: 8px;
    border-right-width: 1px; }
QPushButton[kind="step"] { padding: 0; }
QPushButton[kind="step"][end="last"] { border-left-width: 0; }

QLineEdit { background: $field; border: 1px solid $line_strong; border-radius: 8px; padding: 0 8px;
    selection-background-color: $accent; selection-color: $on_accent; }
QLineEdit { placeholder-text-color: $text_3; } /* else it is the text at half its opacity */
QLineEdit:focus { border-color: $accent; }
QLineEdit[ringed="true"]:focus { border-color: $line_strong; }
QLineEdit[invalid="true"] { border-color: $bad_fill; }
QLineEdit:disabled { background: $hover; color: $text_3; }

QPlainTextEdit, QSpinBox { background: $field; border: 1px solid $line_strong; border-radius: 8px;
    padding: 2px 6px; selection-background-color: $accent; selection-color: $on_accent; }
QPlainTextEdit:focus, QSpinBox:focus { border-color: $accent; }
QPlainTextEdit:disabled, QSpinBox:disabled { background: $hover; color: $text_3; }
QSpinBox::up-button { subcontrol-origin: border; subcontrol-position: top right; width: 0; }
QSpinBox::down-button { subcontrol-origin: border; subcontrol-position: bottom right; width: 0; }
QSpinBox::up-arrow, QSpinBox::down-arrow { image: none; width: 0; height: 0; }
QSpinBox[kind="step"] { border-radius: 0; padding: 0; }
QSpinBox QLineEdit { background: transparent; border: none; border-radius: 0; padding: 0; }
QProgressBar { background: $track; border: none; border-radius: 3px; }
QProgressBar::chunk { background: $accent; border-radius: 3px; }
QCheckBox, QRadioButton { background: transparent; spacing: 8px; }
QCheckBox:disabled, QRadioButton:disabled { color: $text_3; }

QAbstractItemView { selection-background-color: $selected; selection-color: $text; }
QAbstractItemView[kind="plain"] { background: transparent; }
QAbstractItemView[kind="plain"] QHeaderView { background: $inset; border: none; }
QComboBox QAbstractItemView, QMenu { background: $card; border: 1px solid $line_strong;
    border-radius: 8px; padding: 4px; outline: none; }
QComboBox QAbstractItemView::item { min-height: 28px; padding: 0 8px; border-radius: 6px; color: $text; }
QComboBox QAbstractItemView::item:selected { background: $selected; color: $text; }
QMenu::item { padding: 6px 20px 6px 12px; border-radius: 6px; color: $text; }
QMenu::icon { padding-left: 8px; }
QMenu::item:selected { background: $selected; }
QMenu::item:disabled { color: $text_3; }
QMenu::separator { height: 1px; background: $line; margin: 4px 8px; }

QScrollArea, QScrollArea > QWidget > QWidget { background: transparent; border: none; }
QScrollBar:vertical { background: transparent; width: 6px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 6px; margin: 0; }
QScrollBar::handle { background: $line_strong; border-radius: 3px; min-height: 24px; min-width: 24px; }
QScrollBar::handle:hover { background: $control; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
QSplitter::handle { background: transparent; }
QSplitter[kind="line"]::handle { background: $line; }
"""
)


def build_style_sheet(palette: Palette) -> str:
    """The style sheet in the colours of `palette`."""
    colors = {name: value for name, value in vars(palette).items() if isinstance(value, str)}
    return _SHEET.substitute(colors, field=palette.field)


def build_qt_palette(palette: Palette) -> QPalette:
    """The same colours for controls that Qt paints itself: dialogs, tool tips, selections."""
    result = QPalette()
    role = QPalette.ColorRole
    values = {
        role.Window: palette.card,
        role.WindowText: palette.text,
        role.Base: palette.field,
        role.AlternateBase: palette.inset,
        role.Text: palette.text,
        role.PlaceholderText: palette.text_3,
        role.Button: palette.field,
        role.ButtonText: palette.text,
        role.BrightText: palette.text,
        role.Highlight: palette.accent,
        role.HighlightedText: palette.on_accent,
        role.ToolTipBase: palette.tip,
        role.ToolTipText: palette.text,
        role.Link: palette.accent,
        role.Mid: palette.line_strong,
        role.Dark: palette.line_strong,
    }
    for key, value in values.items():
        result.setColor(key, QColor(value))
    for key in (role.WindowText, role.Text, role.ButtonText):
        result.setColor(QPalette.ColorGroup.Disabled, key, QColor(palette.text_3))
    return result


def apply_style(application: QApplication, theme: Theme) -> None:
    """Apply the theme to the whole application. Call it again when the theme has changed.

    Qt then paints all widgets again, so they need not listen to `Theme.changed` for that.
    """
    application.setPalette(build_qt_palette(theme.palette))
    application.setStyleSheet(build_style_sheet(theme.palette))
    application.setFont(font(13))  # last: a new style sheet resets the font of menus and lists
