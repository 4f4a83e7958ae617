"""Sizes and rates as text. Decimal units: 1 MB is 1,000,000 bytes.

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

import re

from castray_desktop.core.failures.kinds import CastRayError, FailureKind

_RATE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kKMGT]?)(i?)(B|bit)(?:/s|ps)?\s*")
_PREFIX = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}

MAX_RATE = 1 << 62

BYTE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def format_bytes(count: float) -> str:
    """Format a size: "0 B", "86 KB", "15.0 GB", "812 GB"."""
    value, unit = scaled(count)
    decimals = 1 if (unit > 1 and value < 99.95) or (unit == 1 and value < 9.95) else 0
    return f"{value:.{decimals}f} {BYTE_UNITS[unit]}"


def scaled(count: float) -> tuple[float, int]:
    """A size as a number below 1000 and the index of its unit in `BYTE_UNITS`; negative sizes become 0."""
    value, unit = float(max(0, count)), 0
    while unit < len(BYTE_UNITS) - 1 and value >= (1000 if unit == 0 else 999.5):
        value /= 1000
        unit += 1
    return value, unit


def parse_limit(text: str) -> int:
    """Parse a rate in bytes per second; 0 for "off". Raises CastRayError(BAD_RATE)."""
    return 0 if text == "off" else parse_rate(text)


def parse_rate(text: str) -> int:
    """Parse "10MB/s", "800kB/s", "100Mbit/s" or "64MiB/s" to bytes per second.

    Raises CastRayError(BAD_RATE) otherwise, below one kilobyte a second, and above `MAX_RATE`.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise CastRayError(FailureKind.BAD_RATE, rate=text)
    number, prefix, binary, unit = match.groups()
    rate = float(number) * (1024 if binary else 1000) ** _PREFIX[prefix] / (8 if unit == "bit" else 1)
    if not 1000 <= rate <= MAX_RATE:
        raise CastRayError(FailureKind.BAD_RATE, rate=text)
    return int(rate)
