"""Shared fixtures."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.helpers.cast_stage import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A cast manager with a source `s` and recipients a, b, c."""
    stage = Stage()
    yield stage
    await stage.cast_manager.close()
