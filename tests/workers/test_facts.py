"""What a node measures of itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from castray_desktop.workers.ray_side import facts
from castray_desktop.workers.ray_side.facts import FactsMeter, machine_identity


def test_the_facts_of_this_machine(tmp_path: Path) -> None:
    measured = FactsMeter(tmp_path / "not" / "there" / "yet").measure()
    assert measured.cpus == os.cpu_count()
    assert 0 < measured.disk_free <= measured.disk_total
    assert 0 <= measured.load <= 1
    if Path("/proc/meminfo").exists():
        assert 0 < measured.memory_free <= measured.memory
        assert measured.resident > 1_000_000


@pytest.mark.parametrize(
    ("before", "after", "load"),
    [
        ((100, 200), (150, 300), 0.5),
        ((100, 200), (200, 300), 0.0),
        ((100, 200), (100, 300), 1.0),
        ((100, 200), (90, 300), 1.0),  # idle time that was taken back
        ((100, 200), (100, 200), 0.0),
        (None, (100, 200), 0.0),
        ((100, 200), None, 0.0),
    ],
)
def test_the_load_is_what_was_not_idle(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[int, int] | None,
    after: tuple[int, int] | None,
    load: float,
) -> None:
    monkeypatch.setattr(facts, "_processor_times", lambda: before)
    meter = FactsMeter(tmp_path)
    monkeypatch.setattr(facts, "_processor_times", lambda: after)
    assert meter.measure().load == load


def test_one_machine_is_one_identity_for_each_address() -> None:
    assert machine_identity("127.0.0.1") == machine_identity("127.0.0.1")
    assert machine_identity("127.0.0.1") != machine_identity("10.0.0.1")
