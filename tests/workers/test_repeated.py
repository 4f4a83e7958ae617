"""Log lines that repeat are counted, not written."""

from __future__ import annotations

import logging

import pytest

from castray_desktop.workers.ray_side import repeated
from castray_desktop.workers.ray_side.repeated import MAX_LINES, Repeated


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test puts forward."""
    now = [100.0]
    monkeypatch.setattr(repeated.time, "monotonic", lambda: now[0])
    return now


def test_a_line_is_written_once_a_minute_with_how_often_it_came(
    caplog: pytest.LogCaptureFixture, seconds: list[float]
) -> None:
    line = Repeated(logging.getLogger("castray.test"), logging.WARNING, "no way to %s")
    for _ in range(5):
        line.tell("a")
        line.tell("b")
    seconds[0] += 60.0
    line.tell("a")
    line.tell("c")
    assert caplog.messages == ["no way to a", "no way to b", "no way to a (4 more times)", "no way to c"]


def test_it_remembers_a_bounded_number(caplog: pytest.LogCaptureFixture, seconds: list[float]) -> None:
    line = Repeated(logging.getLogger("castray.test"), logging.WARNING, "no way to %d")
    for number in range(MAX_LINES + 1):
        line.tell(number)
    line.tell(0)
    line.tell(MAX_LINES)
    assert len(caplog.messages) == MAX_LINES + 2
