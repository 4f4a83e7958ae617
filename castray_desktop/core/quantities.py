"""Rates as people write them."""

from __future__ import annotations

import re

from castray_desktop.core.failure import CastRayError, FailureKind

_RATE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kKMGT]?)(i?)(B|bit)(?:/s|ps)?\s*")
_PREFIX = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}


def parse_rate(text: str) -> int:
    """Bytes per second for "10MB/s", "800kB/s", "100Mbit/s" or "64MiB/s".

    Raises CastRayError(BAD_RATE) for anything else, and for less than one kilobyte a second.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise CastRayError(FailureKind.BAD_RATE, rate=text)
    number, prefix, binary, unit = match.groups()
    rate = float(number) * (1024 if binary else 1000) ** _PREFIX[prefix] / (8 if unit == "bit" else 1)
    if rate < 1000:
        raise CastRayError(FailureKind.BAD_RATE, rate=text)
    return int(rate)
