"""End to end: the real window, the real engine, a real drop, and the bytes on three nodes."""

from __future__ import annotations

import filecmp
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import Castray
from tests.helpers.trees import facts, make_file, make_tree

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parent.parent.parent


def test_a_drop_on_the_window_arrives_on_three_nodes(own_castray: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "模型.bin", 30 << 20)
    folder = make_tree(tmp_path / "configs", 40)
    trace = tmp_path / "trace.jsonl"
    flight = subprocess.run(
        [
            *(sys.executable, "-m", "tests.helpers.desktop.window_pilot", str(file), str(folder)),
            *("--dest", str(tmp_path / "{node}")),
        ],
        cwd=ROOT,
        env=own_castray.environment | {"QT_QPA_PLATFORM": "offscreen", "CASTRAY_STARTUP_TRACE": str(trace)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert flight.returncode == 0, flight.stderr
    seen = json.loads(flight.stdout.splitlines()[-1])
    assert seen["state"] == "completed", flight.stderr
    assert seen["source_copies"] == pytest.approx(1.0, abs=0.02)
    for node in ("node_1", "node_2", "node_3"):
        assert set(seen["paths"][node]) == {str(tmp_path / node / name) for name in ("模型.bin", "configs")}
        assert filecmp.cmp(file, tmp_path / node / "模型.bin", shallow=False)
        assert facts(tmp_path / node / "configs") == facts(folder)
    events = [json.loads(line)["event"] for line in trace.read_text().splitlines()]
    assert events[0] == "first_paint"
    assert events[-1] == "stopped"
    assert own_castray.wait_until_gone(seconds=10.0) == []
