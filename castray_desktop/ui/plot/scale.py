"""How far back the plot reaches, how high it is, and in what it counts: numbers and words, no widget."""

from __future__ import annotations

import numpy as np

MINUTES, HOURS = (60, 300, 1800), (3 * 3600, 12 * 3600, 24 * 3600)
SPANS = MINUTES + HOURS
TICKS = {
    60: (60, 45, 30, 15, 0),
    300: (300, 240, 180, 120, 60, 0),
    1800: (1800, 1200, 600, 0),
    HOURS[0]: (10800, 7200, 3600, 0),
    HOURS[1]: (43200, 32400, 21600, 10800, 0),
    HOURS[2]: (86400, 64800, 43200, 21600, 0),
}
UNITS = ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "KB/s"), (1.0, "B/s"))
BIT_UNITS = ((1e9 / 8, "Gbit/s"), (1e6 / 8, "Mbit/s"), (1e3 / 8, "kbit/s"), (1 / 8, "bit/s"))


def nice_top(most: float) -> float:
    """The value of the topmost of three grid lines, for a largest value."""
    if most <= 0:
        return 600e6
    base = 10.0 ** np.floor(np.log10(most))
    for place in (1.2, 1.5, 1.8, 2.4, 3.0, 4.5, 6.0, 7.5, 9.0, 12.0):
        if most <= place * base * 1.05:
            return float(place * base)
    return float(15.0 * base)


def scale_unit(top: float, *, bits: bool) -> tuple[float, str]:
    """The unit for rates up to this one: how many bytes per second it is, and its name."""
    units = BIT_UNITS if bits else UNITS
    return next(((size, name) for size, name in units if top >= size * 0.999), units[-1])


def figure(rate: float, size: float) -> str:
    """A rate in units of `size`, in as few digits as tell it."""
    value = float(rate) / size
    if value >= 9.95 or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"
