"""What a screen reader and a keyboard find: a name for everything that can be used, and a way to it."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAccessible, QContextMenuEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from castray_desktop.ui.widgets.dropdown_names import DropdownInterfaces
from castray_desktop.ui.widgets.fields import Dropdown
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.desktop.seen import accessible, name_of, unnamed
from tests.helpers.fake_engine import FakeLink
from tests.ui import scenes

Role = QAccessible.Role


def test_every_page_has_names(window: MainWindow, link: FakeLink, qapp: QApplication) -> None:
    scenes.busy(window, link)
    window.resize(1024, 700)
    for page in window.transfers_card.tabs.keys:
        window.transfers_card.show_page(page)
        qapp.processEvents()
        assert unnamed(window) == [], page


def test_a_field_with_choices_says_what_is_chosen_there(
    window: MainWindow, link: FakeLink, qapp: QApplication
) -> None:
    DropdownInterfaces().install()
    scenes.busy(window, link)
    window.settings_controller.show()
    assert window.settings_controller.sheet is not None
    qapp.processEvents()
    for owner in (window, window.settings_controller.sheet):
        for field in owner.findChildren(Dropdown):
            interface = QAccessible.queryAccessibleInterface(field)
            label, _, value = interface.text(QAccessible.Text.Name).partition(": ")
            assert label
            assert value == field.currentText()
            assert interface.role() is Role.ComboBox
            assert interface.child(0).object() is field.view()
    conflict = window.send_panel.form["on_conflict"]
    conflict.setCurrentIndex(1)
    told = QAccessible.queryAccessibleInterface(conflict).text(QAccessible.Text.Name)
    assert told == f"If a file exists: {conflict.currentText()}"
    window.close_sheets()


def test_the_pages_have_tabs_one_of_which_is_chosen(window: MainWindow, link: FakeLink) -> None:
    scenes.busy(window, link)
    window.transfers_card.show_page("log")
    row = QAccessible.queryAccessibleInterface(window.transfers_card.tabs)
    assert row.role() is Role.PageTabList
    found = [
        interface
        for _, interface in accessible(window.transfers_card.tabs)
        if interface.role() is Role.PageTab
    ]
    names = ["Transfers (2)", "Throughput", "History", "Schedules", "Log", "Doctor"]
    assert [name_of(interface) for interface in found] == names
    assert [name_of(interface) for interface in found if interface.state().selected] == ["Log"]


def test_keys_go_from_page_to_page(window: MainWindow, link: FakeLink, qtbot: QtBot) -> None:
    scenes.busy(window, link)
    qtbot.waitUntil(window.isActiveWindow)
    card = window.transfers_card
    card.tabs.setFocus(Qt.FocusReason.TabFocusReason)
    for key, page in (
        (Qt.Key.Key_Right, "throughput"),
        (Qt.Key.Key_End, "doctor"),
        (Qt.Key.Key_Right, "transfers"),
        (Qt.Key.Key_Left, "doctor"),
        (Qt.Key.Key_Home, "transfers"),
    ):
        QTest.keyClick(card.tabs, key)
        assert card.page == page
        assert card.tabs.hasFocus()
    control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    window.table.setFocus()
    QTest.keyClick(window.table, Qt.Key.Key_Tab, control)
    assert card.page == "throughput"
    QTest.keyClick(window, Qt.Key.Key_Backtab, control | shift)
    assert card.page == "transfers"


def test_the_test_finds_a_control_without_a_name(window: MainWindow, link: FakeLink) -> None:
    scenes.busy(window, link)
    window.header.theme_button.setAccessibleName("")
    window.header.theme_button.setToolTip("")
    assert len(unnamed(window)) == 1


def by_tab(window: MainWindow, most: int = 120) -> list[QWidget]:
    """What has the focus after each press of Tab, until it is where it began."""
    window.activateWindow()
    window.send_panel.send_button.setFocus(Qt.FocusReason.TabFocusReason)
    order: list[QWidget] = []
    for _ in range(most):
        focused = QApplication.focusWidget()
        assert focused is not None
        if order and focused is order[0]:
            break
        order.append(focused)
        QTest.keyClick(focused, Qt.Key.Key_Tab)
    return order


def test_every_part_is_reached_with_tab_and_left_again(
    window: MainWindow, link: FakeLink, qtbot: QtBot
) -> None:
    scenes.busy(window, link)
    qtbot.waitUntil(window.isActiveWindow)
    order = by_tab(window)
    parts = {
        "graph": window.graph.view,
        "recipients": window.recipients,
        "table": window.table,
        "send button": window.send_panel.send_button,
        "theme": window.header.theme_button,
        "cluster": window.header.chip,
    }
    for name, part in parts.items():
        assert any(widget is part or part.isAncestorOf(widget) for widget in order), name
    back = [QApplication.focusWidget()]
    QTest.keyClick(back[0], Qt.Key.Key_Backtab)
    assert QApplication.focusWidget() is not back[0]


def test_nothing_that_can_be_pressed_is_out_of_the_keyboards_reach(
    window: MainWindow, link: FakeLink, qtbot: QtBot
) -> None:
    scenes.busy(window, link)
    qtbot.waitUntil(window.isActiveWindow)
    reached = set(map(id, by_tab(window)))
    pressable = {Role.Button, Role.ButtonMenu, Role.CheckBox, Role.ComboBox, Role.EditableText}
    missed = [
        path
        for path, interface in accessible(window)
        if interface.role() in pressable
        and isinstance(interface.object(), QWidget)
        and interface.object().isEnabled()
        and id(interface.object()) not in reached
        and "QLineEdit/" not in path  # the icon inside a field does what the field does
    ]
    assert missed == []


@pytest.mark.qt_log_ignore("propagateSizeHints", "This plugin does not support")  # of popups, offscreen
def test_the_menu_key_opens_the_focused_nodes_menu(window: MainWindow, link: FakeLink, qtbot: QtBot) -> None:
    scenes.busy(window, link)
    view = window.graph.view
    view.setFocus(Qt.FocusReason.TabFocusReason)
    QTest.keyClick(view, Qt.Key.Key_Right)
    focused = window.graph.scene_.focus_node
    assert focused
    at = QPoint(1, 1)
    event = QContextMenuEvent(QContextMenuEvent.Reason.Keyboard, at, view.viewport().mapToGlobal(at))
    with qtbot.waitSignal(view.menu_requested) as caught:
        QApplication.sendEvent(view.viewport(), event)
    assert caught.args[0] == focused
    popup = QApplication.activePopupWidget()
    assert popup is not None
    assert popup.actions()
    popup.close()


def test_the_graph_says_which_node_has_the_keyboard(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    view = window.graph.view
    view.setFocus(Qt.FocusReason.TabFocusReason)
    QTest.keyClick(view, Qt.Key.Key_Right)
    name = window.graph.scene_.focus_node
    words = {"node_2": "node_2, Receiving, 65%", "node_3": "node_3, Lagging, 57%"}
    assert view.accessibleDescription() == words.get(name, "node_1, Receiving, 66%")
    QTest.keyClick(view, Qt.Key.Key_Up)
    assert window.graph.scene_.focus_node in view.accessibleDescription()


def test_the_list_takes_the_same_keys_as_the_graph(window: MainWindow, link: FakeLink) -> None:
    link.start(fake.busy_welcome())
    rows = window.recipients.list
    rows.setFocus(Qt.FocusReason.TabFocusReason)
    QTest.keyClick(rows, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert window.selection.selected() == {"node_1", "node_2", "node_3"}
    QTest.keyClick(rows, Qt.Key.Key_Escape)
    assert window.selection.selected() == frozenset()
