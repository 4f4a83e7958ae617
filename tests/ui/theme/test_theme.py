"""Every pair of colours that is read or that carries meaning can be told apart."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from castray_desktop.ui.graph.node_items import DOT_ROLES, paint_dot
from castray_desktop.ui.theme import theme as themes
from castray_desktop.ui.theme.resources import resource
from castray_desktop.ui.theme.theme import (
    DARK,
    HIGH_DARK,
    HIGH_LIGHT,
    LIGHT,
    Contrast,
    Palette,
    Theme,
    build_style_sheet,
)
from castray_desktop.ui.widgets.status_glyphs import GlyphState, paint_glyph

TEXT, SHAPE = 4.5, 3.0
MORE = 7.0  # of text in high contrast
PALETTES = (LIGHT, DARK, HIGH_LIGHT, HIGH_DARK)
SURFACES = ("window", "card", "inset", "hover", "selected", "zone")
READ_ON = {
    "text": (*SURFACES, "tip"),
    "text_2": (*SURFACES, "tip"),
    "text_3": ("window", "card", "inset", "zone", "hover", "tip"),
    "accent": ("card", "inset", "accent_soft", "selected"),
    "ok": ("card", "inset", "ok_soft"),
    "warn": ("card", "inset", "warn_soft"),
    "bad": ("card", "inset", "bad_soft"),
    "on_accent": ("accent",),
}
SEEN_ON = {
    "accent": ("card", "window", "inset"),
    "ok_fill": ("card", "inset"),
    "warn_fill": ("card", "inset"),
    "bad_fill": ("card", "inset"),
    "offline": ("card", "inset"),
    "control": ("card", "inset"),
    "path_start": ("card",),
    "path_end": ("card",),
}


def luminance(color: str) -> float:
    ink = QColor(color)
    channels = (ink.redF(), ink.greenF(), ink.blueF())
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def pairs(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(ink, ground) for ink, grounds in table.items() for ground in grounds]


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.name)
@pytest.mark.parametrize(("ink", "ground"), pairs(READ_ON))
def test_text_can_be_read(palette: Palette, ink: str, ground: str) -> None:
    least = TEXT if palette in (LIGHT, DARK) else MORE
    assert contrast(getattr(palette, ink), getattr(palette, ground)) >= least


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.name)
@pytest.mark.parametrize(("shape", "ground"), pairs(SEEN_ON))
def test_shapes_can_be_seen(palette: Palette, shape: str, ground: str) -> None:
    assert contrast(getattr(palette, shape), getattr(palette, ground)) >= SHAPE


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.name)
def test_lines_of_the_plot_can_be_seen(palette: Palette) -> None:
    assert min(contrast(color, palette.card) for color in palette.series) >= SHAPE


@pytest.mark.parametrize("end", [themes.BUTTON_START, themes.BUTTON_END])
def test_white_can_be_read_on_the_primary_button(end: str) -> None:
    assert contrast(themes.ON_GRADIENT, end) >= TEXT


def test_the_choice_is_remembered(qtbot: QtBot, tmp_path: Path) -> None:
    settings = QSettings(str(tmp_path / "a.ini"), QSettings.Format.IniFormat)
    theme = Theme(settings)
    with qtbot.waitSignal(theme.changed):
        theme.set_dark(not theme.dark)
    assert Theme(settings).dark == theme.dark


@pytest.mark.parametrize("palette", [HIGH_LIGHT, HIGH_DARK], ids=lambda palette: palette.name)
def test_lines_are_as_visible_as_shapes_in_high_contrast(palette: Palette) -> None:
    for line in (palette.line, palette.line_strong, palette.zone_line, palette.warn_line):
        assert contrast(line, palette.card) >= SHAPE


def test_every_colour_is_part_of_a_pair() -> None:
    """A new role is measured, or said to carry no meaning."""
    silent = {
        *("name", "line", "line_strong", "decoration", "accent_line", "warn_line", "track", "zone_line"),
        *("canvas_dot", "grid"),
    }
    grounds = {ground for table in (READ_ON, SEEN_ON) for pair in table.values() for ground in pair}
    known = READ_ON.keys() | SEEN_ON.keys() | grounds | {"series"}
    assert {field.name for field in dataclasses.fields(Palette)} - silent - known == set()


def test_high_contrast_is_chosen_and_remembered(qtbot: QtBot, tmp_path: Path) -> None:
    settings = QSettings(str(tmp_path / "a.ini"), QSettings.Format.IniFormat)
    theme = Theme(settings)
    theme.set_dark(True)
    assert theme.palette is DARK
    with qtbot.waitSignal(theme.changed):
        theme.set_contrast(Contrast.HIGH)
    assert theme.palette is HIGH_DARK
    assert Theme(settings).palette is HIGH_DARK
    theme.set_dark(False)
    assert theme.palette is HIGH_LIGHT
    theme.set_contrast(Contrast.NORMAL)
    assert theme.palette is LIGHT


def test_light_or_dark_can_be_left_to_the_system_again(tmp_path: Path, qtbot: QtBot) -> None:
    settings = QSettings(str(tmp_path / "a.ini"), QSettings.Format.IniFormat)
    theme = Theme(settings)
    before = theme.dark
    theme.set_dark(not before)
    assert theme.choice
    theme.choose("")
    assert (theme.dark, theme.choice, Theme(settings).choice) == (before, "", "")


def test_nothing_is_announced_when_nothing_changes(qtbot: QtBot, theme: Theme) -> None:
    with qtbot.assertNotEmitted(theme.changed):
        theme.set_dark(theme.dark)


def test_every_role_is_a_colour(qapp: QApplication) -> None:
    for palette in PALETTES:
        for field in dataclasses.fields(palette):
            value = getattr(palette, field.name)
            if field.name != "name":
                assert all(
                    QColor(color).isValid() for color in (value if field.name == "series" else [value])
                )
        assert "$" not in build_style_sheet(palette)


def test_states_differ_by_shape_alone(qapp: QApplication) -> None:
    """Painted in one colour, no two glyphs look alike."""
    plain = dataclasses.replace(
        LIGHT, accent="#000000", ok_fill="#000000", warn_fill="#000000", bad_fill="#000000", offline="#000000"
    )
    pictures = set()
    for state in GlyphState:
        image = QImage(28, 28, QImage.Format.Format_Grayscale8)
        image.fill(QColor("white"))
        painter = QPainter(image)
        paint_glyph(painter, image.rect().toRectF(), state, plain)
        painter.end()
        pictures.add(bytes(image.constBits()))
    assert len(pictures) == len(GlyphState)


def test_dots_of_a_large_cluster_differ_by_shape_alone(qapp: QApplication) -> None:
    pictures = {}
    for state in DOT_ROLES.keys() - {GlyphState.SELECTED}:  # that one is a ring around the dot
        image = QImage(24, 24, QImage.Format.Format_Grayscale8)
        image.fill(QColor("white"))
        painter = QPainter(image)
        painter.translate(12, 12)
        painter.scale(2, 2)
        paint_dot(painter, state, QColor("black"))
        painter.end()
        pictures[bytes(image.constBits())] = state
    assert len(pictures) == len(DOT_ROLES) - 1


def test_every_icon_that_the_code_names_is_bundled() -> None:
    """Looks for the names of icons in the sources: a missing file would only be an empty place."""
    names = {path.stem for path in resource("icons").glob("*.svg")}
    assert {"send", "monitor", "x", "play", "network", "laptop", "file-down", "hard-drive-download"} <= names
    ui = Path(themes.__file__).parent.parent
    text = "\n".join(path.read_text("utf-8") for path in ui.rglob("*.py"))
    used = set(re.findall(r'(?:icon|pixmap)\((?:\w+, )*"([a-z0-9-]+)"', text))
    used |= set(re.findall(r'(?:IconLabel|icon_button)\(\s*(?:self\._)?theme, "([a-z0-9-]+)"', text))
    assert used
    assert used - names == set()
