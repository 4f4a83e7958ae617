"""The style sheet of plain Qt controls, made from the theme's colours. Fonts are set on the widgets."""

from __future__ import annotations

from string import Template

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.theme import Palette, Theme

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

QLineEdit { background: $field; border: 1px solid $line_strong; border-radius: 8px; padding: 0 8px;
    selection-background-color: $accent; selection-color: $on_accent; }
QLineEdit:focus { border-color: $accent; }
QLineEdit[invalid="true"] { border-color: $bad_fill; }
QLineEdit:disabled { background: $hover; color: $text_3; }

QPlainTextEdit, QSpinBox { background: $field; border: 1px solid $line_strong; border-radius: 8px;
    padding: 2px 6px; selection-background-color: $accent; selection-color: $on_accent; }
QPlainTextEdit:focus, QSpinBox:focus { border-color: $accent; }
QPlainTextEdit:disabled, QSpinBox:disabled { background: $hover; color: $text_3; }
QSpinBox::up-button { subcontrol-origin: border; subcontrol-position: top right; width: 0; }
QSpinBox::down-button { subcontrol-origin: border; subcontrol-position: bottom right; width: 0; }
QSpinBox::up-arrow, QSpinBox::down-arrow { image: none; width: 0; height: 0; }
QSpinBox QLineEdit { background: transparent; border: none; border-radius: 0; padding: 0; }
QProgressBar { background: $track; border: none; border-radius: 3px; }
QProgressBar::chunk { background: $accent; border-radius: 3px; }
QCheckBox, QRadioButton { background: transparent; spacing: 8px; }
QCheckBox:disabled, QRadioButton:disabled { color: $text_3; }

QAbstractItemView { selection-background-color: $selected; selection-color: $text; }
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
"""
)


def build_style_sheet(palette: Palette) -> str:
    """The style sheet in the colours of `palette`."""
    colors = {name: value for name, value in vars(palette).items() if isinstance(value, str)}
    return _SHEET.substitute(colors, field=palette.field)


def build_qt_palette(palette: Palette) -> QPalette:
    """The same colours for what Qt paints itself: dialogs, tool tips, selections."""
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
    """Give the whole application the theme's look. To be called again when the theme has changed."""
    application.setPalette(build_qt_palette(theme.palette))
    application.setStyleSheet(build_style_sheet(theme.palette))
    application.setFont(font(13))  # last: a new style takes the desktop's for menus and lists
