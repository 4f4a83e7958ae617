"""PySide6 keeps its hands off None.

PySide6 6.12.0 drops a reference to None on every call that returns nothing, and ends the process
after some 20,000 of them. From Python 3.12 on None is immortal: its count never moves, so the count
of calls that can be made says nothing there and is not looked at.
"""

from __future__ import annotations

import sys

import pytest
from PySide6.QtCore import QObject
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

CALLS = 3000
SLACK = 500  # other code takes and drops references meanwhile


def references_lost(calls: int, call: object) -> int:
    """By how much the count of references to None falls over `calls` calls."""
    assert callable(call)
    before = sys.getrefcount(None)
    for number in range(calls):
        call(number)
    return before - sys.getrefcount(None)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal")
def test_calls_that_return_nothing_leave_none_alone(qtbot: QtBot) -> None:
    label = QLabel()
    qtbot.addWidget(label)
    thing = QObject()
    assert references_lost(CALLS, lambda number: label.setText(str(number))) < SLACK
    assert references_lost(CALLS, lambda number: thing.setObjectName(str(number))) < SLACK
    assert references_lost(CALLS, lambda number: label.setProperty("number", None)) < SLACK


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal")
def test_the_guard_can_fail() -> None:
    """The count falls when references are dropped, as the bad release does it."""
    kept = [None] * (2 * CALLS)

    def drop(number: int) -> None:
        kept.pop()

    assert references_lost(CALLS, drop) >= CALLS - SLACK


def test_none_is_immortal_where_the_guard_rests() -> None:
    if sys.version_info >= (3, 12):
        assert references_lost(CALLS, lambda number: None) == 0
