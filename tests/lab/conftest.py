"""Laboratories need root and a few tools. Without them the tests are skipped, in CI they fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from benchmarks.laboratory.lab import Lab, LabUnavailable


@pytest.fixture(scope="session")
def why_not() -> str:
    """Why no laboratory can be created here; empty if one can."""
    try:
        with Lab(1):
            return ""
    except LabUnavailable as error:
        return str(error)


@pytest.fixture
def make_lab(why_not: str) -> Iterator[Callable[..., Lab]]:
    """Creates laboratories, as `Lab` does, that are removed after the test."""
    if why_not:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why_not)
    with ExitStack() as stack:

        def make(*arguments: Any, **options: Any) -> Lab:
            return stack.enter_context(Lab(*arguments, **options))

        yield make
