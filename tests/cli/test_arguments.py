"""Types of arguments."""

from __future__ import annotations

import argparse
import time

import pytest

from castray_desktop.cli.arguments import duration, moment


@pytest.mark.parametrize(
    ("given", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("1.5d", 129_600), ("7", 7)]
)
def test_times_as_people_write_them(given: str, seconds: float) -> None:
    assert duration(given) == seconds


@pytest.mark.parametrize("given", ["", "soon", "0s", "-5s", "5 years"])
def test_what_is_no_time(given: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        duration(given)


def test_moments_as_people_write_them() -> None:
    assert moment("2026-11-24") == time.mktime((2026, 11, 24, 0, 0, 0, 0, 0, -1))
    assert abs(moment("2h") - (time.time() - 7200)) < 5
    with pytest.raises(argparse.ArgumentTypeError):
        moment("yesterday")
