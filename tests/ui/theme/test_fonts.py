"""Names, paths, hashes, versions and commands are shown in the characters that they have."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QFont, QRawFont, QTextLayout
from PySide6.QtWidgets import QApplication, QWidget

from castray_desktop.ui.theme.fonts import CONTEXTUAL, font, load_fonts
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink

NAMES = ("1920x1080", "x86_64", "a<-b->c", "3x4", "v1.2-rc", "0x9f2c", "<=>", "a--b", "10:30", "(A)", "*.tmp")


def shaped(text: str, used: QFont) -> tuple[list[int], list[int]]:
    """The glyphs that a text is drawn with, and those of its characters."""
    layout = QTextLayout(text, used)
    layout.beginLayout()
    layout.createLine()
    layout.endLayout()
    runs = layout.glyphRuns()
    drawn = [glyph for run in runs for glyph in run.glyphIndexes()]
    return drawn, list(runs[0].rawFont().glyphIndexesForString(text))


@pytest.mark.parametrize("text", NAMES)
def test_characters_are_drawn_as_they_are(qapp: QApplication, text: str) -> None:
    load_fonts()
    assert QRawFont.fromFont(font(13)).familyName().startswith("Inter")
    for size, weight in ((11, 400), (13, 500), (20, 600)):
        drawn, wanted = shaped(text, font(size, weight))
        assert drawn == wanted


def test_no_font_of_the_window_changes_characters(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    QApplication.processEvents()

    def plain(used: QFont) -> bool:
        return used.isFeatureSet(CONTEXTUAL) and used.featureValue(CONTEXTUAL) == 0

    assert plain(QApplication.font())
    assert [each for each in window.findChildren(QWidget) if not plain(each.font())] == []
