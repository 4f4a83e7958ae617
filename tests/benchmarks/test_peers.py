"""The chart of the README is drawn from complete results only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.compare import ALL
from benchmarks.peers import PEERS
from benchmarks.peers.__main__ import main
from benchmarks.peers.comparison import Comparison, Results, Row, save

COMPLETE = Results(
    {"machine": "2 x something"},
    (
        Comparison(
            "links",
            8,
            1 << 30,
            1,
            "links of 1 Gbit/s",
            "cubic",
            "iperf3",
            (1.2e8,),
            tuple(Row(key, PEERS[key].NAME, (9.0 + number,), (1.0,)) for number, key in enumerate(ALL)),
        ),
    ),
)


def test_the_chart_has_every_tool(tmp_path: Path) -> None:
    save(COMPLETE, tmp_path / "chart.json")
    assert main(["--read", "--folder", str(tmp_path)]) == 0
    chart = (tmp_path / "chart.svg").read_text()
    assert [key for key in ALL if PEERS[key].NAME not in chart] == []
    assert "prefers-color-scheme: dark" in chart


@pytest.mark.parametrize("failures", [(), ("status 1",)], ids=["not run", "failed"])
def test_an_incomplete_chart_is_refused(
    tmp_path: Path, failures: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (comparison,) = COMPLETE.comparisons
    lacks = Row("uftp", "UFTP", failures=failures)
    rows = tuple(lacks if row.key == "uftp" else row for row in comparison.rows)
    save(replace(COMPLETE, comparisons=(replace(comparison, rows=rows),)), tmp_path / "chart.json")
    assert main(["--read", "--folder", str(tmp_path)]) == 1
    assert "UFTP" in capsys.readouterr().err
    assert not (tmp_path / "chart.svg").exists()
