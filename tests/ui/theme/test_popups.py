"""Popups as they are painted: the row that is chosen can be read, in every palette."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QRect, QStringListModel
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QComboBox,
    QFileDialog,
    QLineEdit,
    QListView,
    QMenu,
    QWidget,
)
from pytestqt.qtbot import QtBot

from castray_desktop.ui.theme.fonts import font, load_fonts
from castray_desktop.ui.theme.theme import Contrast, Theme, apply_style
from castray_desktop.ui.widgets.fields import Dropdown
from tests.helpers.desktop.on_screen import pixels
from tests.ui.theme.test_theme import MORE, TEXT, contrast

LOOKS = [(dark, high) for high in (Contrast.NORMAL, Contrast.HIGH) for dark in (False, True)]
WORDS = ["Skip identical", "Overwrite", "Keep both"]


def contrast_in(widget: QWidget, rect: QRect) -> float:
    """Of the ground of a row, its commonest colour, and the ink that differs most from it."""
    inside = QRect(rect.x() + 10, rect.y() + 6, 40, rect.height() - 12)  # the text, without what is round it
    colors, counts = np.unique(pixels(widget.grab(inside)).reshape(-1, 3), axis=0, return_counts=True)
    names = [QColor(*(int(part) for part in color)).name() for color in colors]
    ground = names[int(counts.argmax())]
    return max(contrast(name, ground) for name in names)


@pytest.fixture(params=LOOKS, ids=lambda look: f"{'dark' if look[0] else 'light'}-{look[1].value}")
def least(request: pytest.FixtureRequest, qapp: QApplication, theme: Theme) -> Iterator[float]:
    """The style is that of a palette; how much contrast text has to have in it."""
    dark, high = request.param
    load_fonts()
    theme.set_dark(dark)
    theme.set_contrast(high)
    apply_style(qapp, theme)
    yield MORE if high is Contrast.HIGH else TEXT
    qapp.setStyleSheet("")


def chosen_row(view: QAbstractItemView, row: int = 1) -> float:
    index = view.model().index(row, 0)
    view.setCurrentIndex(index)
    QApplication.processEvents()
    assert view.isVisible()
    assert view.viewport().rect().contains(view.visualRect(index).center())
    return contrast_in(view.viewport(), view.visualRect(index))


def opened(qtbot: QtBot, combo: QComboBox) -> QAbstractItemView:
    """The list of a drop-down, as it opens."""
    qtbot.addWidget(combo)
    combo.addItems(WORDS)
    combo.show()
    combo.showPopup()
    qtbot.waitUntil(combo.view().isVisible)
    return combo.view()


def test_the_hint_in_an_empty_field_can_be_read(qtbot: QtBot, least: float) -> None:
    field = QLineEdit()
    qtbot.addWidget(field)
    field.setFixedSize(240, 32)
    field.setFont(font(13, 700))  # strokes that are wide enough to have their whole colour
    field.setPlaceholderText("IIIIIIIIIIIIIIIIIIII")
    field.show()
    for enabled in (True, False):
        field.setEnabled(enabled)
        field.clearFocus()
        QApplication.processEvents()
        assert contrast_in(field, field.rect()) >= least


def test_the_chosen_row_of_a_drop_down_can_be_read(qtbot: QtBot, theme: Theme, least: float) -> None:
    for combo in (Dropdown(theme, lambda: "If a file exists"), QComboBox()):
        view = opened(qtbot, combo)
        assert [chosen_row(view, row) >= least for row in range(3)] == [True] * 3
        combo.hidePopup()
        combo.hide()


def test_the_chosen_row_of_a_list_and_of_a_file_dialog_can_be_read(qtbot: QtBot, least: float) -> None:
    plain = QListView()
    model = QStringListModel(WORDS, plain)
    plain.setModel(model)
    dialog = QFileDialog(None, "", str(Path(__file__).parent.parent))
    dialog.setOption(QFileDialog.Option.DontUseNativeDialog)
    for widget in (plain, dialog):
        qtbot.addWidget(widget)
        widget.show()
    assert chosen_row(plain) >= least
    files = dialog.findChild(QListView, "listView")
    assert isinstance(files, QListView)
    root = files.rootIndex()
    qtbot.waitUntil(lambda: files.model().rowCount(root) > 2)
    index = files.model().index(1, 0, root)
    files.setCurrentIndex(index)
    QApplication.processEvents()
    assert contrast_in(files.viewport(), files.visualRect(index)) >= least
    dialog.hide()
    plain.hide()


def test_the_chosen_entry_of_a_menu_can_be_read(qtbot: QtBot, least: float) -> None:
    menu = QMenu()
    qtbot.addWidget(menu)
    for word in WORDS:
        menu.addAction(word)
    menu.actions()[2].setEnabled(False)
    menu.resize(menu.sizeHint())
    menu.setActiveAction(menu.actions()[1])
    for number in (0, 1):
        assert contrast_in(menu, menu.actionGeometry(menu.actions()[number])) >= least
