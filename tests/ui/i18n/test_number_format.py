"""Numbers as people read them."""

from __future__ import annotations

import pytest

from castray_desktop.ui.i18n import number_format


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (86_000, "86 KB"),
        (999_999, "1.0 MB"),
        (2_100_000, "2.1 MB"),
        (15_000_000_000, "15.0 GB"),
        (99_960_000_000, "100 GB"),
        (812_000_000_000, "812 GB"),
        (1_900_000_000_000, "1.9 TB"),
        (-1, "0 B"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert number_format.format_bytes(count) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0 MB/s"), (2.1e6, "2.1 MB/s"), (118e6, "118 MB/s"), (1.2e9, "1.2 GB/s"), (850, "850 B/s")],
)
def test_rates(rate: float, text: str) -> None:
    assert number_format.format_rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0, "0:00"), (6, "0:06"), (167.2, "2:47"), (3723, "1:02:03")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert number_format.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "just now"), (15, "15 s ago"), (250, "4 min ago"), (7300, "2 h ago"), (200_000, "2 days ago")],
)
def test_ages(seconds: float, text: str) -> None:
    assert number_format.format_ago(seconds) == text


def test_counts_have_separated_thousands() -> None:
    assert number_format.format_count(1408) == "1,408"


@pytest.mark.parametrize(
    ("words", "text"), [((), ""), (("a",), "a"), (("a", "b"), "a and b"), (("a", "b", "c"), "a, b and c")]
)
def test_names_in_a_sentence(words: tuple[str, ...], text: str) -> None:
    assert number_format.format_series(words) == text
