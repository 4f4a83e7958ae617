"""Sizes and rates as text. Decimal units: 1 MB is 1,000,000 bytes."""

from __future__ import annotations

import re

from castray_desktop.core.failures.kinds import CastRayError, FailureKind

_RATE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgtKMGT])(i?))?(B|bits?|b(?=ps))?(?:/s|ps)?\s*")
_PREFIX = {None: 0, "k": 1, "m": 2, "g": 3, "t": 4}

MAX_RATE = 1 << 62

BYTE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def format_bytes(count: float) -> str:
    """Format a size: "0 B", "86 KB", "15.0 GB", "812 GB"."""
    value, unit = scaled(count)
    decimals = 1 if (unit > 1 and value < 99.95) or (unit == 1 and value < 9.95) else 0
    return f"{value:.{decimals}f} {BYTE_UNITS[unit]}"


def format_rate(bytes_per_second: float) -> str:
    """Format a rate as `parse_rate` reads it: "86 KB/s", "15.0 MB/s"."""
    return f"{format_bytes(bytes_per_second)}/s"


def scaled(count: float) -> tuple[float, int]:
    """A size as a number below 1000 and the index of its unit in `BYTE_UNITS`; negative sizes become 0."""
    value, unit = float(max(0, count)), 0
    while unit < len(BYTE_UNITS) - 1 and value >= (1000 if unit == 0 else 999.5):
        value /= 1000
        unit += 1
    return value, unit


def parse_limit(limit: str | int) -> int:
    """Bytes per second, from such a number or from a text; 0 for "off". Raises CastRayError(BAD_RATE)."""
    if not isinstance(limit, str):
        return limit
    return 0 if limit == "off" else parse_rate(limit)


def parse_rate(text: str) -> int:
    """Parse a rate to bytes per second: "10M", "10MB/s", "800kB/s", "64MiB/s", "100Mbit/s", "100Mbps".

    Without a unit a prefix means bytes. Raises CastRayError(BAD_RATE) otherwise, below one kilobyte a second,
    and above `MAX_RATE`.
    """
    match = _RATE.fullmatch(text)
    if match is None or not (match[2] or match[4]):  # a plain number has another unit in each program
        raise CastRayError(FailureKind.BAD_RATE, rate=text)
    number, prefix, binary, unit = match.groups()
    power = _PREFIX[prefix and prefix.lower()]
    rate = float(number) * (1024 if binary else 1000) ** power / (8 if unit and unit[0] == "b" else 1)
    if not 1000 <= rate <= MAX_RATE:
        raise CastRayError(FailureKind.BAD_RATE, rate=text)
    return int(rate)
