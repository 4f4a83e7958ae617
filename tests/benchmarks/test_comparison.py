"""Ratios, targets, tables and the plot of the comparison with other tools."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks.peers.comparison import (
    BEGIN,
    END,
    Comparison,
    Results,
    Row,
    bars,
    load,
    markdown,
    replace_between,
    save,
    text,
    title,
)
from benchmarks.peers.plot import WIDTH, draw

GIB = 1 << 30


def comparison(case: str = "links", recipients: int = 4, relay: float = 9.0, **changes: object) -> Comparison:
    """One copy takes 8 s, rsync 36 s and UFTP failed."""
    rows = (
        Row("relay", "CastRay relay", (relay, relay + 9, relay - 1), (1.0, 1.0, 1.1)),
        Row("rsync", "rsync", (36.0,), (4.0,)),
        Row("uftp", "UFTP", failures=("status 7: <no> answer",)),
    )
    made = {"case": case, "recipients": recipients, "size": GIB, "files": 1, "link": "links of 1 Gbit/s"}
    made |= {"tcp": "cubic", "limit": "iperf3", "rates": (GIB / 8, GIB / 4, GIB / 16), "rows": rows}
    return Comparison(**(made | changes))  # type: ignore[arg-type]


def met(found: Comparison) -> dict[str, bool | None]:
    return {bar.what: bar.met for bar in bars(found)}


def test_medians_count() -> None:
    found = comparison()
    assert found.one_copy == 8
    assert found.median("relay") == 9
    assert found.median("uftp") is None
    assert found.median("scp") is None


def test_bars_of_links() -> None:
    assert met(comparison(relay=8.6)) == {
        "at most 1.05 x one copy + 0.2 s": True,
        "faster than rsync": True,
        "faster than UFTP": None,
    }
    assert met(comparison(relay=8.61))["at most 1.05 x one copy + 0.2 s"] is False
    assert met(comparison(relay=36.0))["faster than rsync"] is False  # equally fast is not faster


def test_bars_of_a_long_path() -> None:
    name = "at least 0.8 of the rate that the link shows"
    assert met(comparison("long", relay=10.0, limit="the link")) == {
        name: True,
        "3 x faster than rsync": True,
        "3 x faster than rsync-cubic": None,  # it was not measured
    }
    assert met(comparison("long", relay=12.1, limit="the link")) == {
        name: False,
        "3 x faster than rsync": False,
        "3 x faster than rsync-cubic": None,
    }


def test_bars_of_loopback_name_what_was_not_measured() -> None:
    found = met(comparison("loopback", relay=16.0))
    assert found["at least 0.5 of the rate that iperf3 shows"] is True
    assert found["no slower than cp"] is None
    assert found["4 x faster than scp"] is None


def test_without_the_relay_nothing_is_met() -> None:
    found = comparison(rows=(Row("relay", "CastRay relay"), Row("rsync", "rsync", (1.0,))))
    assert set(met(found).values()) == {None}
    assert "not run" in text(found)


def test_text_has_ratios_and_failures() -> None:
    lines = text(comparison()).splitlines()
    assert lines[0] == "1 GiB, 4 recipients, links of 1 Gbit/s, TCP with cubic"
    assert next(line for line in lines if line.startswith("  rsync")).split()[1:5] == [
        "36.000",
        "4.50",
        "4.00",
        "4.00",
    ]
    assert any("UFTP failed: status 7" in line for line in lines)


def test_title_of_many_files() -> None:
    found = comparison("small", recipients=1, size=20_000 * 4096, files=20_000)
    assert title(found).startswith("20,000 files of 4 KiB, 1 recipient, ")


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    results = Results({"kernel": "6"}, (comparison(),))
    save(results, tmp_path / "figures.json")
    assert load(tmp_path / "figures.json") == results


def test_a_newer_comparison_takes_the_older_ones_place() -> None:
    results = Results().with_comparison(comparison()).with_comparison(comparison(recipients=8))
    newer = comparison(relay=7.0)
    again = results.with_comparison(newer).with_comparison(comparison(tcp="bbr"))
    assert [(item.recipients, item.tcp) for item in again.comparisons] == [
        (4, "cubic"),
        (8, "cubic"),
        (4, "bbr"),
    ]
    assert again.comparisons[0] == newer


def test_markdown_goes_between_the_marks() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = replace_between(document, markdown(Results({"kernel": "6"}, (comparison(),))))
    assert new.startswith("before\n")
    assert new.endswith("\nafter\n")
    assert "old" not in new
    assert "| rsync | 36.000 | 4.50 | 4.00 | 4.00 | 1: 36.00-36.00 |" in new
    assert replace_between(new, "x") == replace_between(document, "x")
    with pytest.raises(ValueError, match="has no"):
        replace_between("nothing", "x")


def test_plot_has_a_bar_for_each_tool_that_ran() -> None:
    root = ElementTree.fromstring(draw(Results({"kernel": "6"}, (comparison(), comparison(recipients=8)))))
    name = "{http://www.w3.org/2000/svg}"
    boxes = {"ours": [], "bar": []}  # type: dict[str, list[dict[str, str]]]
    for box in root.iter(f"{name}rect"):
        boxes.get(box.get("class", ""), []).append(dict(box.attrib))
    ours, others = boxes["ours"], boxes["bar"]
    assert (len(ours), len(others)) == (2, 2)
    assert float(others[0]["width"]) == pytest.approx(4 * float(ours[0]["width"]), rel=0.01)
    assert all(float(box["x"]) + float(box["width"]) < WIDTH for box in ours + others)
    words = [item.text for item in root.iter(f"{name}text")]
    assert "9.00 s, 1.12 x one copy" in words
    assert "failed" in words


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no comparisons"):
        draw(Results())
