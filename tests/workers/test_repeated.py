"""Log lines that repeat are counted, not written."""

from __future__ import annotations

import logging

import pytest

from castray_desktop.workers.ray_side.repeated import Repeated


def test_the_first_line_is_written_and_the_same_ones_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    line = Repeated(logging.getLogger("castray.test"), logging.WARNING, "no way to %s")
    for _ in range(5):
        line.tell("a")
    line.tell("b")
    line.tell("a")
    assert caplog.messages == ["no way to a", "no way to a (4 more times)", "no way to b", "no way to a"]


def test_what_goes_on_is_written_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    line = Repeated(logging.getLogger("castray.test"), logging.WARNING, "no way to %s", seconds=0.0)
    for _ in range(3):
        line.tell("a")
    assert caplog.messages == ["no way to a"] * 3
