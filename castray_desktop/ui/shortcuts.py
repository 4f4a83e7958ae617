"""The keys of the window, in one place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtGui import QKeySequence, QShortcut

if TYPE_CHECKING:
    from castray_desktop.ui.main_window import MainWindow

Run = Callable[[], object]


def keys_of(window: MainWindow) -> list[tuple[str, Run]]:
    """Each key with what it does."""
    actions, table, card = window.actions_on_casts, window.table, window.transfers_card
    keys: list[tuple[str, Run]] = [
        ("Ctrl+Return", window.send_panel.send),
        ("Ctrl+Enter", window.send_panel.send),
        ("Ctrl+P", lambda: actions.pause_rows(table.chosen_rows())),
        ("Ctrl+S", lambda: actions.resume_rows(table.chosen_rows())),
        ("Ctrl+Shift+P", actions.pause_all),
        ("Ctrl+Shift+S", actions.resume_all),
        ("Ctrl+R", lambda: actions.retry(table.chosen_names())),
        ("Alt+Up", lambda: actions.move(table.selected_cast(), -1)),
        ("Alt+Down", lambda: actions.move(table.selected_cast(), 1)),
        ("Alt+Return", lambda: window.sheets.show_details(table.selected_cast())),
        ("Ctrl+F", card.focus_filter),
        ("Ctrl+,", window.setting_up.show),
        ("Ctrl+Tab", partial(card.tabs.step, 1)),
        ("Ctrl+Shift+Tab", partial(card.tabs.step, -1)),
        ("Ctrl+PgDown", partial(card.tabs.step, 1)),
        ("Ctrl+PgUp", partial(card.tabs.step, -1)),
        ("F11", window.body.toggle_enlarged),
    ]
    keys += [(f"Ctrl+{number}", partial(card.show_page, page)) for number, page in enumerate(card.pages(), 1)]
    return keys


def install_keys(window: MainWindow) -> None:
    """Have the window listen to its keys."""
    for key, run in keys_of(window):
        QShortcut(QKeySequence(key), window, run)
    QShortcut(QKeySequence(QKeySequence.StandardKey.Paste), window, window.paste)
    QShortcut(QKeySequence(QKeySequence.StandardKey.Quit), window, window.close)
