"""Repeated log lines are counted instead of written."""

from __future__ import annotations

import logging

import pytest

from castray_desktop.workers.agent import repeated_log_lines
from castray_desktop.workers.agent.repeated_log_lines import MAX_LINES, RepeatedLogLines


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test advances."""
    now = [100.0]
    monkeypatch.setattr(repeated_log_lines.time, "monotonic", lambda: now[0])
    return now


def test_a_line_is_written_once_a_minute_with_how_often_it_came(
    caplog: pytest.LogCaptureFixture, seconds: list[float]
) -> None:
    line = RepeatedLogLines(logging.getLogger("castray.test"), logging.WARNING, "no way to %s")
    for _ in range(5):
        line.log("a")
        line.log("b")
    seconds[0] += 60.0
    line.log("a")
    line.log("c")
    assert caplog.messages == ["no way to a", "no way to b", "no way to a (4 more times)", "no way to c"]


def test_it_remembers_a_bounded_number(caplog: pytest.LogCaptureFixture, seconds: list[float]) -> None:
    line = RepeatedLogLines(logging.getLogger("castray.test"), logging.WARNING, "no way to %d")
    for number in range(MAX_LINES + 1):
        line.log(number)
    line.log(0)
    line.log(MAX_LINES)
    assert len(caplog.messages) == MAX_LINES + 2
