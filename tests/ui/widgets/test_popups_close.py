"""Popups have round corners without a compositor, and leave no hover behind when they close."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QCursor
from PySide6.QtWidgets import QListWidget, QMenu
from pytestqt.qtbot import QtBot

from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import button
from castray_desktop.ui.widgets.fields import Dropdown
from castray_desktop.ui.widgets.popups import CORNER, open_menu


def test_the_corners_of_popups_are_cut_off(qtbot: QtBot, theme: Theme) -> None:
    owner = button(theme, "Open")
    field = Dropdown(theme, lambda: "Result")
    field.addItems(["One", "Two"])
    for widget in (owner, field):
        qtbot.addWidget(widget)
        widget.show()
    menu = QMenu(owner)
    menu.addAction("Alpha")
    open_menu(menu, QPoint(20, 20), owner)
    field.showPopup()
    for popup in (menu, field.view().window()):
        qtbot.waitUntil(popup.isVisible)
        mask, last = popup.mask(), popup.rect().bottomRight()
        assert not mask.isEmpty()
        assert mask.contains(popup.rect().center())
        assert mask.contains(QPoint(int(CORNER) + 1, 0))
        for corner in (QPoint(0, 0), last, QPoint(last.x(), 0), QPoint(0, last.y())):
            assert not mask.contains(corner)
    menu.hide()
    field.hidePopup()


def test_a_button_does_not_stay_hovered_after_its_menu(qtbot: QtBot, theme: Theme) -> None:
    owner = button(theme, "Open")
    qtbot.addWidget(owner)
    owner.move(300, 300)  # the pointer is somewhere else
    owner.show()
    owner.setAttribute(Qt.WidgetAttribute.WA_UnderMouse)
    menu = QMenu(owner)
    menu.addAction("Alpha")
    open_menu(menu, QPoint(20, 20), owner)
    qtbot.waitUntil(menu.isVisible)
    menu.hide()
    qtbot.waitUntil(lambda: not owner.underMouse())


def test_a_list_shows_what_is_below_the_pointer_after_its_menu(
    qtbot: QtBot, theme: Theme, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = QListWidget()
    rows.addItems(["One", "Two", "Three"])
    rows.setMouseTracking(True)
    entered: list[int] = []
    rows.entered.connect(lambda index: entered.append(index.row()))
    qtbot.addWidget(rows)
    with qtbot.waitExposed(rows):
        rows.show()
    menu = QMenu(rows)
    menu.addAction("Alpha")
    open_menu(menu, QPoint(20, 20), rows)
    qtbot.waitUntil(menu.isVisible)
    third = rows.viewport().mapToGlobal(rows.visualItemRect(rows.item(2)).center())
    monkeypatch.setattr(QCursor, "pos", lambda: third)
    menu.hide()
    qtbot.waitUntil(lambda: entered[-1:] == [2])
