from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from castray_desktop.cli import session as session_module
from castray_desktop.workers import engine as engine_module
from castray_desktop.workers.places import Places
from tests.helpers.house import House


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """An engine that the commands of a test find running."""
    places = Places(tmp_path, tmp_path / "run" / "s.sock")
    places.prepare()
    monkeypatch.setattr(session_module, "find_places", lambda: places)
    monkeypatch.setattr(engine_module, "CHECK_SECONDS", 0.005)
    monkeypatch.delenv("CASTRAY_CLUSTER", raising=False)
    house = House(places)
    yield house
    house.engine._stopping.set()
    await house.ended()
