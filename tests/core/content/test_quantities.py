"""Sizes for people, and rates from people."""

from __future__ import annotations

import pytest

from castray_desktop.core.content.quantities import format_bytes, format_rate, parse_limit, parse_rate
from castray_desktop.core.failures.kinds import CastRayError, FailureKind


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10MB/s", 10_000_000),
        ("800kB/s", 800_000),
        ("100Mbit/s", 12_500_000),
        ("1.5 GB/s", 1_500_000_000),
        ("64MiB/s", 64 * 1024 * 1024),
        ("5000B/s", 5000),
        ("10M", 10_000_000),
        ("10m", 10_000_000),
        ("10Mi", 10 * 1024 * 1024),
        ("10MiB", 10 * 1024 * 1024),
        ("10MBps", 10_000_000),
        ("100Mbps", 12_500_000),
        ("100 mbit", 12_500_000),
        ("8kbits/s", 1000),
        ("10.0 MB/s", 10_000_000),
    ],
)
def test_rates(text: str, expected: int) -> None:
    assert parse_rate(text) == expected
    assert parse_limit(text) == expected


@pytest.mark.parametrize("rate", [1000, 86_000, 1_500_000, 999_400_000, 10**12])
def test_a_rate_is_read_as_it_is_printed(rate: int) -> None:
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=0.05)


def test_no_limit() -> None:
    assert parse_limit("off") == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "fast",
        "-5MB/s",
        "0MB/s",
        "10MB/min",
        "10 apples/s",
        "1e3MB/s",
        "1000000",
        "10mb",
        "10Mb/s",
        "10i",
        "M",
    ],
)
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(CastRayError) as caught:
        parse_rate(text)
    assert caught.value.failure.kind is FailureKind.BAD_RATE
    assert caught.value.failure.values == {"rate": text}


@pytest.mark.parametrize(
    ("count", "text"),
    [(812, "812 B"), (15 * 10**9, "15.0 GB"), (640 * 10**9, "640 GB"), (10**18, "1000 PB"), (-5, "0 B")],
)
def test_sizes_have_three_digits_or_so(count: int, text: str) -> None:
    assert format_bytes(count) == text
