"""The window's type: Inter, bundled; Noto Sans CJK SC for Chinese; then whatever the system has."""

from __future__ import annotations

from PySide6.QtGui import QFont, QFontDatabase
from PySide6.QtWidgets import QApplication

from castray_desktop.ui.theme.resources import resource

FAMILIES = ("Inter", "Noto Sans CJK SC")
CONTEXTUAL = QFont.Tag("calt")
"""Inter's contextual alternates: they show `1920x1080` and `<-` as other characters than a name has."""


def load_fonts() -> tuple[str, ...]:
    """Make the bundled fonts known to Qt, and use them for widgets from now on; returns their families.

    Call it before widgets are created: a font that is set later does not reach those that are still hidden.
    Needs a QApplication.
    """
    families: list[str] = []
    folder = resource("fonts")
    for path in sorted(folder.glob("*.[ot]tf")) if folder.is_dir() else []:
        number = QFontDatabase.addApplicationFont(str(path))
        if number >= 0:
            families.extend(QFontDatabase.applicationFontFamilies(number))
    QApplication.setFont(font(13))
    return tuple(families)


def font(size_px: int, weight: int = 400, *, tabular: bool = False) -> QFont:
    """The window's font. `tabular` gives every digit one width, for numbers that change."""
    result = QFont()
    result.setFamilies([name for name in (*FAMILIES, *result.families()) if name])
    result.setPixelSize(size_px)
    result.setWeight(QFont.Weight(weight))
    result.setFeature(CONTEXTUAL, 0)
    if tabular:
        result.setFeature(QFont.Tag("tnum"), 1)
    return result
