"""Fixtures for downloads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.servers.range_server import RangeServer, range_server


@pytest.fixture
def server() -> Iterator[RangeServer]:
    """A web server with faults on request."""
    with range_server() as server:
        yield server
