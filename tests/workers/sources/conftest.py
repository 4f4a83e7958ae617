"""No test of this folder uses what this machine has."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def nothing_from_this_machine(no_credentials: None) -> None:
    """Each test starts without credentials."""
