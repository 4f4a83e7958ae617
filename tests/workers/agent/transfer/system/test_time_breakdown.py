"""The time of a recipient: spent on a slow link, or on a slow disk."""

from __future__ import annotations

import time

import pytest

from castray_desktop.core.protocol.nodes.agent_orders import SetCastLimit
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.store.part_files import PartFiles
from castray_desktop.workers.agent.transfer.system.time_breakdown import (
    CHECKING,
    DISK,
    WAITING,
    TimeBreakdown,
)
from tests.workers.agent.transfer.lab import Lab

MB = 1_000_000


def test_the_time_goes_into_what_was_said_last() -> None:
    now = 10.0
    breakdown = TimeBreakdown(lambda: now)
    now = 11.0
    breakdown.switch(DISK)
    now = 14.0
    assert breakdown.seconds(DISK) == 3.0
    breakdown.switch(CHECKING)
    now = 14.5
    breakdown.switch(WAITING)
    now = 20.0
    assert [breakdown.seconds(what) for what in (WAITING, CHECKING, DISK)] == [6.5, 0.5, 3.0]


def test_behind_a_slow_line_a_recipient_waits(lab: Lab) -> None:
    source, node = lab.node("s"), lab.node("a")
    cast = lab.cast(source, [lab.file("x", 8 << 20)])
    source.plane.carry_out(SetCastLimit(cast.cast, 8 * MB))
    start = time.monotonic()
    cast.deliver(node, source.upstream())
    [result] = cast.results()
    seconds = time.monotonic() - start
    assert result.state is RecipientState.COMPLETED
    assert result.writing < seconds / 2
    assert result.checking < seconds / 2
    read = source.sources[cast.cast]
    assert read.reading + read.checking < seconds / 2
    assert read.checking > 0
    cast.forget()


def test_with_a_slow_disk_a_recipient_writes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test has no slow disk: each write takes 100 ms more."""
    write = PartFiles.write

    def slow(parts: PartFiles, file: int, offset: int, view: memoryview) -> None:
        time.sleep(0.1)
        write(parts, file, offset, view)

    monkeypatch.setattr(PartFiles, "write", slow)
    source, node = lab.node("s"), lab.node("a")
    cast = lab.cast(source, [lab.file("x", 8 << 20)])
    start = time.monotonic()
    cast.deliver(node, source.upstream())
    [result] = cast.results()
    seconds = time.monotonic() - start
    assert result.writing >= 8 * 0.1
    assert result.writing > seconds / 2
    cast.forget()
