"""The beginning of a soak: everything that it needs is there, and every delivery is accounted for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.laboratory.lab import Lab
from benchmarks.soak.__main__ import Pace, soak
from benchmarks.soak.soak_records import read_run
from benchmarks.soak.soak_report import SoakRun, problems, text

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_short_soak_accounts_for_every_delivery(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    make_lab(1)  # skipped where no laboratory can be created
    pace = Pace(hosts=3, cast_gap=1.5, fault_gap=(2.0, 3.0), quiet=4.0)
    soak(8.0, 1, tmp_path / "run.jsonl", pace=pace)
    run = SoakRun.of(read_run(tmp_path / "run.jsonl"))
    assert [problem for problem in problems(run) if " grew: " not in problem] == [], text(run)
    assert run.faults
    assert any(item.state == "completed" for cast in run.casts for item in cast.deliveries)
    last = {process.role for process in run.samples[-1].processes}
    assert {"engine", "driver", "window", "server", "agent h0", "agent h1", "agent h2"} <= last
