"""The benchmark's arithmetic: targets, its table, and the flipped bit."""

from __future__ import annotations

from benchmarks.laboratory.flipping_proxy import Flipper
from benchmarks.relay import Options, Row, table


def test_a_bar_is_met_by_the_figure_and_the_copies() -> None:
    assert Row("links", "", 1.0, bar=1.0, copies=1.02, most_copies=1.02).met is True
    assert Row("links", "", 1.01, bar=1.0).met is False
    assert Row("links", "", 1.0, bar=1.0, copies=1.03, most_copies=1.02).met is False
    assert Row("small", "", 1.0).met is None
    assert Row("small", "", error="it fell over").met is False


def test_the_table_says_what_was_measured_and_what_was_not() -> None:
    text = table(
        [
            Row("links", "1 GiB", 9.0, bar=9.5, rule="1.05 x", one_copy=9.0, copies=1.0, cpu=4.25, note="so"),
            Row("slow", "did not succeed", error="h1 has other bytes"),
        ]
    )
    head, first, second, *notes = text.splitlines()
    assert head.split()[:3] == ["case", "what", "measured"]
    assert "9.00 s" in first
    assert "1.000" in first
    assert first.endswith("yes")
    assert second.endswith("NO")
    assert notes == ["links: so", "slow: h1 has other bytes"]


def test_sizes_scale_but_never_vanish() -> None:
    assert Options(scale=0.5).size(1024) == 512 << 20
    assert Options(scale=0.0001).size(64) == 1 << 20


def test_one_bit_flips_wherever_the_parts_end() -> None:
    data = bytes(range(100))
    for at in (0, 9, 10, 55, 99):
        flipper = Flipper(at)
        seen = b"".join(flipper.pass_on(data[begin : begin + 10]) for begin in range(0, 100, 10))
        assert [index for index in range(100) if seen[index] != data[index]] == [at]
        assert flipper.pass_on(data) == data
